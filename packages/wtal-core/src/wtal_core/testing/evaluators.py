"""The clauses of `contracts.Evaluator`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from wtal_core import answers
from wtal_core.answers import require
from wtal_core.contracts import Detections, Evaluator, Segments
from wtal_core.dataset import Instances
from wtal_core.localization import VideoDetections
from wtal_core.testing.trial import Example, Trial, check, clause, repeats


def check_evaluator(make: Callable[[], Evaluator]) -> None:
    """Check an evaluator, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("evaluator", make)


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


def verdicts(*detectors: Callable[[dict[str, Segments]], dict[str, Detections]], videos: int = 1) -> Iterator[Example]:
    """An evaluator's arguments for every subset of at least so many videos, and every way to detect."""
    for truth, classes in subsets():
        for detect in detectors if len(truth) >= videos else ():
            yield {"ground_truth": truth, "detections": detect(truth), "classes": classes}


examples = partial(verdicts, perfect, some, nothing)
promise = partial(clause, "evaluator", examples)


@promise("precisions are (K, C) and (K,) in [0, 1], and NaN for a class without instances alone")
def _form(trial: Trial, **given: Any) -> None:
    verdict = trial.call(trial.build(), **given)
    answers.evaluation(verdict, given["ground_truth"], len(given["classes"]))


@promise("its arguments stay as they are")
def _untouched(trial: Trial, **given: Any) -> None:
    trial.call(trial.build(), **given)
    trial.unchanged(**given)


@promise("mean_ap is the mean of average_precision over the classes that have instances")
def _mean(trial: Trial, **given: Any) -> None:
    verdict = trial.call(trial.build(), **given)
    expected = np.nanmean(verdict.average_precision, axis=1)
    told = f"It is {verdict.mean_ap.tolist()}, and the mean is {expected.tolist()}."
    require(bool(np.allclose(verdict.mean_ap, expected)), told)


@clause("evaluator", partial(verdicts, perfect), "detections equal to the ground truth score 1")
def _perfect(trial: Trial, **given: Any) -> None:
    mean = trial.call(trial.build(), **given).mean_ap
    require(bool(np.allclose(mean, 1)), f"mean_ap is {mean.tolist()}.")


# Of one video alone a protocol may say that even a ranking by chance is right.
@clause("evaluator", partial(verdicts, nothing, videos=2), "no detections score less than 1")
def _nothing(trial: Trial, **given: Any) -> None:
    mean = trial.call(trial.build(), **given).mean_ap
    require(bool((mean < 1).all()), f"mean_ap is {mean.tolist()}.")


@promise("neither the order of the videos nor a second call changes the verdict")
def _order(trial: Trial, **given: Any) -> None:
    backwards = given | {name: dict(reversed(given[name].items())) for name in ("ground_truth", "detections")}
    repeats(
        trial,
        trial.build(),
        given,
        examples,
        lambda verdict: [verdict.tiou_thresholds, verdict.mean_ap, verdict.average_precision],
        again=backwards,
    )
