from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from wtal_core.testing import parametrize_with_clauses
from wtal_wtalc import WTALC, ClassPairs, CoActivity, co_activity, top_mean


@parametrize_with_clauses("decoder", WTALC)
def test_decoder_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("decoder", partial(WTALC, ratio=1, dropout=0.0))
def test_decoder_with_options_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("loss", CoActivity)
def test_loss_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("sampler", ClassPairs)
def test_sampler_keeps_the_contract(clause):
    clause()


def with_holes(videos, snippets):
    """A mask (B, T) with a hole in each video and padding after it, at least two snippets visible."""
    mask = torch.rand(videos, snippets) < 0.6
    mask[:, :2] = True
    mask[0, -2:] = False
    return mask


@pytest.mark.parametrize(("snippets", "k"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_a_video_scores_the_mean_of_its_k_best_snippets(snippets, k):
    torch.manual_seed(snippets)
    scores, mask = torch.randn(2, 20, 3), torch.zeros(2, 20, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(20)[:snippets]] = True
    expected = torch.stack([one[seen].topk(k, dim=0).values.mean(0) for one, seen in zip(scores, mask, strict=True)])
    torch.testing.assert_close(top_mean(scores, mask, 8), expected)


def test_classification_shares_1_among_the_labels():
    torch.manual_seed(0)
    decoder, features = WTALC(5, 3).eval(), torch.randn(2, 20, 5)
    labels = torch.tensor([[1.0, 0, 0], [1, 0, 1]])
    decoding = decoder(features)
    log = decoding.class_scores.log()
    expected = 0.5 * (-log[0, 0] - (log[1, 0] + log[1, 2]) / 2) / 2
    torch.testing.assert_close(decoder.loss(decoding, SimpleNamespace(labels=labels))["classification"], expected)


def naive_co_activity(features, scores, labels, mask):
    """The paper's equations, pair by pair and class by class."""

    def distance(one, other):
        norms = one.norm() * other.norm()
        return 1 - one @ other / norms if norms > 0 else 1

    def split(video, c):
        x = features[video][mask[video]]
        attention = scores[video][mask[video]][:, c].softmax(0)
        low = x.T @ (1 - attention) / (len(x) - 1) if len(x) > 1 else torch.zeros_like(x[0])
        return x.T @ attention, low

    costs = []
    for m in range(len(labels)):
        for n in range(m + 1, len(labels)):
            for c in range(labels.shape[1]):
                if labels[m, c] and labels[n, c]:
                    (high_m, low_m), (high_n, low_n) = split(m, c), split(n, c)
                    together = distance(high_m, high_n)
                    costs.append(max(together - distance(high_m, low_n) + 0.5, torch.zeros(())) / 2)
                    costs[-1] = costs[-1] + max(together - distance(high_n, low_m) + 0.5, torch.zeros(())) / 2
    return torch.stack(costs).mean() if costs else torch.zeros(())


LABELS = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize("seed", range(5))
def test_co_activity_is_the_mean_over_pairs_and_shared_classes(seed):
    torch.manual_seed(seed)
    features, scores = torch.randn(5, 9, 4).relu().double(), 4 * torch.randn(5, 9, 3).double()
    mask = with_holes(5, 9)
    labels = LABELS.double()
    expected = naive_co_activity(features, scores, labels, mask)
    torch.testing.assert_close(co_activity(features, scores, labels, mask), expected, rtol=1e-9, atol=1e-9)
    noise = torch.where(mask.unsqueeze(2), 0, 7)
    torch.testing.assert_close(co_activity(features + noise, scores + noise, labels, mask), expected)


def test_co_activity_of_nothing_shared_and_of_a_single_snippet():
    torch.manual_seed(0)
    features, scores, labels = torch.randn(2, 4, 3).double(), torch.randn(2, 4, 2).double(), torch.eye(2).double()
    mask = torch.ones(2, 4, dtype=torch.bool)
    assert co_activity(features, scores, labels, mask) == 0
    mask[0, 1:] = False
    both, features = torch.ones(2, 2).double(), features.requires_grad_()
    loss = co_activity(features, scores, both, mask)
    torch.testing.assert_close(loss, naive_co_activity(features, scores, both, mask))
    loss.backward()
    assert features.grad.isfinite().all()


def test_gradient_of_co_activity():
    torch.manual_seed(0)
    features, mask = torch.randn(5, 6, 3).double().requires_grad_(), with_holes(5, 6)
    scores = torch.randn(5, 6, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, s: co_activity(x, s, LABELS.double(), mask), (features, scores))


def test_loss_term_is_weighted():
    torch.manual_seed(0)
    decoding = WTALC(4, 3).eval()(torch.randn(5, 6, 4))
    batch = SimpleNamespace(mask=None, targets=SimpleNamespace(labels=LABELS.float()))
    whole = co_activity(decoding.features, decoding.snippet_logits, LABELS.float(), torch.ones(5, 6, dtype=torch.bool))
    torch.testing.assert_close(CoActivity(weight=0.3)(decoding, batch)["co-activity"], 0.3 * whole)
    assert whole > 0


def test_batches_begin_with_pairs_of_one_class():
    labels = np.eye(4)[np.arange(21) % 3]  # nobody has class 3
    labels[20] = [0, 0, 0, 1]  # and one video alone does
    for iteration in range(30):
        batch = ClassPairs()(labels, 10, 5, iteration)
        for one, other in batch[:6].reshape(3, 2):
            assert one != other
            assert (labels[one] * labels[other]).sum() == 1
        assert len(set(batch[6:])) == 4


def test_no_pairs_to_be_had():
    with pytest.raises(ValueError, match=r"^no class has two training videos, so there are no pairs; set pairs = 0$"):
        ClassPairs()(np.eye(3), 4, 0, 0)
    assert sorted(ClassPairs(pairs=0)(np.eye(3), 3, 0, 0)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (partial(WTALC, 5, 3, ratio=0), "ratio must be 1 or more, got 0"),
        (partial(WTALC, 5, 3, weight=-1.0), "weight must be 0 or more, got -1.0"),
        (partial(CoActivity, weight=-1.0), "weight must be 0 or more, got -1.0"),
        (partial(ClassPairs, pairs=-1), "pairs must be 0 or more, got -1"),
    ],
)
def test_options_out_of_range(make, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        make()
