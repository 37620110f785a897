import math
from collections import namedtuple
from functools import partial

import numpy as np
import pytest
import torch
from wtal_core.testing import parametrize_with_clauses
from wtal_refineloc.detections import ClassAndForeground, OwnDetections
from wtal_refineloc.model import BackgroundForeground, Foreground, foreground_loss

Prediction = namedtuple("Prediction", "attention activation class_scores")
Detected = namedtuple("Detected", "label start end score")
Video = namedtuple("Video", "name labels")
Targets = namedtuple("Targets", "labels")


@parametrize_with_clauses("decoder", BackgroundForeground)
def test_the_decoder_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("loss", Foreground)
def test_the_loss_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("teacher", partial(OwnDetections, dropout=0.5))
def test_the_teacher_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("proposer", partial(ClassAndForeground, attention_threshold=0.1, classes=3))
def test_the_proposer_keeps_the_contract(clause):
    clause()


def softmax(values):
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def test_the_decoder_equals_its_naive_twin():
    torch.manual_seed(0)
    decoder = BackgroundForeground(6, 3).double()
    features, mask = torch.randn(2, 5, 6, dtype=torch.float64), torch.ones(2, 5, dtype=torch.bool)
    mask[0, 2] = mask[1, 4] = False
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64)
    decoding = decoder(features, mask)
    loss = 0.0
    for b in range(2):
        seen = [t for t in range(5) if mask[b, t]]
        classes = {t: softmax(decoder.classifier(decoder.embedding(features[b, t])).tolist()) for t in seen}
        logits = {t: decoder.attention(features[b, t]).item() for t in seen}
        weights = dict(zip(seen, softmax(list(logits.values())), strict=True))
        for t in range(5):
            expected = 1 / (1 + math.exp(-logits[t])) if t in seen else 0
            assert decoding.attention[b, 0, t].item() == pytest.approx(expected, abs=1e-12)
            for c in range(3):
                if t in seen:
                    assert decoding.snippet_logits[b, t, c].sigmoid().item() == pytest.approx(classes[t][c])
        for c in range(3):
            assert decoding.class_scores[b, c].item() == pytest.approx(sum(weights[t] * classes[t][c] for t in seen))
            share = labels[b, c].item() / labels[b].sum().item()
            loss -= share * sum(weights[t] * math.log(classes[t][c]) for t in seen) / 2
    assert decoder.loss(decoding, Targets(labels))["classification"].item() == pytest.approx(loss)


def test_the_widths_of_the_layers():
    decoder = BackgroundForeground(16, 10)
    shapes = {name: tuple(one.shape) for name, one in decoder.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "embedding.0.weight": (10, 16),
        "classifier.weight": (10, 10),
        "attention.0.weight": (8, 16),
        "attention.2.weight": (1, 8),
    }


def naive_foreground_loss(attention, targets):
    means = []
    for b in range(len(attention)):
        terms = []
        for t in range(len(attention[b])):
            said = [row[t] for row in targets[b]]
            if not any(math.isnan(value) for value in said):
                y, p = max(said), attention[b][t]
                terms.append(-y * math.log(p) - (1 - y) * math.log(1 - p))
        means.append(sum(terms) / len(terms) if terms else 0.0)
    return sum(means) / len(means)


def example():
    generator = torch.Generator().manual_seed(0)
    attention = 0.05 + 0.9 * torch.rand(3, 7, dtype=torch.float64, generator=generator)
    targets = (torch.rand(3, 2, 7, dtype=torch.float64, generator=generator) > 0.6).double()
    targets[0, 1, 2] = targets[1, :, 4] = targets[2] = torch.nan
    return attention, targets


def test_the_loss_equals_its_naive_twin():
    attention, targets = example()
    expected = naive_foreground_loss(attention.tolist(), targets.tolist())
    assert foreground_loss(attention, targets).item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_the_loss():
    attention, targets = example()
    assert torch.autograd.gradcheck(partial(foreground_loss, targets=targets), attention.requires_grad_())


