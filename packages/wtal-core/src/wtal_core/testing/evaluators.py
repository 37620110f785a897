"""The clauses of `contracts.Evaluator`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wtal_core.contracts import Detections, Evaluator, Segments
from wtal_core.dataset import Instances
from wtal_core.localization import VideoDetections
from wtal_core.testing import answers
from wtal_core.testing.answers import require
from wtal_core.testing.trial import Trial, check, clause

Subset = tuple[dict[str, Segments], list[str]]


def check_evaluator(make: Callable[[], Evaluator]) -> None:
    """Check an evaluator, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("evaluator", make)


def subsets() -> Iterator[Subset]:
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


def _nothing(truth: dict[str, Segments]) -> dict[str, Detections]:
    none = np.empty(0)
    return {name: VideoDetections(np.empty(0, np.int64), none, none, none) for name in truth}


def _some(truth: dict[str, Segments]) -> dict[str, Detections]:
    """Detections that are right, late and wrong by turns."""
    found: dict[str, Detections] = {}
    for number, name in enumerate(truth):
        label, start = np.zeros(3, np.int64), np.array([0.0, 1.0, 6.0]) + number
        found[name] = VideoDetections(label, start, start + 2, np.array([0.5, 0.75, 0.25]) - number / 8)
    return found


def _evaluate(trial: Trial, evaluator: Any, truth: Any, found: Any, classes: list[str]) -> Any:
    return trial.call(evaluator, ground_truth=truth, detections=found, classes=classes)


@clause("evaluator", "precisions are (K, C) and (K,) in [0, 1], and NaN for a class without instances alone")
def _form(trial: Trial) -> None:
    evaluator = trial.build()
    for truth, classes in subsets():
        for found in (perfect(truth), _some(truth), _nothing(truth)):
            answers.evaluation(_evaluate(trial, evaluator, truth, found, classes), truth, len(classes))


@clause("evaluator", "its arguments stay as they are")
def _untouched(trial: Trial) -> None:
    evaluator = trial.build()
    for truth, classes in subsets():
        given: dict[str, Any] = {"ground_truth": truth, "detections": _some(truth), "classes": classes}
        trial.call(evaluator, **given)
        trial.unchanged(**given)


@clause("evaluator", "detections equal to the ground truth score 1")
def _perfect(trial: Trial) -> None:
    evaluator = trial.build()
    for truth, classes in subsets():
        mean = _evaluate(trial, evaluator, truth, perfect(truth), classes).mean_ap
        require(bool(np.allclose(mean, 1)), f"mean_ap is {mean.tolist()}.")


@clause("evaluator", "neither the order of the videos nor a second call changes the verdict")
def _order(trial: Trial) -> None:
    evaluator = trial.build()
    for truth, classes in subsets():
        found = _some(truth)
        first = evaluator(truth, found, classes).average_precision.copy()
        backwards = dict(reversed(truth.items())), dict(reversed(found.items()))
        again = _evaluate(trial, evaluator, *backwards, classes).average_precision
        require(np.array_equal(first, again, equal_nan=True), f"It gave {first.tolist()}, then {again.tolist()}.")
