"""Targets of single snippets: the teacher that reads annotations, and the loss that learns what a teacher says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from wtal_core.builtin.annotations_teacher import AnnotationsTeacher
from wtal_core.builtin.snippet_targets import SnippetTargets, snippet_targets
from wtal_core.contracts import TrainingVideo
from wtal_core.kinds.evaluator import Instances
from wtal_core.testing import parametrize_with_clauses
from wtal_core.training.teaching import untaught

from . import naive

NAN = float("nan")

# The loss


@parametrize_with_clauses("loss", SnippetTargets)
def test_snippet_targets_keep_the_contract(clause):
    clause()


def drawn(background, B=3, T=5, C=2):
    """Logits, background logits or none, and targets of which some are unsaid."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, T, C, generator=generator, dtype=torch.float64)
    targets = torch.rand(B, C, T, generator=generator, dtype=torch.float64)
    targets[torch.rand(B, C, T, generator=generator) < 0.3] = NAN
    targets[0, :, 0], targets[0, :, 1], targets[1, :, 2] = 0.9, 0.0, NAN
    other = torch.randn(B, T, generator=generator, dtype=torch.float64) if background else None
    return logits, other, targets


@pytest.mark.parametrize("background", [False, True])
def test_the_loss_is_that_of_its_slow_twin(background):
    logits, other, targets = drawn(background)
    expected = naive.snippet_targets(logits.tolist(), None if other is None else other.tolist(), targets.tolist())
    assert expected > 0.1
    assert float(snippet_targets(logits, other, targets)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("background", [False, True])
def test_the_gradient_is_that_of_finite_differences_and_has_no_nan(background):
    logits, other, targets = drawn(background)
    leaves = [part.requires_grad_() for part in (logits, other) if part is not None]
    assert torch.autograd.gradcheck(lambda *parts: snippet_targets(parts[0], (*parts, None)[1], targets), leaves)
    for gradient in torch.autograd.grad(snippet_targets(logits, other, targets), leaves):
        assert gradient.isfinite().all()
    (of_logits,) = torch.autograd.grad(snippet_targets(logits, other, targets), [logits])
    unsaid = targets.isnan().transpose(1, 2)
    unsaid = unsaid.any(2, keepdim=True).expand_as(unsaid) if background else unsaid
    assert not of_logits[unsaid].any()
    assert of_logits[~unsaid].abs().min() > 0


@pytest.mark.parametrize("background", [False, True])
def test_a_teacher_that_says_nothing_teaches_nothing(background):
    logits, other, targets = drawn(background)
    leaves = [part.requires_grad_() for part in (logits, other) if part is not None]
    term = snippet_targets(logits, other, torch.full_like(targets, NAN))
    assert float(term.detach()) == 0
    assert all(not gradient.any() for gradient in torch.autograd.grad(term, leaves))


def test_classes_share_a_snippet_and_leave_the_rest_to_the_background():
    zero = torch.zeros(1, 1, 2, dtype=torch.float64)

    def shares(*targets):
        logits, background = zero.clone().requires_grad_(), torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
        snippet_targets(logits, background, torch.tensor([[[t] for t in targets]], dtype=torch.float64)).backward()
        # The gradient of a cross-entropy is the softmax, here thirds, less the shares.
        return [round(float(1 / 3 - g), 6) for g in (*logits.grad.flatten(), background.grad)]

    assert shares(0.25, 0.5) == [0.25, 0.5, 0.25]
    assert shares(1, 1) == [0.5, 0.5, 0]
    assert shares(0, 0) == [0, 0, 1]
    assert shares(1, 0) == [1, 0, 0]


def test_the_weight_scales_the_term_and_is_not_negative():
    logits, _, targets = drawn(False)

    decoding = SimpleNamespace(snippet_logits=logits, background_logits=None)
    batch = SimpleNamespace(targets=SimpleNamespace(snippets=targets))
    expected = 0.5 * float(snippet_targets(logits, None, targets))
    terms = SnippetTargets(weight=0.5)(decoding, batch)
    assert list(terms) == ["snippets"]
    assert float(terms["snippets"]) == pytest.approx(expected, rel=1e-12)
    for weight in (-0.1, NAN):
        with pytest.raises(ValueError, match=r"^weight must be 0 or more, got "):
            SnippetTargets(weight=weight)


# The teacher


@parametrize_with_clauses("teacher", AnnotationsTeacher)
def test_the_teacher_keeps_the_contract(clause):
    clause()


def taught(*instances, edges=(0, 1, 2, 3, 4), classes=2):
    label, start, end = np.array(instances, float).reshape(-1, 3).T
    segments = Instances(label.astype(np.int64), start, end)
    return AnnotationsTeacher()(None, None, np.array(edges, float), TrainingVideo("v", np.ones(classes), segments))


@pytest.mark.parametrize(
    ("start", "end", "row"),
    [
        (0, 4, [1, 1, 1, 1]),
        (0.5, 2.5, [1, 1, 0, 0]),  # the first middle is inside, the last one is not
        (0.51, 2.51, [0, 1, 1, 0]),
        (1.6, 2.4, [0, 0, 0, 0]),  # between two middles
        (2.5, 2.5, [0, 0, 0, 0]),  # of no length
        (3.5, 9, [0, 0, 0, 1]),
        (5, 9, [0, 0, 0, 0]),
    ],
)
def test_a_snippet_is_taught_by_its_middle(start, end, row):
    assert taught((1, start, end)).tolist() == [[0, 0, 0, 0], row]


def test_snippets_of_any_width_have_their_own_middles():
    assert taught((0, 2, 3), edges=(-0.5, 0.5, 4, 5.5)).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_instances_may_overlap_and_repeat():
    assert taught((0, 0, 2), (0, 1, 3), (1, 1, 2)).tolist() == [[1, 1, 1, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_ambiguous_is_unsaid_but_an_instance_within_counts(order):
    instances = [(-1, 0, 3), (1, 1, 2)]
    np.testing.assert_array_equal(taught(*instances[::order]), [[NAN, NAN, NAN, 0], [NAN, 1, NAN, 0]])


def test_a_video_without_instances_is_taught_nothing_but_background():
    assert taught().tolist() == [[0] * 4] * 2


def test_without_segments_it_cannot_teach():
    with pytest.raises(ValueError, match=r"^its segments are not annotated$"):
        AnnotationsTeacher()(None, None, np.arange(3.0), TrainingVideo("v", np.ones(2), None))


# A teacher that leaves out a class


@pytest.mark.parametrize("seed", range(8))
def test_untaught_classes_are_those_of_the_slow_twin(seed):
    generator = np.random.default_rng(seed)
    N, C = 6, 5
    labels = (generator.random((N, C)) < 0.5).astype(float)
    scale = np.array([1, 0.3, 0.1, 0.03, 0])[:, None] * (0.01 if seed % 2 else 1)
    lessons = [scale * generator.random((C, T)) for T in generator.integers(1, 5, N)]
    for lesson in lessons:
        lesson[generator.random(lesson.shape) < 0.3] = NAN
    expected = naive.untaught([lesson.tolist() for lesson in lessons], labels.tolist())
    assert untaught(lessons, labels).tolist() == expected
    assert 4 in expected


def test_nothing_is_nan_or_zero_or_a_tenth_of_the_most():
    labels = np.eye(2)

    def silent(*values):
        return untaught([np.array([[values[0]], [0.5]]), np.array([[1.0], [values[1]]])], labels).tolist()

    assert silent(0.8, 0.4) == []
    assert silent(0.8, 0.0) == silent(0.8, NAN) == silent(0.8, 0.08) == [1]
    assert silent(0.08, 0.8) == [0]  # what is said of it in another video teaches nothing
    assert silent(0.0, 0.0) == silent(NAN, NAN) == [0, 1]
    assert silent(0.001, 0.001) == []  # it speaks low of everything


def test_one_class_and_a_class_without_videos():
    assert untaught([np.full((1, 3), 0.01)], np.ones((1, 1))).tolist() == []
    assert untaught([np.full((1, 3), NAN)], np.ones((1, 1))).tolist() == [0]
    assert untaught([np.array([[0.5], [0.0]])], np.array([[1.0, 0.0]])).tolist() == []
