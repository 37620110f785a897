"""Evaluators: they score the detections of a subset against its ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from wtal_core import answers, binding
from wtal_core.answers import require
from wtal_core.contracts import Detections, FloatArray, IntArray, Segments
from wtal_core.kinds.suppressor import VideoDetections
from wtal_core.testing import demands
from wtal_core.testing.trial import Example, Trial, clause


class Evaluation(Protocol):
    """An evaluator's verdict. Precisions are fractions in [0, 1]."""

    @property
    def tiou_thresholds(self) -> FloatArray:
        """(K,)."""

    @property
    def mean_ap(self) -> FloatArray:
        """(K,), the mean over the classes with ground truth."""

    @property
    def average_precision(self) -> FloatArray:
        """(K, C), NaN for a class without ground truth."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, and why."""


class Evaluator(Protocol):
    """Scores what was localized in a subset against its ground truth."""

    def __call__(
        self,
        ground_truth: Mapping[str, Segments],
        detections: Mapping[str, Detections],
        classes: Sequence[str],
        class_scores: Mapping[str, FloatArray],
    ) -> Evaluation:
        """Score detections and class scores (C,), each by video name; `classes` names the C class indices.

        `ground_truth` has every video of the subset, those without instances included; label -1 is an ambiguous
        interval, which a protocol may forgive and never scores. Detections and class scores equal to the ground truth
        score 1.
        """


class Instances(NamedTuple):
    """The annotated intervals of one video (`contracts.Segments`), as the host has them."""

    label: IntArray  # (N,) class index, or -1 where it is ambiguous
    start: FloatArray  # (N,) seconds
    end: FloatArray  # (N,) seconds


class Bound(binding.Bound):
    """An evaluator in its wrapper."""

    def check(self, answer: Any, ground_truth: Any, _detections: Any, classes: Any, _scores: Any) -> None:
        """Precisions (K, C) and (K,)."""
        verdict(answer, ground_truth, len(classes))

    def rehearse(self, num_classes: int) -> None:  # noqa: ARG002
        """Try it on small examples."""
        for example in verdicts(some):
            self(*example.values())


def verdict(answer: Any, ground_truth: Mapping[str, Segments], num_classes: int) -> None:
    """Hold a verdict of a subset, whose ground truth is given by video name, against the contract."""
    thresholds = answers.attribute(answer, "tiou_thresholds")
    require(
        isinstance(thresholds, np.ndarray) and thresholds.ndim == 1 and thresholds.size > 0,
        f"tiou_thresholds must be an array (K,) with K >= 1, got {answers.form(thresholds)}",
    )
    K = len(thresholds)
    answers.array("tiou_thresholds", thresholds, (K,), np.float64)
    answers.array("mean_ap", answers.attribute(answer, "mean_ap"), (K,), np.float64)
    answers.unit("mean_ap", answer.mean_ap)
    precision = answers.attribute(answer, "average_precision")
    present = {int(label) for truth in ground_truth.values() for label in truth.label} - {-1}
    answers.array("average_precision", precision, (K, num_classes), np.float64, finite=False)
    for c in range(num_classes):
        if c in present:
            answers.unit(f"average_precision of class {c}, which has instances,", precision[:, c])
        else:
            told = f"average_precision of class {c}, which has no instance, must be NaN, got {precision[:, c].tolist()}"
            require(bool(np.isnan(precision[:, c]).all()), told)
    notes = answers.attribute(answer, "notes")
    require(
        isinstance(notes, tuple) and all(isinstance(note, str) for note in notes),
        f"notes must be a tuple of sentences, got {notes!r}",
    )


# Clauses of the kit


def subsets() -> Iterator[tuple[dict[str, Segments], list[str]]]:
    """Ground truth by video name, and class names: the smallest first; a video and a class without instances too."""
    one = _instances([(0, 0.0, 2.0)])
    yield {"a": one}, ["first"]
    yield {"a": one, "b": _instances([])}, ["first", "second"]
    yield {"a": one, "b": _instances([(1, 1.0, 3.0), (0, 4.0, 8.0)])}, ["first", "second", "third"]


def _instances(rows: list[tuple[int, float, float]]) -> Instances:
    label, start, end = np.array(rows, dtype=np.float64).reshape(-1, 3).T.copy()
    return Instances(label.astype(np.int64), start, end)


