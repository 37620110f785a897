"""The verdict of an evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .intervals import FloatArray, InputError


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Average precision per tIoU threshold and class. Precisions are fractions in [0, 1].

    Attributes:
        protocol: Name of the protocol.
        classes: Names of the C classes.
        tiou_thresholds: (K,) rising.
        average_precision: (K, C), NaN for a class without ground truth.
        mean_ap: (K,), the mean over the classes that have ground truth.
        notes: What was left out and why, a sentence each.
    """

    protocol: str
    classes: tuple[str, ...]
    tiou_thresholds: FloatArray
    average_precision: FloatArray
    mean_ap: FloatArray
    notes: tuple[str, ...]

    @property
    def per_class(self) -> dict[str, FloatArray]:
        """Average precision (K,) by class name."""
        return dict(zip(self.classes, self.average_precision.T, strict=True))

    def average(self, lo: float, hi: float, step: float | None = None) -> float:
        """Mean of `mean_ap` over the thresholds from `lo` to `hi`.

        Args:
            lo: First threshold.
            hi: Last threshold.
            step: Distance of the thresholds to average; all that were evaluated in [lo, hi] if omitted.

        Raises:
            ValueError: If a threshold that the average needs was not evaluated, or there is none from `lo` to `hi`.
        """
        if lo > hi:
            raise ValueError(f"the average {lo:g}:{hi:g} ends before it starts")
        wanted = np.array([lo, hi]) if step is None else threshold_range(lo, hi, step)
        missing = [t for t in wanted if not np.isclose(self.tiou_thresholds, t, rtol=0, atol=1e-9).any()]
        if missing:
            raise ValueError(
                f"the average {lo:g}:{hi:g} needs tIoU {', '.join(f'{t:g}' for t in missing)}, "
                f"but only {', '.join(f'{t:g}' for t in self.tiou_thresholds)} were evaluated"
            )
        if step is None:
            chosen = (self.tiou_thresholds > lo - 1e-9) & (self.tiou_thresholds < hi + 1e-9)
        else:
            chosen = np.isclose(self.tiou_thresholds[:, None], wanted, rtol=0, atol=1e-9).any(axis=1)
        return float(self.mean_ap[chosen].mean())


def threshold_range(lo: float, hi: float, step: float) -> FloatArray:
    """The thresholds lo, lo + step, ... hi (both ends included), each the float nearest to its decimal.

    Raises:
        InputError: If they leave [0, 1], `step` is below 0.001, or no number of steps leads from `lo` to `hi`.
    """
    text = f"{lo:g}:{step:g}:{hi:g}"
    if not (0 <= lo <= hi <= 1 and step >= 0.001):
        raise InputError(f"{text} is not first:step:last with 0 <= first <= last <= 1 and a step of at least 0.001")
    thresholds = np.round(lo + step * np.arange(round((hi - lo) / step) + 1), 10)
    if abs(thresholds[-1] - hi) > 1e-9:
        raise InputError(f"{text} does not end at {hi:g}: no number of steps of {step:g} leads there from {lo:g}")
    return thresholds


def checked_thresholds(tiou_thresholds: ArrayLike) -> FloatArray:
    """The thresholds as a rising array (K,) without repeats.

    Raises:
        InputError: If there is none or one is outside [0, 1].
    """
    thresholds = np.unique(np.asarray(tiou_thresholds, np.float64))
    if not thresholds.size:
        raise InputError("tiou_thresholds is empty: give at least one threshold in [0, 1]")
    bad = thresholds[~((thresholds >= 0) & (thresholds <= 1))]
    if bad.size:
        raise InputError(f"tiou_thresholds must lie in [0, 1], not {bad[0]:g}")
    return thresholds


def mean_over_classes(average_precision: FloatArray) -> FloatArray:
    """Mean (...) of average precision (..., C) over the classes that have one; 0 if none has."""
    present = ~np.isnan(average_precision)
    mean: FloatArray = np.where(present, average_precision, 0.0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return mean


def named(names: Sequence[str], limit: int = 10) -> str:
    """The names in a sentence, the first few if they are many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
