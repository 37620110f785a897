"""Label sets as a loss and as a teacher; smoothness; attention against background."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from wtal_core.builtin.label_set import LabelSet, LabelSetTeacher, label_set, restricted
from wtal_core.builtin.regularizers import Background, Smoothness
from wtal_core.contracts import Prediction, TrainingVideo

from . import naive

NAN = math.nan


def drawn(B=2, T=6, C=3, dtype=torch.float64):
    """Logits, background, attention, labels, rows: of the second video a hole and an end are hidden."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(B, T, C, generator=generator, dtype=dtype)
    background = torch.randn(B, T, generator=generator, dtype=dtype)
    attention = torch.rand(B, 1, T, generator=generator, dtype=dtype)
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=dtype)[:B, :C]
    rows = torch.tensor([[3, 4, 5, 7, 8, 9], [0, 1, -1, 3, 4, -1]])
    return logits, background, attention, labels, rows


def asked(loss, logits, background, attention, labels, rows):
    decoding = SimpleNamespace(snippet_logits=logits, background_logits=background, attention=attention)
    seen = rows >= 0
    batch = SimpleNamespace(rows=rows, mask=None if seen.all() else seen, targets=SimpleNamespace(labels=labels))
    return loss(decoding, batch)


LOSSES = [
    (LabelSet, "label_set", lambda x, b, _, y, rows: naive.label_set(x, b, y, np.array(rows) >= 0)),
    (Smoothness, "smoothness", lambda x, b, _, __, rows: naive.smoothness(x, b, rows)),
    (Background, "background", lambda x, b, a, _, rows: naive.background_guide(x, b, a, rows)),
]
CASES = pytest.mark.parametrize(("loss", "name", "twin"), LOSSES, ids=[name for _, name, _ in LOSSES])


@CASES
def test_a_loss_is_that_of_its_slow_twin(loss, name, twin):
    given = drawn()
    terms = asked(loss(weight=0.5), *given)
    expected = twin(*(part.tolist() for part in given))
    assert expected > 0.1
    assert list(terms) == [name]
    assert float(terms[name]) == pytest.approx(0.5 * expected, rel=1e-10)


@CASES
def test_its_gradient_is_that_of_finite_differences(loss, name, twin):
    *parts, labels, rows = drawn()
    leaves = [part.requires_grad_() for part in parts]
    assert torch.autograd.gradcheck(lambda *given: asked(loss(), *given, labels, rows)[name], leaves)
    slopes = torch.autograd.grad(asked(loss(), *leaves, labels, rows)[name], leaves[:2])
    for slope in slopes:
        assert not slope[rows < 0].any()
        assert slope[rows >= 0].any()


@CASES
def test_of_nothing_seen_it_says_nothing(loss, name, twin):
    *parts, labels, rows = drawn()
    leaves = [part.requires_grad_() for part in parts]
    term = asked(loss(), *leaves, labels, torch.full_like(rows, -1))[name]
    assert float(term.detach()) == 0
    assert all(slope is None or not slope.any() for slope in torch.autograd.grad(term, leaves, allow_unused=True))


