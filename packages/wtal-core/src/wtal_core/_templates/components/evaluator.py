"""An evaluator: it scores the detections of a subset against its ground truth. C classes, times in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Evaluation(NamedTuple):
    """The verdict; precisions are fractions."""

    tiou_thresholds: NDArray[np.float64]  # (K,)
    mean_ap: NDArray[np.float64]  # (K,)
    average_precision: NDArray[np.float64]  # (K, C), NaN for a class without instances
    notes: tuple[str, ...]  # what was left out, and why


class PlaceholderClass:
    """Average precision: the precision at each instance found, averaged over all instances of a class.

    Args:
        tiou_thresholds: the temporal intersections over union, each in (0, 1], from which on a detection is right.

    Raises:
        ValueError: there is no threshold, or one is out of its range.
    """

    def __init__(self, *, tiou_thresholds: Sequence[float] = (0.3, 0.5, 0.7)) -> None:
        if not tiou_thresholds or not all(0 < threshold <= 1 for threshold in tiou_thresholds):
            raise ValueError(f"tiou_thresholds must be one or more numbers in (0, 1], got {tiou_thresholds}")
        self.tiou_thresholds = np.array(tiou_thresholds, np.float64)

    def __call__(
        self,
        ground_truth: Mapping[str, Any],
        detections: Mapping[str, Any],
        classes: Sequence[str],
        class_scores: Mapping[str, NDArray[np.float64]],
    ) -> Evaluation:
        """Score detections (label, start, end, score) by video name; ground truth has every video of the subset.

        The videos' class scores (C,) are there for a protocol that ranks whole videos; this one scores intervals alone.
        """
        precision = np.array(
            [
                [_average_precision(ground_truth, detections, label, threshold) for label in range(len(classes))]
                for threshold in self.tiou_thresholds
            ]
        ).reshape(len(self.tiou_thresholds), len(classes))
        present = ~np.isnan(precision).all(0)
        mean = precision[:, present].mean(1) if present.any() else np.zeros(len(self.tiou_thresholds))
        absent = tuple(
            f"class {name!r} has no instances" for name, has in zip(classes, present, strict=True) if not has
        )
        return Evaluation(self.tiou_thresholds, mean, precision, absent)


def _average_precision(truth: Mapping[str, Any], found: Mapping[str, Any], label: int, threshold: float) -> float:
    """Of one class: each detection, best first, takes the free instance that it overlaps most, if by the threshold."""
    free = {
        name: [(s, e) for c, s, e in zip(one.label, one.start, one.end, strict=True) if c == label]
        for name, one in truth.items()
    }
    total = sum(map(len, free.values()))
    if total == 0:
        return float("nan")
    ranked = sorted(
        (-score, name, s, e)
        for name, one in found.items()
        for c, s, e, score in zip(one.label, one.start, one.end, one.score, strict=True)
        if c == label
    )
    hits, sum_of_precisions = 0, 0.0
    for rank, (_, name, s, e) in enumerate(ranked, start=1):
        best = max(free.get(name, []), key=lambda instance: _tiou(instance, (s, e)), default=None)
        if best is not None and _tiou(best, (s, e)) >= threshold:
            free[name].remove(best)
            hits += 1
            sum_of_precisions += hits / rank
    return sum_of_precisions / total


def _tiou(one: tuple[float, float], other: tuple[float, float]) -> float:
    overlap = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (one[1] - one[0]) + (other[1] - other[0]) - overlap
    return overlap / union if union > 0 else 0.0