def perfect(truth: dict[str, Segments]) -> dict[str, Detections]:
    """The ground truth as detections."""
    return {
        name: VideoDetections(one.label, one.start, one.end, np.full(len(one.label), 0.75))
        for name, one in truth.items()
    }


def nothing(truth: dict[str, Segments]) -> dict[str, Detections]:
    """No detections."""
    none = np.empty(0)
    return {name: VideoDetections(np.empty(0, np.int64), none, none, none) for name in truth}


def some(truth: dict[str, Segments]) -> dict[str, Detections]:
    """Detections that are right, late and wrong by turns."""
    found: dict[str, Detections] = {}
    for number, name in enumerate(truth):
        label, start = np.zeros(3, np.int64), np.array([0.0, 1.0, 6.0]) + number
        found[name] = VideoDetections(label, start, start + 2, np.array([0.5, 0.75, 0.25]) - number / 8)
    return found


def scores(truth: dict[str, Segments], classes: list[str], found: dict[str, Detections]) -> dict[str, FloatArray]:
    """Class scores that are as right as the detections: opposite to the truth where there are none."""
    present = {name: np.isin(np.arange(len(classes)), one.label).astype(np.float64) for name, one in truth.items()}
    right = any(len(one.label) for one in found.values())
    return {name: 0.25 + 0.5 * (is_there if right else 1 - is_there) for name, is_there in present.items()}


def verdicts(*detectors: Callable[[dict[str, Segments]], dict[str, Detections]], videos: int = 1) -> Iterator[Example]:
    """An evaluator's arguments for every subset of at least so many videos, and every way to detect."""
    for truth, classes in subsets():
        for detect in detectors if len(truth) >= videos else ():
            found = detect(truth)
            yield {
                "ground_truth": truth,
                "detections": found,
                "classes": classes,
                "class_scores": scores(truth, classes, found),
            }


def ambiguous() -> Iterator[Example]:
    """The ground truth as detections, and beside it an interval of label -1 in every video."""
    for example in verdicts(perfect):
        unsure = {
            name: Instances(np.append(one.label, -1), np.append(one.start, 20.0), np.append(one.end, 30.0))
            for name, one in example["ground_truth"].items()
        }
        yield {**example, "ground_truth": unsure}


examples = partial(verdicts, perfect, some, nothing)
promise = partial(clause, "evaluator", examples)


promise("precisions are (K, C) and (K,) in [0, 1], and NaN for a class without instances alone")(demands.form)
promise("its arguments stay as they are")(demands.untouched)


@promise("mean_ap is the mean of average_precision over the classes that have instances")
def _mean(trial: Trial, **given: Any) -> None:
    answer = trial.call(trial.build(), **given)
    expected = np.nanmean(answer.average_precision, axis=1)
    told = f"It is {answer.mean_ap.tolist()}, and the mean is {expected.tolist()}."
    require(bool(np.allclose(answer.mean_ap, expected)), told)


@clause("evaluator", partial(verdicts, perfect), "detections and class scores equal to the ground truth score 1")
def _perfect(trial: Trial, **given: Any) -> None:
    mean = trial.checked(**given).mean_ap
    require(bool(np.allclose(mean, 1)), f"mean_ap is {mean.tolist()}.")


@clause("evaluator", ambiguous, "an interval of label -1 is no instance of any class")
def _ambiguous(trial: Trial, **given: Any) -> None:
    _perfect(trial, **given)


# Of one video alone a protocol may say that even a ranking by chance is right.
@clause(
    "evaluator",
    partial(verdicts, nothing, videos=2),
    "no detections, and class scores opposite to the truth, score less than 1",
)
def _nothing(trial: Trial, **given: Any) -> None:
    mean = trial.call(trial.build(), **given).mean_ap
    require(bool((mean < 1).all()), f"mean_ap is {mean.tolist()}.")


@promise("neither the order of the videos nor a second call changes the verdict")
def _order(trial: Trial, **given: Any) -> None:
    backwards = given | {
        name: dict(reversed(given[name].items())) for name in ("ground_truth", "detections", "class_scores")
    }
    demands.repeated(
        trial,
        lambda answer: [answer.tiou_thresholds, answer.mean_ap, answer.average_precision],
        given,
        backwards,
    )
