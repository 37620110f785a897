"""Suppressors: they remove or weaken detections of one video that repeat a better one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wtal_core import answers, binding, contracts
from wtal_core.answers import require
from wtal_core.contracts import FloatArray, IntArray
from wtal_core.testing import demands
from wtal_core.testing.trial import Example, Trial, clause


class Suppressor(Protocol):
    """Removes or weakens detections of one video that repeat a better one."""

    def __call__(self, detections: contracts.Detections) -> contracts.Detections:
        """The kept detections, possibly with lower scores.

        Class by class, unless an option of the component says otherwise (its test then waives that clause). Neither the
        order of the detections nor anything else but their values decides between equal scores.
        """


class VideoDetections(NamedTuple):
    """The detected intervals of one video (`contracts.Detections`), as the host has them."""

    label: IntArray  # (N,)
    start: FloatArray  # (N,) seconds
    end: FloatArray  # (N,) seconds
    score: FloatArray  # (N,)


class Bound(binding.Bound):
    """A suppressor in its wrapper."""

    def check(self, answer: Any, detections: contracts.Detections) -> None:
        """As many classes as those given, within the same time."""
        first, last = detections.start.min(initial=0.0), detections.end.max(initial=0.0)
        classes = int(detections.label.max(initial=-1)) + 1
        answers.intervals(answer, classes, first, last, "lie within the given detections'")

    def rehearse(self, num_classes: int) -> None:
        """Try it on a small example."""
        label = np.arange(num_classes)
        start = 2.0 * label.astype(np.float64)
        self(VideoDetections(label, start, start + 2, 0.9 - start / 100))


# Clauses of the kit


def crowds() -> Iterator[Example]:
    """Detections of one video, the smallest first: none, one, overlaps in and across classes, equal scores, many."""
    few = [
        (0, 0.0, 2.0, 0.5),
        (0, 0.0, 2.0, 0.25),
        (1, 0.0, 2.0, 0.375),
        (0, 1.0, 3.0, 0.75),
        (1, 8.0, 9.0, 0.125),
        (0, 0.25, 2.0, 1.0),
        (1, 8.25, 9.25, 0.125),
    ]
    many = [(n % 2, n * 7 % 50 / 2, n * 7 % 50 / 2 + 1 + n % 5, n * 13 % 60 / 64) for n in range(60)]
    for rows in (*(few[:N] for N in range(len(few) + 1)), many):
        label, start, end, score = np.array(rows).reshape(-1, 4).T.copy()
        yield {"detections": VideoDetections(label.astype(np.int64), start, end, score)}


def parts(detections: contracts.Detections) -> list[Any]:
    """Label, start, end and score."""
    return [detections.label, detections.start, detections.end, detections.score]


def rows(detections: contracts.Detections) -> list[tuple[float, float, float, float]]:
    """Label, start, end and score of each detection."""
    return [tuple(map(float, row)) for row in zip(*parts(detections), strict=True)]  # type: ignore[misc]


def take(detections: contracts.Detections, which: NDArray[np.bool_] | IntArray) -> VideoDetections:
    """Some of the detections, in the order of `which`."""
    return VideoDetections(*(part[which].copy() for part in parts(detections)))


suppressing = partial(clause, "suppressor", crowds)

suppressing("detections are arrays (N,), of as many classes and within the same time as those given")(demands.form)
suppressing("its argument stays as it is")(demands.untouched)
suppressing("the same detections give the same answer")(demands.repeats(parts))


@suppressing("what it keeps was given, once for each time, and with no higher score")
def _subset(trial: Trial, detections: VideoDetections) -> None:
    left = rows(detections)
    for row in rows(trial.call(trial.build(), detections=detections)):
        origin = next((one for one in left if one[:3] == row[:3] and one[3] >= row[3]), None)
        require(origin is not None, f"Of {left} none is {row}.")
        assert origin is not None
        left.remove(origin)


@suppressing("the best detection, and what overlaps no other, stay as they are")
def _keeps(trial: Trial, detections: VideoDetections) -> None:
    given = rows(detections)
    left = rows(trial.call(trial.build(), detections=detections))
    best = max(given, key=lambda row: row[3], default=None)
    for row in given:
        free = all(row is other or row[2] <= other[1] or other[2] <= row[1] for other in given)
        require(row in left or not (free or row is best), f"{row} became part of {left}.")


@suppressing("the order of the detections decides nothing")
def _order(trial: Trial, detections: VideoDetections) -> None:
    expected = sorted(rows(trial.build()(detections)))
    backwards = take(detections, np.arange(len(detections.label))[::-1])
    got = sorted(rows(trial.call(trial.build(), detections=backwards)))
    require(got == expected, f"It keeps {got}, and {expected} in the opposite order.")


@suppressing("what it does to one class depends on no other")
def _classes(trial: Trial, detections: VideoDetections) -> None:
    for label in (0, 1):
        alone = take(detections, detections.label == label)
        expected = sorted(rows(trial.build()(alone)))
        got = sorted(row for row in rows(trial.call(trial.build(), detections=detections)) if row[0] == label)
        require(got == expected, f"Of class {label} it keeps {got}, and {expected} where that class is alone.")
