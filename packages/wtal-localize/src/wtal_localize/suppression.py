"""Thinning out detections that repeat a better one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from wtal_localize.arguments import choice, in_range, is_number, real_array, switch
from wtal_localize.compiled import Compiled
from wtal_localize.detections import Detections, DetectionsLike, FloatArray, IntArray, checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

Decay = Literal["gaussian", "linear"]

SHORT = 16  # keys that are sorted by insertion
TOGETHER = 2**15  # intervals that are ranked across groups before NMS: few enough to stay in cache


def nms(
    start: ArrayLike,
    end: ArrayLike,
    score: ArrayLike,
    label: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    ranked: bool = False,
) -> IntArray:
    """Greedy non-maximum suppression of half-open intervals.

    The best detection is kept, those of its class that overlap it by a tIoU above `threshold` go, and so on. Lengths
    are end - start: seconds are not pixels, there is no + 1. Of two equal scores the better is that of the earlier
    start, then the earlier end, then the smaller label: nothing depends on the order of the input.

    Args:
        start: (N,) seconds.
        end: (N,) seconds, after start.
        score: (N,), of any sign.
        label: (N,) integers of 0 or more; only equal labels suppress each other. `video * C + class` thins a whole
            data set at once. None: all suppress each other.
        threshold: as of `NonMaximumSuppression`.
        ranked: whether the kept of all labels are ranked together. It costs a sort of them all.

    Returns:
        Indices of the kept: label by label, best first in each; if `ranked`, the best of all labels first.

    Raises:
        ValueError: arrays of unequal length, values that are not finite, intervals that do not end after they start,
            negative labels, an option out of range.
        TypeError: labels that are not integers.
    """
    in_range("threshold", threshold, 1.0)
    switch("ranked", ranked)
    return _greedy(_detections(start, end, score, label), threshold, ranked=bool(ranked))


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
    ranked: bool = False,
) -> tuple[IntArray, FloatArray]:
    """Soft-NMS (Bodla et al., ICCV 2017) of half-open intervals.

    The best detection is taken, those of its class that overlap it are weakened, and so on. Scores of zero or less are
    left alone: a factor below one would raise them. Equal scores are settled as in `nms`.

    Args:
        start: (N,) seconds.
        end: (N,) seconds, after start.
        score: (N,), of any sign.
        label: (N,) integers, as in `nms`.
        decay: this and what follows as of `SoftNonMaximumSuppression`.
        sigma: for `gaussian`.
        threshold: for `linear`.
        minimum_score: for both.
        ranked: as in `nms`.

    Returns:
        Indices of the kept and their new scores: label by label, best first by the new scores in each; if `ranked`, the
        best of all labels first.

    Raises:
        ValueError: as `nms`; an option out of range.
        TypeError: labels that are not integers.
    """
    _check_soft(decay, sigma, threshold, minimum_score)
    switch("ranked", ranked)
    return _soft(_detections(start, end, score, label), decay, sigma, threshold, minimum_score, ranked=bool(ranked))


class NonMaximumSuppression:
    """Greedy non-maximum suppression (MAAN 2.4): keeps the best, drops what overlaps it too much, and so on.

    Overlap is the tIoU of half-open intervals in seconds; equal scores are settled by start, end, label. `nms` is the
    same on arrays.

    Args:
        threshold: the tIoU in [0, 1] that two kept intervals may reach.
        across_classes: whether classes suppress each other; else each is thinned alone.
    """

    def __init__(self, threshold: float = 0.5, across_classes: bool = False) -> None:
        self.threshold = threshold
        self.across_classes = across_classes

    def __call__(self, detections: DetectionsLike) -> Detections:
        """The kept detections of one video, best first."""
        in_range("threshold", self.threshold, 1.0)
        switch("across_classes", self.across_classes)
        detections = checked(detections)
        return detections.take(_greedy(detections, self.threshold, self.across_classes, ranked=True))


class SoftNonMaximumSuppression:
    """Soft-NMS (Bodla et al., ICCV 2017): weakens the scores of what overlaps a better detection.

    Scores of zero or less are left alone: a factor below one would raise them. `soft_nms` is the same on arrays.

    Args:
        decay: the factor that weakens: `gaussian`, exp(-tIoU^2 / sigma); or `linear`, 1 - tIoU where the tIoU is above
            `threshold`.
        sigma: the width of the Gaussian, above 0.
        threshold: the tIoU in [0, 1] above which the linear decay sets in.
        minimum_score: detections that were weakened to less than this go; 0 keeps all.
        across_classes: whether classes weaken each other; else each is weakened alone.
    """

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
        switch("across_classes", self.across_classes)
        detections = checked(detections)
        options = self.decay, self.sigma, self.threshold, self.minimum_score, self.across_classes
        kept, score = _soft(detections, *options, ranked=True)
        return detections.take(kept)._replace(score=score)


class NoSuppression:
    """No suppression: keeps every detection, best first."""

    def __call__(self, detections: DetectionsLike) -> Detections:
        """The same detections; equal scores ordered as in `nms`."""
        detections = checked(detections)
        return detections.take(_rank(detections))


def _check_soft(decay: str, sigma: float, threshold: float, minimum_score: float) -> None:
    choice("decay", decay, Decay)
    if not (is_number(sigma) and 0 < sigma < math.inf):
        raise ValueError(f"sigma must be above 0, got {sigma!r}")
    in_range("threshold", threshold, 1.0)
    in_range("minimum_score", minimum_score)


def _detections(start: ArrayLike, end: ArrayLike, score: ArrayLike, label: ArrayLike | None) -> Detections:
    if label is None:
        label = np.zeros(real_array("detections.score", score).shape, np.int64)
    # What they are, `checked` looks at.
    return checked(Detections(*(cast("NDArray[Any]", column) for column in (label, start, end, score))))


def _greedy(detections: Detections, threshold: float, across_classes: bool = False, *, ranked: bool) -> IntArray:
    group = np.zeros_like(detections.label) if across_classes else detections.label
    # Copies of odd ones, for loops are compiled anew for every memory layout, such as the columns of a table.
    arrays: list[NDArray[Any]] = [a if a.flags.carray else a.copy() for a in (group, detections.start, detections.end)]
    by_time = None
    if not _sorted(*arrays[:2]):  # as proposers give them, they are; looking is cheaper than sorting
        by_time = _by_time(*arrays[:2])
        detections, arrays = detections.take(by_time), [array[by_time] for array in arrays]
    group = arrays[0]
    together = len(group) == 0 or group[0] == group[-1] or (ranked and len(group) <= TOGETHER)
    order = _rank(detections) if together else _rank_in_groups(group, detections)
    kept = _keep(order, *arrays, float(threshold))  # an integer would be compiled for anew
    if ranked and not together:
        kept = kept[_rank(detections.take(kept))]
    return kept if by_time is None else by_time[kept]


def _soft(
    detections: Detections,
    decay: Decay,
    sigma: float,
    threshold: float,
    minimum_score: float,
    across_classes: bool = False,
    *,
    ranked: bool,
) -> tuple[IntArray, FloatArray]:
    label, start, end, score = detections
    group = np.zeros_like(label) if across_classes else label
    order = np.lexsort((label, end, start, group))  # the loop settles ties by position
    score = score[order]
    options = float(sigma), float(threshold), float(minimum_score)  # integers would be compiled for anew
    gone = _weaken(score, group[order], start[order], end[order], decay == "gaussian", *options)
    kept, score = order[~gone], score[~gone]
    left = detections.take(kept)._replace(score=score)
    best_first = _rank(left) if ranked else _rank_in_groups(group[kept], left)
    return kept[best_first], score[best_first]


def _rank(detections: Detections) -> IntArray:
    """The order best first: score descending, ties by start, end, label."""
    # Several times faster than a sort by all keys, which only ties need.
    order = np.argsort(-detections.score)
    score = detections.score[order]
    return _settled(order, score[1:] == score[:-1], detections)


def _rank_in_groups(group: IntArray, detections: Detections) -> IntArray:
    """As `_rank`, for each run of equal groups alone. Equal groups lie together."""
    order = _arranged(group, -detections.score)
    score = detections.score[order]
    return _settled(order, (score[1:] == score[:-1]) & (group[1:] == group[:-1]), detections, group)


def _settled(
    order: IntArray, equal: NDArray[np.bool_], detections: Detections, group: IntArray | None = None
) -> IntArray:
    """An order by score in which ties, where one is `equal` to the next, are settled by start, end and label."""
    if equal.any():
        tied = np.append(equal, False) | np.append(False, equal)
        several = order[tied]
        label, start, end, score = detections.take(several)
        keys = (label, end, start, -score) if group is None else (label, end, start, -score, group[several])
        order[tied] = several[np.lexsort(keys)]
    return order


def _by_time(group: IntArray, start: FloatArray) -> IntArray:
    """The order by group, then start."""
    if (group[1:] >= group[:-1]).all():
        return _arranged(group, start)
    by_group = np.argsort(group, kind="stable")
    order: IntArray = by_group[_arranged(group[by_group], start[by_group])]
    return order


def _sorted_loop(group: IntArray, start: FloatArray) -> bool:
    """Whether intervals are sorted by group, then start."""
    for i in range(1, len(group)):
        if group[i] < group[i - 1] or (group[i] == group[i - 1] and start[i] < start[i - 1]):
            return False
    return True


def _sorted_arrays(group: IntArray, start: FloatArray) -> bool:
    """As `_sorted_loop`."""
    later = group[1:] > group[:-1]
    return bool((later | ((group[1:] == group[:-1]) & (start[1:] >= start[:-1]))).all())


def _slices(group: IntArray) -> Iterator[tuple[int, int]]:
    """First and last + 1 of every run of equal groups."""
    bounds = np.flatnonzero(np.diff(group)) + 1
    yield from pairwise([0, *bounds.tolist(), len(group)] if len(group) else [])


def _arranged_loop(group: IntArray, key: FloatArray) -> IntArray:
    """The stable order by key within each run of equal groups: runs of SHORT by insertion, which are then merged."""
    order = np.arange(len(group))
    spare = np.empty(len(group), np.int64)
    first = 0
    while first < len(group):
        last = first + 1
        while last < len(group) and group[last] == group[first]:
            last += 1
        for low in range(first, last, SHORT):
            for i in range(low + 1, min(low + SHORT, last)):
                j = i
                while j > low and key[order[j - 1]] > key[i]:
                    order[j] = order[j - 1]
                    j -= 1
                order[j] = i
        width = SHORT
        while width < last - first:
            for low in range(first, last, 2 * width):
                middle, high = min(low + width, last), min(low + 2 * width, last)
                spare[low:middle] = order[low:middle]
                i, j, n = low, middle, low
                while i < middle and j < high:
                    if key[order[j]] < key[spare[i]]:
                        order[n] = order[j]
                        j += 1
                    else:
                        order[n] = spare[i]
                        i += 1
                    n += 1
                order[n : n + middle - i] = spare[i:middle]
            width *= 2
        first = last
    return order


def _arranged_arrays(group: IntArray, key: FloatArray) -> IntArray:
    """As `_arranged_loop`."""
    run = np.zeros(len(group), np.int64)
    np.cumsum(group[1:] != group[:-1], out=run[1:])
    order = np.argsort(key, kind="stable")
    return order[np.argsort(run[order], kind="stable")]


def _keep_loop(ranked: IntArray, group: IntArray, start: FloatArray, end: FloatArray, threshold: float) -> IntArray:
    """What NMS keeps of the ranked, in their order. The intervals are sorted by group, then start."""
    N = len(group)
    gone = np.zeros(N, np.bool_)
    kept = np.empty(N, np.int64)
    count = 0
    inverse = 1 / threshold if threshold > 0 else math.inf
    for i in ranked:
        if gone[i]:
            continue
        kept[count] = i
        count += 1
        g, s, e = group[i], start[i], end[i]
        # j can overlap i by more than the threshold only if it starts between these two: their union is at least as
        # long as i and, if j starts earlier, reaches from start[j] to e. The slack covers rounding.
        length = e - s
        reach = length * inverse
        earliest = e - reach - 1e-12 * (reach + abs(e))
        latest = e - length * threshold + 1e-12 * (length + abs(e))
        j = i - 1
        while j >= 0 and group[j] == g and start[j] > earliest:
            inner = min(e, end[j]) - s
            gone[j] |= inner / (length + (end[j] - start[j]) - inner) > threshold
            j -= 1
        j = i + 1
        while j < N and group[j] == g and start[j] < latest:
            inner = min(e, end[j]) - start[j]
            gone[j] |= inner / (length + (end[j] - start[j]) - inner) > threshold
            j += 1
    return kept[:count]


def _keep_arrays(ranked: IntArray, group: IntArray, start: FloatArray, end: FloatArray, threshold: float) -> IntArray:
    """As `_keep_loop`."""
    length = end - start
    reach = length * (1 / threshold if threshold > 0 else math.inf)
    earliest = end - reach - 1e-12 * (reach + abs(end))
    latest = end - length * threshold + 1e-12 * (length + abs(end))
    low, high = np.empty(len(group), np.int64), np.empty(len(group), np.int64)
    for first, last in _slices(group):
        low[first:last] = first + np.searchsorted(start[first:last], earliest[first:last], "right")
        high[first:last] = first + np.searchsorted(start[first:last], latest[first:last], "left")
    gone = np.zeros(len(group), np.bool_)
    kept = []
    bounds = list(zip(low.tolist(), high.tolist(), strict=True))
    for i in ranked.tolist():
        if gone[i]:
            continue
        kept.append(i)
        near = slice(*bounds[i])
        if near.stop - near.start > 1:  # others than itself
            inner = np.minimum(end[i], end[near]) - np.maximum(start[i], start[near])
            # Where inner is negative, so is the quotient; and no union is zero.
            gone[near] |= inner / (length[i] + length[near] - inner) > threshold
    return np.array(kept, np.int64)


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


_arranged = Compiled(_arranged_loop, _arranged_arrays, small=16384)
_sorted = Compiled(_sorted_loop, _sorted_arrays, small=16384)
_keep = Compiled(_keep_loop, _keep_arrays, small=16384)
_weaken = Compiled(_weaken_loop, _weaken_arrays, small=2048)
