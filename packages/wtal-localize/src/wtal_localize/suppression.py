"""Thinning out detections that repeat a better one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from wtal_localize.compiled import Compiled
from wtal_localize.detections import REAL, Detections, DetectionsLike, FloatArray, IntArray, checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

Decay = Literal["gaussian", "linear"]


def nms(
    start: ArrayLike, end: ArrayLike, score: ArrayLike, label: ArrayLike | None = None, *, threshold: float = 0.5
) -> IntArray:
    """Greedy non-maximum suppression of half-open intervals.

    The best detection is kept, those of its class that overlap it by a tIoU above `threshold` go, and so on. Lengths
    are end - start: seconds are not pixels, there is no + 1. Of two equal scores the
    better is that of the earlier start, then the earlier end, then the smaller label: nothing depends on the order of
    the input.

    Args:
        start: (N,) seconds.
        end: (N,) seconds, after start.
        score: (N,), of any sign.
        label: (N,) integers; only equal labels suppress each other. `video * C + class` thins a whole data set at
            once. None: all suppress each other.
        threshold: the tIoU in [0, 1] that two kept intervals of a class may reach.

    Returns:
        Indices of the kept, best first.

    Raises:
        ValueError: arrays of unequal length, values that are not finite, intervals that do not end after they start,
            a threshold out of range.
        TypeError: labels that are not integers.
    """
    _check_fraction("threshold", threshold)
    return _greedy(_detections(start, end, score, label), threshold)


def soft_nms(
    start: ArrayLike,
    end: ArrayLike,
    score: ArrayLike,
    label: ArrayLike | None = None,
    *,
    decay: Decay = "gaussian",
    sigma: float = 0.5,
    threshold: float = 0.3,
    minimum_score: float = 0.001,
) -> tuple[IntArray, FloatArray]:
    """Soft-NMS (Bodla et al., ICCV 2017) of half-open intervals.

    The best detection is taken, those of its class that overlap it are weakened, and so on: by exp(-tIoU^2 / sigma)
    (`gaussian`), or by 1 - tIoU where the tIoU is above `threshold` (`linear`). Scores of zero or less are left alone:
    a factor below one would raise them. Equal scores are settled as in `nms`.

    Args:
        start: (N,) seconds.
        end: (N,) seconds, after start.
        score: (N,), of any sign.
        label: (N,) integers, as in `nms`.
        decay: how overlap weakens.
        sigma: the width of the Gaussian, above 0.
        threshold: the tIoU in [0, 1] from which the linear decay sets in.
        minimum_score: detections that were weakened to less than this go; 0 keeps all.

    Returns:
        Indices of the kept and their new scores, best first by the new scores.

    Raises:
        ValueError: as `nms`; an option out of range.
        TypeError: labels that are not integers.
    """
    _check_soft(decay, sigma, threshold, minimum_score)
    return _soft(_detections(start, end, score, label), decay, sigma, threshold, minimum_score)


class NonMaximumSuppression:
    """The suppressor `nms`; see `nms`. Class-wise, or with `across_classes` all classes suppress each other."""

    def __init__(self, threshold: float = 0.5, across_classes: bool = False) -> None:
        self.threshold = threshold
        self.across_classes = across_classes

    def __call__(self, detections: DetectionsLike) -> Detections:
        """The kept detections of one video, best first."""
        _check_fraction("threshold", self.threshold)
        detections = checked(detections)
        return detections.take(_greedy(detections, self.threshold, self.across_classes))


class SoftNonMaximumSuppression:
    """The suppressor `soft-nms`; see `soft_nms`. Class-wise, or with `across_classes` all classes weaken each other."""

    def __init__(
        self,
        decay: Decay = "gaussian",
        sigma: float = 0.5,
        threshold: float = 0.3,
        minimum_score: float = 0.001,
        across_classes: bool = False,
    ) -> None:
        self.decay = decay
        self.sigma = sigma
        self.threshold = threshold
        self.minimum_score = minimum_score
        self.across_classes = across_classes

    def __call__(self, detections: DetectionsLike) -> Detections:
        """The detections of one video with weakened scores, best first."""
        _check_soft(self.decay, self.sigma, self.threshold, self.minimum_score)
        detections = checked(detections)
        kept, score = _soft(detections, self.decay, self.sigma, self.threshold, self.minimum_score, self.across_classes)
        return detections.take(kept)._replace(score=score)


class NoSuppression:
    """The suppressor `none`: keeps every detection, best first."""

    def __call__(self, detections: DetectionsLike) -> Detections:
        """The same detections; equal scores ordered as in `nms`."""
        detections = checked(detections)
        return detections.take(_rank(detections))


def _check_fraction(name: str, value: float) -> None:
    if not (isinstance(value, REAL) and 0 <= value <= 1):
        raise ValueError(f"{name} must be a tIoU in [0, 1], got {value}")


def _check_soft(decay: str, sigma: float, threshold: float, minimum_score: float) -> None:
    if decay not in ("gaussian", "linear"):
        raise ValueError(f"decay must be 'gaussian' or 'linear', got {decay!r}")
    if not (isinstance(sigma, REAL) and 0 < sigma < math.inf):
        raise ValueError(f"sigma must be above 0, got {sigma}")
    _check_fraction("threshold", threshold)
    if not (isinstance(minimum_score, REAL) and 0 <= minimum_score < math.inf):
        raise ValueError(f"minimum_score must be 0 or more, got {minimum_score}")


def _detections(start: ArrayLike, end: ArrayLike, score: ArrayLike, label: ArrayLike | None) -> Detections:
    if label is None:
        label = np.zeros(np.shape(score), np.int64)
    return checked(Detections(np.asarray(label), np.asarray(start), np.asarray(end), np.asarray(score)))


def _greedy(detections: Detections, threshold: float, across_classes: bool = False) -> IntArray:
    label, start, end, _ = detections
    # Copies, for the loops are compiled anew for every memory layout, such as the columns of a table.
    group, start, end = (np.zeros_like(label) if across_classes else label).copy(), start.copy(), end.copy()
    by_time = np.arange(len(group))
    if not _sorted(group, start):  # as proposers give them, they are; looking is cheaper than sorting
        by_time = np.argsort(start)
        by_time = by_time[np.argsort(group[by_time], kind="stable")]
    return _keep(_rank(detections), by_time, group, start, end, threshold)


def _soft(
    detections: Detections,
    decay: Decay,
    sigma: float,
    threshold: float,
    minimum_score: float,
    across_classes: bool = False,
) -> tuple[IntArray, FloatArray]:
    label, start, end, score = detections
    group = np.zeros_like(label) if across_classes else label
    order = np.lexsort((label, end, start, group))  # the loop settles ties by position
    score = score[order]
    gone = _weaken(score, group[order], start[order], end[order], decay == "gaussian", sigma, threshold, minimum_score)
    kept, score = order[~gone], score[~gone]
    ranked = _rank(detections.take(kept)._replace(score=score))
    return kept[ranked], score[ranked]


def _rank(detections: Detections) -> IntArray:
    """The order best first: score descending, ties by start, end, label."""
    label, start, end, score = detections
    order = np.argsort(-score)  # several times faster than a sort by all keys, which only ties need
    ranked = score[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.lexsort((label, end, start, -score))
    return order


def _sorted(group: IntArray, start: FloatArray) -> bool:
    """Whether intervals are sorted by group, then start."""
    later = group[1:] > group[:-1]
    return bool((later | ((group[1:] == group[:-1]) & (start[1:] >= start[:-1]))).all())


def _slices(group: IntArray) -> Iterator[tuple[int, int]]:
    """First and last + 1 of every run of equal groups."""
    bounds = np.flatnonzero(np.diff(group)) + 1
    yield from pairwise([0, *bounds.tolist(), len(group)] if len(group) else [])


def _keep_loop(
    ranked: IntArray, by_time: IntArray, group: IntArray, start: FloatArray, end: FloatArray, threshold: float
) -> IntArray:
    """What NMS keeps of the ranked; `by_time` sorts them by group, then start."""
    N = len(ranked)
    group, start, end = group[by_time], start[by_time], end[by_time]
    position = np.empty(N, np.int64)
    for i in range(N):
        position[by_time[i]] = i
    gone = np.zeros(N, np.bool_)
    kept = np.empty(N, np.int64)
    count = 0
    nearly = threshold * (1 - 1e-12)  # spares most pairs the slow division
    for best in ranked:
        i = position[best]
        if gone[i]:
            continue
        kept[count] = best
        count += 1
        # Of those that start earlier, only j with start[j] > end[i] - length / threshold can overlap i by more than the
        # threshold, for their union reaches from start[j] to end[i]; the slack covers rounding.
        length = end[i] - start[i]
        reach = length / threshold if threshold > 0 else math.inf
        earliest = end[i] - reach - 1e-12 * (reach + abs(end[i]))
        j = i - 1
        while j >= 0 and group[j] == group[i] and start[j] > earliest:
            inner = min(end[i], end[j]) - start[i]
            union = length + (end[j] - start[j]) - inner
            if inner > nearly * union and inner / union > threshold:
                gone[j] = True
            j -= 1
        j = i + 1
        while j < N and group[j] == group[i] and start[j] < end[i]:
            inner = min(end[i], end[j]) - start[j]
            union = length + (end[j] - start[j]) - inner
            if inner > nearly * union and inner / union > threshold:
                gone[j] = True
            j += 1
    return kept[:count]


def _keep_arrays(
    ranked: IntArray, by_time: IntArray, group: IntArray, start: FloatArray, end: FloatArray, threshold: float
) -> IntArray:
    """As `_keep_loop`."""
    rank = np.empty(len(ranked), np.int64)
    rank[ranked] = np.arange(len(ranked))
    stays = np.ones(len(ranked), np.bool_)
    for first, last in _slices(group[by_time]):
        mine = np.sort(rank[by_time[first:last]])  # best first
        starts, ends = start[ranked[mine]], end[ranked[mine]]
        lengths, left = ends - starts, np.ones(len(mine), np.bool_)
        for i in range(len(mine)):
            if not left[i]:
                continue
            inner = np.minimum(ends[i], ends[i + 1 :]) - np.maximum(starts[i], starts[i + 1 :])
            # Where inner is negative, so is the quotient; and no union is zero.
            left[i + 1 :] &= inner / (lengths[i] + lengths[i + 1 :] - inner) <= threshold
        stays[mine] = left
    return ranked[stays]


def _weaken_loop(
    score: FloatArray,
    group: IntArray,
    start: FloatArray,
    end: FloatArray,
    gaussian: bool,
    sigma: float,
    threshold: float,
    minimum_score: float,
) -> NDArray[np.bool_]:
    """Weaken the scores in place; what falls below the minimum. Sorted by group, and ties are settled by position."""
    gone = np.zeros(len(group), np.bool_)
    waiting = np.empty(len(group), np.int64)
    first = 0
    while first < len(group):
        last, best = first, first
        while last < len(group) and group[last] == group[first]:
            waiting[last] = last
            if score[last] > score[best]:
                best = last
            last += 1
        left = last
        while left > first:
            i, best, n = best, -1, first
            for w in range(first, left):
                j = waiting[w]
                if j == i:
                    continue
                inner = min(end[i], end[j]) - max(start[i], start[j])
                factor = 1.0
                if inner > 0 and score[j] > 0:
                    tiou = inner / ((end[i] - start[i]) + (end[j] - start[j]) - inner)
                    if gaussian:
                        factor = math.exp(-tiou * tiou / sigma)
                    elif tiou > threshold:
                        factor = 1.0 - tiou
                if factor < 1.0:
                    score[j] *= factor
                    if score[j] < minimum_score:
                        gone[j] = True
                        continue
                waiting[n] = j
                n += 1
                if best < 0 or score[j] > score[best]:
                    best = j
            left = n
        first = last
    return gone


def _weaken_arrays(
    score: FloatArray,
    group: IntArray,
    start: FloatArray,
    end: FloatArray,
    gaussian: bool,
    sigma: float,
    threshold: float,
    minimum_score: float,
) -> NDArray[np.bool_]:
    """As `_weaken_loop`."""
    gone = np.zeros(len(group), np.bool_)
    for first, last in _slices(group):
        waiting = np.arange(first, last)
        while waiting.size:
            at = int(np.argmax(score[waiting]))
            i, waiting = waiting[at], np.delete(waiting, at)
            inner = np.minimum(end[i], end[waiting]) - np.maximum(start[i], start[waiting])
            touched = (inner > 0) & (score[waiting] > 0)
            j, inner = waiting[touched], inner[touched]
            tiou = inner / ((end[i] - start[i]) + (end[j] - start[j]) - inner)
            if gaussian:  # math's exp, for NumPy's may differ in the last bit
                factor = np.array([math.exp(x) for x in (-tiou * tiou / sigma).tolist()])
            else:
                factor = np.where(tiou > threshold, 1.0 - tiou, 1.0)
            score[j] *= factor
            gone[j] = (factor < 1.0) & (score[j] < minimum_score)
            waiting = waiting[~gone[waiting]]
    return gone


_keep = Compiled(_keep_loop, _keep_arrays)
_weaken = Compiled(_weaken_loop, _weaken_arrays)