@CASES
def test_of_one_snippet(loss, name, twin):
    given = [part[:1, :1] if part.ndim < 3 else part[:1, :1, :] for part in drawn()]
    given[2], given[3] = drawn()[2][:1, :, :1], drawn()[3][:1]
    expected = twin(*(part.tolist() for part in given))
    assert float(asked(loss(weight=1.0), *given)[name]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", [LabelSet, Smoothness, Background])
@pytest.mark.parametrize("weight", [-0.1, NAN, math.inf])
def test_a_weight_is_a_number_that_is_not_negative(loss, weight):
    with pytest.raises(ValueError, match=rf"^weight must be 0 or more, got {weight}$"):
        loss(weight=weight)


def test_smoothness_of_sigmoids():
    logits, _, attention, labels, rows = drawn()
    expected = naive.smoothness(logits.tolist(), None, rows.tolist())
    got = asked(Smoothness(weight=1.0), logits, None, attention, labels, rows)["smoothness"]
    assert float(got) == pytest.approx(expected, rel=1e-10)


def test_where_every_class_is_a_label_nothing_is_penalised():
    logits, background, *_ = drawn(dtype=torch.float32)
    logits.requires_grad_()
    term = label_set(logits, background, torch.ones(2, 3), torch.ones(2, 6, dtype=torch.bool))
    assert float(term.detach()) == 0
    assert not torch.autograd.grad(term, [logits])[0].any()


@pytest.mark.parametrize("logit", [40.0, -40.0, 1e4])
def test_what_is_sure_keeps_its_penalty_and_its_gradient(logit):
    logits = torch.tensor([[[logit, 0.0]]], requires_grad=True)
    term = label_set(logits, torch.full((1, 1), -30.0), torch.tensor([[0.0, 1.0]]), torch.ones(1, 1, dtype=torch.bool))
    term.backward()
    assert float(term.detach()) == pytest.approx(max(logit, math.exp(-40)), rel=1e-4)
    assert float(logits.grad[0, 0, 0]) == pytest.approx(1 if logit > 0 else math.exp(-40), rel=1e-4)


@pytest.mark.parametrize("attention", [torch.ones(2, 1, 6), torch.rand(2, 3, 6).requires_grad_()])
def test_an_attention_that_is_not_learnt_or_not_one_is_no_foreground(attention):
    logits, background, _, labels, rows = drawn()
    with pytest.raises(
        ValueError,
        match=r"^it needs a decoder that learns one attention for all classes, as snippet-classifier does with "
        r"suppressed = true$",
    ):
        asked(Background(), logits.requires_grad_(), background.requires_grad_(), attention, labels, rows)


# The teacher


def taught(activation, labels, seconds=0.5, **options):
    maps = np.array(activation, float)
    edges = np.arange(maps.shape[1] + 1) * seconds
    prediction = Prediction(np.ones_like(maps), maps, np.ones(len(maps)))
    return LabelSetTeacher(**options)(prediction, None, edges, TrainingVideo("v", np.array(labels, float), None))


@pytest.mark.parametrize("sharpening", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("widening", [1.0, 2.0, 0.5])
@pytest.mark.parametrize(
    ("smoothing", "width"), [(0, 0), (0.5, 1), (1.0, 3), (1.5, 3), (2.5, 5), ("neighbours", 5), (60, 121)]
)
def test_targets_are_those_of_the_slow_twin(sharpening, widening, smoothing, width):
    generator = np.random.default_rng(0)
    activation = generator.dirichlet(np.ones(4), 9).T[:3]
    labels = [1, 0, 1]
    expected = naive.taught_by_label_set(activation.tolist(), labels, sharpening, width, widening)
    got = taught(activation, labels, smoothing=smoothing, sharpening=sharpening, widening=widening)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert not got[1].any()


def test_targets_by_hand():
    # Half of the first snippet is a class that the video has not; a label and the background share what is left.
    np.testing.assert_allclose(taught([[0.25, 0.1], [0.5, 0.0]], [1, 0]), [[0.5, 0.1], [0, 0]])
    # Nothing is left to labels or background: all is background.
    np.testing.assert_allclose(taught([[0.0, 1.0], [1.0, 0.0]], [1, 0]), [[0, 1], [0, 0]])
    # Sigmoids may sum to more than 1: nothing is left to the background.
    np.testing.assert_allclose(taught([[0.9], [0.6]], [1, 1]), [[0.6], [0.4]])
    # Every class is a label: as it was.
    np.testing.assert_allclose(taught([[0.2, 0.3], [0.5, 0.1]], [1, 1]), [[0.2, 0.3], [0.5, 0.1]])
    # A label that no snippet shows best keeps its small share.
    np.testing.assert_allclose(taught([[0.01, 0.02]], [1]), [[0.01, 0.02]])


def test_a_great_power_makes_a_choice_and_no_zero_of_small_numbers():
    activation = np.array([[0.02], [0.01], [0.97]])
    np.testing.assert_allclose(restricted(activation, np.array([1.0, 1, 0]), 400.0), [[1], [0], [0]], atol=1e-12)


def test_widening_lifts_doubt_and_keeps_shares_and_what_is_sure():
    # Odds of 1 to 3 become 1 to sqrt(3); the two labels share what is lifted as they did.
    lifted = 1 / (1 + math.sqrt(3))
    got = taught([[0.05, 1.0, 0.0], [0.2, 0.0, 0.0]], [1, 1], widening=2.0)
    np.testing.assert_allclose(got, [[0.2 * lifted, 1, 0], [0.8 * lifted, 0, 0]])


def test_one_snippet_is_taught():
    np.testing.assert_allclose(taught([[0.4]], [1], smoothing=9.0), [[0.4]])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"smoothing": -1.0}, "smoothing must be 0 s or more, got -1.0"),
        ({"smoothing": NAN}, "smoothing must be 0 s or more, got nan"),
        ({"sharpening": 0.0}, "sharpening must be above 0, got 0.0"),
        ({"sharpening": math.inf}, "sharpening must be above 0, got inf"),
        ({"widening": 0.0}, "widening must be above 0, got 0.0"),
    ],
)
def test_a_wrong_option_is_one_sentence(options, told):
    with pytest.raises(ValueError, match=f"^{told}$"):
        LabelSetTeacher(**options)


def test_it_needs_a_stage_before():
    with pytest.raises(ValueError, match=r"^it teaches what the stage before has learnt, and there is none$"):
        LabelSetTeacher()(None, None, np.arange(3.0), TrainingVideo("v", np.ones(1), None))