def test_a_saturated_attention_has_a_finite_loss_and_gradient():
    attention = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = foreground_loss(attention, torch.tensor([[[1.0, 0.0]]]))
    loss.backward()
    assert 15 < loss.item() < 17
    assert attention.grad.isfinite().all()


def naive_detections(prediction, edges, class_threshold, attention_threshold, classes, padding):
    C, T = prediction.attention.shape
    found = []
    for c in sorted(range(C), key=lambda c: -prediction.class_scores[c])[:classes]:
        score = [prediction.activation[c, t] / a if (a := prediction.attention[c, t]) else 0.0 for t in range(T)]
        both = [score[t] > class_threshold and prediction.attention[c, t] > attention_threshold for t in range(T)]
        wide = [any(both[max(t - 1, 0) : t + 2]) for t in range(T)]
        for first in range(T):
            if wide[first] and (first == 0 or not wide[first - 1]):
                last = first
                while last + 1 < T and wide[last + 1]:
                    last += 1
                inside = range(first, last + 1)
                value = sum(score[t] + prediction.attention[c, t] for t in inside) / len(inside)
                start, end = edges[max(first - padding, 0)], edges[min(last + 1 + padding, T)]
                found.append((c, start, end, value + prediction.class_scores[c]))
    return found


@pytest.mark.parametrize("padding", [0, 2])
def test_the_detections_equal_their_naive_twin(padding):
    generator = np.random.default_rng(0)
    for T in (1, 2, 9, 40):
        attention = np.tile(generator.random(T) * (generator.random(T) > 0.3), (4, 1))
        prediction = Prediction(attention, attention * generator.random((4, T)), generator.random(4))
        edges = np.cumsum(generator.random(T + 1))
        options = {"class_threshold": 0.3, "attention_threshold": 0.4, "classes": 3, "padding": padding}
        got = np.column_stack(ClassAndForeground(**options)(prediction, edges))
        assert got == pytest.approx(np.array(naive_detections(prediction, edges, **options)).reshape(-1, 4))


def test_what_the_stage_before_detected_is_foreground():
    detections = Detected(np.array([1, 0]), np.array([0.9, 2.0]), np.array([2.5, 3.0]), np.array([0.5, 0.5]))
    targets = OwnDetections()(None, detections, np.arange(6.0), Video("a", np.ones(2)))
    assert targets.tolist() == [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]


def test_dropout_leaves_out_a_share_of_the_snippets_of_every_class():
    nothing = Detected(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))
    silent = [
        np.isnan(OwnDetections(dropout=0.3)(None, nothing, np.arange(41.0), Video(name, np.ones(2)))) for name in "ab"
    ]
    assert [one.sum(1).tolist() for one in silent] == [[12, 12], [12, 12]]
    assert (silent[0] != silent[1]).any()


def test_the_first_stage_has_no_teacher():
    said = "^the teacher 'own-detections' needs a stage before; give the first stage no teacher$"
    with pytest.raises(ValueError, match=said):
        OwnDetections()(None, None, np.arange(3.0), Video("a", np.ones(1)))


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (Foreground, {"weight": -1.0}, "weight must be 0 or more, got -1.0"),
        (OwnDetections, {"dropout": 1.5}, r"dropout must be in \[0, 1\], got 1.5"),
        (ClassAndForeground, {"class_threshold": 1.5}, r"thresholds must be in \[0, 1\], got 1.5 and 0.5"),
        (ClassAndForeground, {"attention_threshold": -0.1}, r"thresholds must be in \[0, 1\], got 0.1 and -0.1"),
        (ClassAndForeground, {"classes": 0}, "classes must be 1 or more and padding 0, got 0 and 2"),
        (ClassAndForeground, {"padding": -1}, "classes must be 1 or more and padding 0, got 2 and -1"),
    ],
)
def test_options_out_of_range(make, options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        make(**options)


def test_the_loss_refuses_several_attentions():
    decoding = namedtuple("Decoding", "attention")(torch.ones(1, 2, 3))
    with pytest.raises(ValueError, match=r"^the loss 'foreground' needs a decoder with one attention, got 2$"):
        Foreground()(decoding, None)
