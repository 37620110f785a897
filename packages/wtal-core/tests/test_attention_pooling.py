"""The attention-pooling decoder against shapes, masks, hand computation and gradients."""

import math

import pytest
import torch
from torch import nn
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.contracts import Targets

from . import naive

B, T, D, C = 3, 7, 5, 4


class WeightedSum(nn.Module):
    def forward(self, features, attention, mask=None):
        return attention @ features if attention.ndim == 3 else (attention.unsqueeze(-1) * features).sum(1)


@pytest.fixture
def make():
    def do(**options):
        torch.manual_seed(0)
        return AttentionPooling(feature_dim=D, num_classes=C, aggregator=WeightedSum(), **options).double()

    return do


@pytest.fixture
def features():
    return torch.randn(B, T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_shapes_and_ranges(make, features):
    decoding = make()(features)
    assert decoding.probabilities is None
    shapes = {name: tuple(part.shape) for name, part in decoding._asdict().items() if part is not None}
    assert shapes == {
        "features": (B, T, D),
        "attention": (B, 1, T),
        "pooled": (B, 1, D),
        "logits": (B, 1, C),
        "class_scores": (B, C),
        "head_weight": (C, D),
        "class_logits": (B, C),
        "mean_attention": (B, 1),
    }
    assert decoding.features is features
    assert ((decoding.attention > 0) & (decoding.attention < 1)).all()
    torch.testing.assert_close(decoding.mean_attention, decoding.attention.mean(-1))


def test_logits_are_linear_in_what_was_pooled_without_bias(make, features):
    decoding = make()(features)
    torch.testing.assert_close(decoding.logits, decoding.pooled @ decoding.head_weight.T)
    torch.testing.assert_close(decoding.class_scores, torch.sigmoid(decoding.logits[:, 0]))


def test_the_attention_module_is_that_of_the_paper(make):
    described = [(type(layer).__name__, getattr(layer, "weight", None)) for layer in make().attention]
    assert [(name, None if w is None else tuple(w.shape)) for name, w in described] == [
        ("Linear", (256, D)),
        ("LeakyReLU", None),
        ("Linear", (1, 256)),
        ("Sigmoid", None),
    ]


@pytest.mark.parametrize("length", [1, 4])
def test_a_masked_video_equals_the_shorter_one(make, features, length):
    decoder = make()
    mask = torch.arange(T).expand(B, T) < length
    masked, shorter = decoder(features, mask), decoder(features[:, :length])
    torch.testing.assert_close(masked.attention[..., :length], shorter.attention)
    assert (masked.attention[..., length:] == 0).all()
    for name in ("pooled", "logits", "class_scores", "mean_attention"):
        torch.testing.assert_close(getattr(masked, name), getattr(shorter, name))


def test_a_video_that_is_all_padding_gives_numbers(make, features):
    decoding = make()(features, torch.zeros(B, T, dtype=torch.bool))
    assert (decoding.mean_attention == 0).all()
    assert (decoding.class_scores == 0.5).all()


@pytest.fixture
def targets():
    return Targets(torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=torch.float64))


def test_the_loss_is_the_cross_entropy_over_videos_and_classes(make, features, targets):
    decoder = make()
    decoding = decoder(features)
    terms = decoder.loss(decoding, targets)
    assert list(terms) == ["classification"]
    expected = naive.binary_cross_entropy(decoding.class_scores.tolist(), targets.labels.tolist())
    assert terms["classification"].item() == pytest.approx(expected, rel=1e-12)


def test_sparsity_is_the_mean_attention_over_real_snippets(make, features, targets):
    decoder = make(sparsity=0.5)
    mask = torch.arange(T) < torch.tensor([[7], [4], [1]])
    decoding = decoder(features, mask)
    terms = decoder.loss(decoding, targets)
    means = [decoding.attention[b, 0, :n].mean().item() for b, n in enumerate((7, 4, 1))]
    assert list(terms) == ["classification", "sparsity"]
    assert terms["sparsity"].item() == pytest.approx(0.5 * sum(means) / 3, rel=1e-12)


def test_extreme_logits_give_a_finite_loss(make, targets):
    decoder = make()
    decoding = decoder(torch.full((B, T, D), 1e4, dtype=torch.float64))
    assert decoding.logits.abs().max() > 1000
    assert torch.isfinite(decoder.loss(decoding, targets)["classification"])


def test_the_gradient_reaches_every_parameter(make, features, targets):
    decoder = make(sparsity=0.1)
    sum(decoder.loss(decoder(features), targets).values()).backward()
    missed = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missed == []


def test_labels_are_not_seen_by_the_forward_pass(make, features, targets):
    decoder = make()
    torch.testing.assert_close(decoder(features, None, targets), decoder(features), rtol=0, atol=0)


# An attention for each class


def test_a_class_reads_its_own_attention(make, features):
    decoder = make(class_wise=True)
    decoding = decoder(features)
    for name, shape in {"attention": (B, C, T), "pooled": (B, C, D), "logits": (B, C, C)}.items():
        assert getattr(decoding, name).shape == shape
    weight = decoder.classifier.weight.tolist()
    for video in range(B):
        expected = naive.class_wise_logits(features[video].tolist(), decoding.attention[video].tolist(), weight)
        assert decoding.class_logits[video].tolist() == pytest.approx(expected, rel=1e-12)
        scores = [1 / (1 + math.exp(-logit)) for logit in expected]
        assert decoding.class_scores[video].tolist() == pytest.approx(scores, rel=1e-12)
        torch.testing.assert_close(decoding.probabilities[video], torch.tensor(scores, dtype=torch.float64).diag())


def test_the_terms_of_class_wise_attention(make, features, targets):
    decoder = make(class_wise=True, sparsity=0.5)
    mask = torch.arange(T) < torch.tensor([[7], [4], [1]])
    mask[0, 2] = False  # hidden, with others after it
    decoding = decoder(features, mask)
    terms = decoder.loss(decoding, targets)
    expected = naive.binary_cross_entropy(decoding.class_scores.tolist(), targets.labels.tolist())
    assert terms["classification"].item() == pytest.approx(expected, rel=1e-12)
    means = [decoding.attention[b, c][mask[b]].mean().item() for b in range(B) for c in range(C)]
    assert terms["sparsity"].item() == pytest.approx(0.5 * sum(means) / (B * C), rel=1e-12)


@pytest.mark.parametrize("class_wise", [False, True])
def test_a_hidden_snippet_is_as_if_it_were_not_there(make, features, class_wise):
    decoder = make(class_wise=class_wise)
    shown = [0, 1, 3, 6]
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[:, shown] = True
    masked, fewer = decoder(features, mask), decoder(features[:, shown])
    assert (masked.attention[..., ~mask[0]] == 0).all()
    torch.testing.assert_close(masked.attention[..., shown], fewer.attention)
    for name in ("pooled", "logits", "class_scores", "mean_attention"):
        torch.testing.assert_close(getattr(masked, name), getattr(fewer, name))


def test_the_gradient_of_class_wise_attention_reaches_every_parameter(make, features, targets):
    decoder = make(class_wise=True, sparsity=0.1)
    sum(decoder.loss(decoder(features), targets).values()).backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
