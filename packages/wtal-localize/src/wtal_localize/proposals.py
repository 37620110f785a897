"""Cutting activations into scored intervals by thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from wtal_localize.detections import Detections, FloatArray, IntArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Score = Literal["mean", "max"]


def propose(
    activation: ArrayLike,
    class_scores: ArrayLike,
    edges: ArrayLike,
    *,
    threshold: float | Sequence[float] = 0.2,
    class_threshold: float = 0.1,
    score: Score = "mean",
) -> Detections:
    """The runs of snippets whose activation reaches a fraction of its class's maximum (MAAN 3.1).

    Classes whose video-level score is below `class_threshold` are left out; if that leaves none, the class with the
    highest score stays (the first of equals). A snippet of activation 0 belongs to no interval: a class that is zero
    throughout gives none, any other constant class gives one interval, the whole video.

    Args:
        activation: (C, T), finite and not negative.
        class_scores: (C,), video-level probabilities; they choose classes and take no part in the score.
        edges: (T + 1,) seconds, increasing; snippet t stands for [edges[t], edges[t + 1]).
        threshold: one fraction in [0, 1], or several; an interval that several give is given once.
        class_threshold: the video-level score from which a class is localized.
        score: `mean` of the activation over the interval's snippets (STAR eq. 14), or `max`.

    Returns:
        Intervals sorted by label, start, end.

    Raises:
        ValueError: an array of wrong shape or value, an option out of range.
    """
    a, scores, t = _checked(activation, class_scores, edges)
    fractions = np.atleast_1d(np.asarray(threshold, np.float64))
    if fractions.ndim != 1 or not fractions.size or not ((fractions >= 0) & (fractions <= 1)).all():
        raise ValueError(f"threshold must be one or more fractions in [0, 1], got {threshold}")
    if not 0 <= class_threshold <= 1:
        raise ValueError(f"class_threshold must be in [0, 1], got {class_threshold}")
    if score not in ("mean", "max"):
        raise ValueError(f"score must be 'mean' or 'max', got {score!r}")

    classes = passing_classes(scores, class_threshold)
    a = a[classes]
    levels = fractions[:, None] * a.max(axis=1, initial=0.0)
    row, first, last = _runs(a, levels)
    value = _reduce(np.add if score == "mean" else np.maximum, a, row, first, last)
    if score == "mean":
        value /= last - first
    return Detections(classes[row], t[first], t[last], value)


class Threshold:
    """The proposer `threshold`; see `propose` for the options."""

    def __init__(
        self,
        threshold: float | Sequence[float] = 0.2,
        class_threshold: float = 0.1,
        score: Score = "mean",
    ) -> None:
        self.threshold = threshold
        self.class_threshold = class_threshold
        self.score = score

    def __call__(self, activation: FloatArray, class_scores: FloatArray, edges: FloatArray) -> Detections:
        """Map activation (C, T), class scores (C,) and snippet edges (T + 1,) in seconds to detections."""
        return propose(
            activation,
            class_scores,
            edges,
            threshold=self.threshold,
            class_threshold=self.class_threshold,
            score=self.score,
        )


def passing_classes(class_scores: FloatArray, class_threshold: float) -> IntArray:
    """The classes whose score reaches the threshold, or the class with the highest score if none does."""
    passing = np.flatnonzero(class_scores >= class_threshold)
    if not passing.size and class_scores.size:
        passing = np.array([np.argmax(class_scores)])
    return passing.astype(np.int64)


def _checked(
    activation: ArrayLike, class_scores: ArrayLike, edges: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    a, scores, t = (np.asarray(value, np.float64) for value in (activation, class_scores, edges))
    if a.ndim != 2:
        raise ValueError(f"activation must have shape (C, T), got {a.shape}")
    for bad, what in ((~np.isfinite(a), "finite"), (a < 0, "zero or more")):
        if bad.any():
            c, i = np.argwhere(bad)[0]
            raise ValueError(f"activation must be {what}, got {a[c, i]} for class {c} at snippet {i}")
    C, T = a.shape
    if scores.shape != (C,):
        raise ValueError(f"class_scores must have shape (C,) = ({C},) as activation has, got {scores.shape}")
    if not np.isfinite(scores).all():
        c = int(np.argmax(~np.isfinite(scores)))
        raise ValueError(f"class_scores must be finite, got {scores[c]} for class {c}")
    if t.shape != (T + 1,):
        raise ValueError(f"edges must have shape (T + 1,) = ({T + 1},) for activation {a.shape}, got {t.shape}")
    if not np.isfinite(t).all():
        raise ValueError(f"edges must be finite, got {t[~np.isfinite(t)][0]}")
    if (np.diff(t) <= 0).any():
        i = int(np.argmax(np.diff(t) <= 0))
        raise ValueError(f"edges must increase, got {t[i]} before {t[i + 1]} at snippet {i}")
    return a, scores, t


def _runs(curve: FloatArray, levels: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
    """Runs of curve (R, T) at or above levels (K, R) and above 0: row, first snippet, snippet after the last.

    Sorted by row, first, last; each run once, however many levels give it.
    """
    R, T = curve.shape
    inside = np.zeros((len(levels), R, T + 2), np.bool_)
    inside[..., 1:-1] = (curve >= levels[..., None]) & (curve > 0)
    change = inside[..., 1:] != inside[..., :-1]
    _, row, at = np.nonzero(change)
    row, first, last = row[::2], at[::2], at[1::2]
    key = np.unique((row * (T + 1) + first) * (T + 1) + last)
    return key // (T + 1) ** 2, key // (T + 1) % (T + 1), key % (T + 1)


def _reduce(ufunc: np.ufunc, values: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
    """`ufunc` over values[row, first:last] for each of N runs, none of them empty."""
    T = values.shape[1]
    bounds: IntArray = np.column_stack([row * T + first, row * T + last]).ravel()
    padded = np.append(values.ravel(), 0.0)  # so that a run may end with the last row
    result: FloatArray = ufunc.reduceat(padded, bounds)[::2] if bounds.size else np.empty(0)
    return result
