"""Which detection found which instance: the one matching core of all protocols.

Instances and detections meet only inside one video and one class. There, one side chooses in a fixed order, and each
chooser takes the free interval of the other side that overlaps it most: detections choose by falling score
(ActivityNet), or instances choose in their order (THUMOS). That is a serial dictatorship, and because every interval
ranks its choosers alike, it is also the one stable matching; so `choose` lets all choosers of the data set propose at
once, round after round, and needs as many rounds as the longest chain of displacements, not as many as choosers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .intervals import BoolArray, Columns, FloatArray, IntArray

Overlap = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]

PAIRS_AT_ONCE = 1 << 20
"""Pairs examined in one step, which bounds the memory where a video has many instances and many detections."""


class Pairs(NamedTuple):
    """Overlapping pairs (P,) of a detection row and a ground-truth row, with their temporal IoU."""

    detection: IntArray
    instance: IntArray
    tiou: FloatArray


def temporal_iou(start: FloatArray, end: FloatArray, other_start: FloatArray, other_end: FloatArray) -> FloatArray:
    """Intersection over union of intervals, elementwise (arrays of one shape); NaN where both have no length."""
    intersection = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0.0)
    union = (other_end - other_start) + (end - start) - intersection
    return _ratio(intersection, union)


def temporal_iou_by_hull(
    start: FloatArray, end: FloatArray, other_start: FloatArray, other_end: FloatArray
) -> FloatArray:
    """`temporal_iou` as the THUMOS kits round it: where intervals meet, their union is the hull of both."""
    intersection = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0.0)
    return _ratio(intersection, np.maximum(end, other_end) - np.minimum(start, other_start))


def _ratio(intersection: FloatArray, union: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        tiou: FloatArray = intersection / union
    return tiou


def detection_order(detections: Columns) -> IntArray:
    """Rows (N,) by class, then falling score; ties by video, start and end, so file order never decides."""
    order = np.argsort(-detections.score)
    few_bytes = np.min_scalar_type(int(detections.label.max(initial=0)))  # sorted by radix, in linear time
    order = order[np.argsort(detections.label[order].astype(few_bytes), kind="stable")]
    score, label = detections.score[order], detections.label[order]
    tied = np.zeros(order.size + 1, bool)
    tied[1:-1] = (score[1:] == score[:-1]) & (label[1:] == label[:-1])
    member = tied[1:] | tied[:-1]  # few rows are tied, and only they need the other keys
    run = np.cumsum(~tied[:-1])[member]
    rows = order[member]
    order[member] = rows[np.lexsort((detections.end[rows], detections.start[rows], detections.video[rows], run))]
    return order


def overlapping_pairs(detections: Columns, instances: Columns, classes: int, least: float, overlap: Overlap) -> Pairs:
    """Pairs of one video and one class whose temporal IoU is at least `least`.

    `instances` must lie sorted by video, then label.
    """
    group = instances.video * classes + instances.label
    wanted = detections.video * classes + detections.label
    return _pairs(detections, instances, group, wanted, least, overlap)


def touches(detections: Columns, intervals: Columns) -> BoolArray:
    """Whether a detection (N,) overlaps any of the intervals of its video, of whatever class, for some time.

    `intervals` must lie sorted by video.
    """
    touched = np.zeros(detections.video.size, bool)
    touched[pairs_of_any_class(detections, intervals, np.nextafter(0.0, 1.0), temporal_iou_by_hull).detection] = True
    return touched


def pairs_of_any_class(detections: Columns, intervals: Columns, least: float, overlap: Overlap) -> Pairs:
    """Pairs of one video whose temporal IoU is at least `least`.

    `intervals` must lie sorted by video.
    """
    return _pairs(detections, intervals, intervals.video, detections.video, least, overlap)


def by_detection(pairs: Pairs, detections: Columns, instances: Columns) -> Pairs:
    """The pairs by detection, for each the instances of falling tIoU.

    Equal tIoU happens: a long detection covers two instances of one length. The instance that lies closer to an end of
    the detection goes first, then the one with the smaller row. The reference implementation leaves this open.
    """
    offset = np.minimum(
        np.abs(detections.start[pairs.detection] - instances.start[pairs.instance]),
        np.abs(detections.end[pairs.detection] - instances.end[pairs.instance]),
    )
    return _take(pairs, np.lexsort((pairs.instance, offset, -pairs.tiou, pairs.detection)))


def by_instance(pairs: Pairs) -> Pairs:
    """The pairs by instance, for each the detections of falling tIoU, of equal ones the one with the smaller row."""
    return _take(pairs, np.lexsort((pairs.detection, -pairs.tiou, pairs.instance)))


def _take(pairs: Pairs, rows: IntArray) -> Pairs:
    return Pairs(pairs.detection[rows], pairs.instance[rows], pairs.tiou[rows])


def _pairs(
    detections: Columns, intervals: Columns, group: IntArray, wanted: IntArray, least: float, overlap: Overlap
) -> Pairs:
    """Pairs of a detection and an interval of the group (rising) that it wants."""
    groups, starts, sizes = np.unique(group, return_index=True, return_counts=True)
    place = np.searchsorted(groups, wanted)
    rows = np.flatnonzero(np.append(groups, -1)[place] == wanted)
    first, count = starts[place[rows]], sizes[place[rows]]
    total = np.cumsum(count)
    steps = np.searchsorted(total, np.arange(PAIRS_AT_ONCE, total[-1] if total.size else 0, PAIRS_AT_ONCE))
    found: list[tuple[IntArray, IntArray, FloatArray]] = []
    for step in np.split(np.arange(rows.size), np.unique(steps)):
        some, size = rows[step], count[step]
        detection = np.repeat(some, size)
        instance = np.arange(detection.size) + np.repeat(first[step] - (np.cumsum(size) - size), size)
        start, end = np.repeat(detections.start[some], size), np.repeat(detections.end[some], size)
        if least > 0:  # most pairs do not meet, and need no more than two comparisons
            meet = np.flatnonzero((intervals.start[instance] < end) & (intervals.end[instance] > start))
            detection, instance, start, end = detection[meet], instance[meet], start[meet], end[meet]
        tiou = overlap(start, end, intervals.start[instance], intervals.end[instance])
        kept = tiou >= least
        found.append((detection[kept], instance[kept], tiou[kept]))
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def choose(chooser: IntArray, choice: IntArray) -> IntArray:
    """Serial dictatorship: in order of their index, choosers take their best free choice.

    Args:
        chooser: (P,) who may choose, rising; a smaller index chooses earlier.
        choice: (P,) what, an index; each chooser's choices from the best to the worst.

    Returns:
        The rows (W,) in which a chooser takes the choice; no chooser and no choice is in two of them.
    """
    pointer = np.flatnonzero(np.diff(chooser, prepend=-1))
    end = np.append(pointer[1:], chooser.size)
    nobody = pointer.size
    holder = np.full(choice.max(initial=-1) + 1, nobody)
    active = np.arange(pointer.size)
    while active.size:
        wanted = choice[pointer[active]]
        before = holder[wanted]
        np.minimum.at(holder, wanted, active)
        won = holder[wanted] == active
        displaced = before[won & (before != nobody)]
        active = np.concatenate((active[~won], displaced))
        pointer[active] += 1
        active = active[pointer[active] < end[active]]
    taken: IntArray = pointer[holder[holder != nobody]]
    return taken
