"""Thinning out detections that repeat a better one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wtal_localize.detections import Detections, DetectionsLike, FloatArray, IntArray, checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def rank(start: FloatArray, end: FloatArray, score: FloatArray, label: IntArray) -> IntArray:
    """The order in which detections are considered: score descending, then start, end and label ascending.

    Only equal detections are left tied, so nothing depends on the order of the input.
    """
    return np.lexsort((label, end, start, -score))


def nms(
    start: ArrayLike, end: ArrayLike, score: ArrayLike, label: ArrayLike | None = None, threshold: float = 0.5
) -> IntArray:
    """Greedy non-maximum suppression of half-open intervals.

    The best detection is kept, those of its class that overlap it by a tIoU above `threshold` go, and so on. Lengths
    are end - start: seconds are not pixels, there is no + 1.

    Args:
        start: (N,) seconds.
        end: (N,) seconds, after start.
        score: (N,), of any sign.
        label: (N,) integers; only equal labels suppress each other. None: all do.
        threshold: the tIoU in [0, 1] that two kept intervals of a class may reach.

    Returns:
        Indices of the kept, best first: score descending, ties by start, end, label.

    Raises:
        ValueError: threshold out of range; see also `Detections`.
        TypeError: labels that are not integers.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a tIoU in [0, 1], got {threshold}")
    if label is None:
        label = np.zeros(np.shape(score), np.int64)
    label, start, end, score = checked(Detections(*(np.asarray(v) for v in (label, start, end, score))))
    order = rank(start, end, score, label)
    keep = []
    while order.size:
        best, order = order[0], order[1:]
        keep.append(best)
        inner = np.minimum(end[best], end[order]) - np.maximum(start[best], start[order])
        union = (end[best] - start[best]) + (end[order] - start[order]) - inner
        order = order[(inner <= threshold * union) | (label[order] != label[best])]
    return np.array(keep, np.int64)


class NonMaximumSuppression:
    """The suppressor `nms`: class by class; see `nms`."""

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    def __call__(self, detections: DetectionsLike) -> Detections:
        """The kept detections of one video, best first."""
        kept = nms(detections.start, detections.end, detections.score, detections.label, self.threshold)
        return checked(detections).take(kept)
