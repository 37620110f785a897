"""The detection protocols: data on one matching core.

Sources: `activitynet` is the evaluation of the ActivityNet challenge (Caba Heilbron et al., CVPR 2015), `thumos14` and
`thumos14-11point` are the kits of the THUMOS challenge (Idrees et al., CVIU 2017; its kits of 2015 and 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import precision
from .evaluation import (
    Evaluation,
    checked_thresholds,
    counted,
    mean_over_classes,
    named,
    threshold_range,
)
from .intervals import (
    AMBIGUOUS,
    BoolArray,
    Columns,
    DetectionsLike,
    FloatArray,
    InputError,
    IntArray,
    SegmentsLike,
    columns_of_detections,
    columns_of_segments,
)
from .matching import (
    Overlap,
    by_detection,
    by_instance,
    choose,
    detection_order,
    overlapping_pairs,
    temporal_iou,
    temporal_iou_by_hull,
    touches,
)
from .names import AMBIGUOUS_LABEL, as_met, met, near, one_name

G = TypeVar("G")
D = TypeVar("D", bound=DetectionsLike)
ACTIVITYNET_THRESHOLDS = tuple(float(t) for t in threshold_range(0.5, 0.95, 0.05))
THUMOS14_THRESHOLDS = tuple(float(t) for t in threshold_range(0.1, 0.9, 0.1))


@dataclass(frozen=True)
class Protocol:
    """What tells one detection protocol from another.

    Attributes:
        name: The protocol's name.
        tiou_thresholds: Those of the benchmark.
        instances_choose: Whether instances, in their order, choose among the detections (THUMOS), or detections, by
            falling score, among the instances (ActivityNet).
        strict: Whether a match needs a tIoU above the threshold, or at least the threshold.
        forgives_ambiguous: Whether a detection without a match that touches an ambiguous interval is dropped.
        tiou: Temporal IoU, as the protocol's own code rounds it.
        average_precision: A function of `wtal_eval.precision`.
    """

    name: str
    tiou_thresholds: tuple[float, ...]
    instances_choose: bool
    strict: bool
    forgives_ambiguous: bool
    tiou: Overlap
    average_precision: Callable[[FloatArray, IntArray, IntArray], FloatArray]


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "activitynet",
            ACTIVITYNET_THRESHOLDS,
            instances_choose=False,
            strict=False,
            forgives_ambiguous=False,
            tiou=temporal_iou,
            average_precision=precision.interpolated,
        ),
        Protocol(
            "thumos14",
            THUMOS14_THRESHOLDS,
            instances_choose=True,
            strict=True,
            forgives_ambiguous=True,
            tiou=temporal_iou_by_hull,
            average_precision=precision.at_true_positives,
        ),
        Protocol(
            "thumos14-11point",
            THUMOS14_THRESHOLDS,
            instances_choose=True,
            strict=True,
            forgives_ambiguous=True,
            tiou=temporal_iou_by_hull,
            average_precision=precision.eleven_point,
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Matching:
    """The detections of a subset in the order in which they count, and what each of them found.

    Attributes:
        protocol: The protocol that matched.
        videos: Sorted names of the V videos that have ground truth or detections.
        classes: Names of the C classes.
        tiou_thresholds: (K,) rising.
        instances: The ground truth, without ambiguous intervals, as columns (G,).
        detections: The counted detections as columns (N,): by class, then falling score.
        found: (K, N) int32, the row of `instances` that a detection found, or -1.
        ambiguous: (N,) whether a detection without a match is dropped instead of counting as false.
        notes: What was left out and why.
    """

    protocol: Protocol
    videos: tuple[str, ...]
    classes: tuple[str, ...]
    tiou_thresholds: FloatArray
    instances: Columns
    detections: Columns
    found: NDArray[np.int32]
    ambiguous: BoolArray
    notes: tuple[str, ...]

    @property
    def instances_per_class(self) -> IntArray:
        """The number of instances (C,)."""
        return np.bincount(self.instances.label, minlength=len(self.classes))

    @property
    def class_bounds(self) -> IntArray:
        """The detections of class c are the rows from element c to element c + 1 of this (C + 1,)."""
        return np.searchsorted(self.detections.label, np.arange(len(self.classes) + 1))

    def dropped(self, k: int) -> BoolArray:
        """Whether a detection (N,) is neither true nor false at threshold k."""
        dropped: BoolArray = self.ambiguous & (self.found[k] < 0)
        return dropped

    def true_positive_ranks(self, k: int) -> dict[int, IntArray]:
        """Per class that has ground truth, the ranks of its true positives at threshold k; the best detection has 1."""
        hits = np.flatnonzero(self.found[k] >= 0)
        counting = np.arange(self.ambiguous.size + 1)
        if self.ambiguous.any():
            counting[1:] -= np.cumsum(self.dropped(k))
        starts = self.class_bounds
        bounds = np.searchsorted(hits, starts)
        return {
            int(c): counting[hits[bounds[c] : bounds[c + 1]] + 1] - counting[starts[c]]
            for c in np.flatnonzero(self.instances_per_class)
        }

    def without(self, rows: BoolArray) -> Matching:
        """The same matching without these detections (N,)."""
        return replace(
            self,
            detections=self.detections.take(~rows),
            found=self.found[:, ~rows],
            ambiguous=self.ambiguous[~rows],
        )

    def evaluate(self) -> Evaluation:
        """Average precision of every class at every threshold."""
        average_precision = np.full((len(self.tiou_thresholds), len(self.classes)), np.nan)
        instances = self.instances_per_class
        for k in range(len(self.tiou_thresholds)):
            for c, ranks in self.true_positive_ranks(k).items():
                one = np.ones(ranks.size, np.int64)
                area = self.protocol.average_precision(np.cumsum(one) / ranks, one, instances[c])
                average_precision[k, c] = area
        return Evaluation(
            self.protocol.name,
            self.classes,
            self.tiou_thresholds,
            average_precision,
            mean_over_classes(average_precision),
            self.notes,
        )


def match(
    ground_truth: Mapping[str, SegmentsLike],
    detections: Mapping[str, DetectionsLike],
    classes: Sequence[str],
    protocol: Protocol,
    tiou_thresholds: ArrayLike | None = None,
) -> Matching:
    """Match the detections of a subset with its ground truth.

    Args:
        ground_truth: Per video of the subset, label (n,) in [0, C) or `AMBIGUOUS`, start (n,) and end (n,).
        detections: Per video, label (m,) in [0, C), start (m,), end (m,) and score (m,).
        classes: Names of the C classes.
        protocol: One of `PROTOCOLS`.
        tiou_thresholds: (K,) in [0, 1]; the benchmark's if omitted.

    Raises:
        TypeError: If an array or a name holds the wrong type.
        InputError: If an array has the wrong shape, a label is out of range, an interval ends before it starts, or a
            number is not finite; if two names are one, there is no instance to find, or no video of the detections is
            in the ground truth.
    """
    classes = tuple(classes)
    thresholds = checked_thresholds(protocol.tiou_thresholds if tiou_thresholds is None else tiou_thresholds)
    ground_truth, detections = meeting(ground_truth, detections, classes)
    videos = tuple(sorted({*ground_truth, *detections}))
    annotated = columns_of_segments(ground_truth, videos, len(classes))
    instances = instances_of(annotated, ground_truth)
    forgiven = annotated.take(annotated.label == AMBIGUOUS)
    rows, notes = known_classes(columns_of_detections(detections, videos, len(classes)), instances, classes)
    strangers = np.array([name not in ground_truth for name in videos], bool)
    if (outside := strangers[rows.video]).any():
        names = [videos[i] for i in np.unique(rows.video[outside])]
        notes += (
            f"{counted(int(outside.sum()), 'detection')} in {counted(len(names), 'video')} without ground truth "
            f"{'counts' if outside.sum() == 1 else 'count'} as false: {named(names)}{near_videos(names, ground_truth)}",
        )
    if forgiven.label.size and not protocol.forgives_ambiguous:
        notes += (f"{counted(forgiven.label.size, 'ambiguous interval')} not used: {protocol.name} does not know them",)

    # The order of the ground truth decides what THUMOS matches; elsewhere it must not decide anything.
    keys = (instances.label, instances.video)
    instances = instances.take(
        np.lexsort(keys if protocol.instances_choose else (instances.end, instances.start, *keys))
    )
    rows = rows.take(detection_order(rows))
    if repeats := int(np.logical_and.reduce([column[1:] == column[:-1] for column in rows]).sum()):
        notes += (
            f"{counted(repeats, 'detection')} {'repeats' if repeats == 1 else 'repeat'} another one exactly; kept",
        )
    pairs = overlapping_pairs(rows, instances, len(classes), thresholds[0], protocol.tiou)
    pairs = by_instance(pairs) if protocol.instances_choose else by_detection(pairs, rows, instances)
    found = np.full((thresholds.size, rows.label.size), -1, np.int32)
    for k, threshold in enumerate(thresholds):
        kept = pairs.tiou > threshold if protocol.strict else pairs.tiou >= threshold
        detection, instance = pairs.detection[kept], pairs.instance[kept]
        taken = choose(instance, detection) if protocol.instances_choose else choose(detection, instance)
        found[k, detection[taken]] = instance[taken]
    ambiguous = touches(rows, forgiven) if protocol.forgives_ambiguous else np.zeros(rows.label.size, bool)
    return Matching(protocol, videos, classes, thresholds, instances, rows, found, ambiguous, notes)


def meeting(
    ground_truth: Mapping[str, G], detections: Mapping[str, D], classes: Sequence[str]
) -> tuple[Mapping[str, G], Mapping[str, D]]:
    """Ground truth and detections under the names by which they meet; errors as `match`."""
    spelled: dict[str, str] = {}
    for name in classes:
        if not isinstance(name, str):
            raise TypeError(f"classes: the name of a class must be a string, not {name!r}")
        if as_met(name) in spelled:
            raise InputError(f"classes: {one_name(spelled[as_met(name)], name)}: name it once")
        spelled[as_met(name)] = name
    if AMBIGUOUS_LABEL in spelled:
        raise InputError(f"classes: {AMBIGUOUS_LABEL!r} is no class: give such intervals the label {AMBIGUOUS}")
    ground_truth, detections = met(ground_truth, "ground truth"), met(detections, "detections")
    strangers = sorted(name for name in detections if name not in ground_truth)
    some = any(len(found.label) for found in detections.values())
    if some and ground_truth and len(strangers) == len(detections):
        hint = near(strangers, ground_truth, "videos") or "take detections and ground truth of the same videos"
        raise InputError(
            f"none of the {counted(len(strangers), 'video')} of the detections is in the ground truth, which has "
            f"others, e.g. {strangers[0]!r} and {min(ground_truth)!r}: {hint}"
        )
    return ground_truth, detections


def instances_of(annotated: Columns, ground_truth: Mapping[str, SegmentsLike]) -> Columns:
    """The intervals that show a class; errors as `match`."""
    instances = annotated.take(annotated.label != AMBIGUOUS)
    if not instances.label.size:
        raise InputError(
            f"the ground truth has {counted(len(ground_truth), 'video')} and no instance of any class, so there is "
            "nothing to score: choose a subset with annotations, or exclude fewer videos"
        )
    return instances


def near_videos(strangers: Sequence[str], ground_truth: Mapping[str, SegmentsLike]) -> str:
    """What a note on videos without ground truth adds, if they look like others."""
    hint = near(strangers, ground_truth, "videos")
    return f"; {hint}" if hint else ""


def known_classes(rows: Columns, instances: Columns, classes: Sequence[str]) -> tuple[Columns, tuple[str, ...]]:
    """The detections of classes that have ground truth, and notes on the others."""
    notes: list[str] = []
    without = np.bincount(instances.label, minlength=len(classes)) == 0
    if (lost := without[rows.label]).any():
        labels = np.unique(rows.label[lost])
        notes.append(
            f"{counted(int(lost.sum()), 'detection')} left out, of {counted(labels.size, 'class', 'classes')} without "
            f"ground truth: {named([classes[i] for i in labels])}"
        )
        rows = rows.take(~lost)
    if not rows.label.size:
        notes.append("no detection to score: every average precision is 0")
    return rows, tuple(notes)


@dataclass(frozen=True)
class _Evaluator:
    """Scores under one protocol."""

    tiou_thresholds: Sequence[float] | None = None
    _protocol: ClassVar[str]

    def __call__(
        self,
        ground_truth: Mapping[str, SegmentsLike],
        detections: Mapping[str, DetectionsLike],
        classes: Sequence[str],
        class_scores: Mapping[str, FloatArray] | None = None,  # noqa: ARG002 - what a host gives every evaluator
    ) -> Evaluation:
        """Score detections per video; arguments and errors as `match`. Class scores have no part in it."""
        return match(ground_truth, detections, classes, PROTOCOLS[self._protocol], self.tiou_thresholds).evaluate()


class ActivityNet(_Evaluator):
    """The protocol `activitynet`: what most papers use, THUMOS14 papers included.

    Args:
        tiou_thresholds: (K,) in [0, 1]; 0.5:0.05:0.95 if omitted.
    """

    _protocol = "activitynet"


class Thumos14(_Evaluator):
    """The protocol `thumos14`, of the challenge's 2015 kit.

    Args:
        tiou_thresholds: (K,) in [0, 1]; 0.1:0.1:0.9 if omitted.
    """

    _protocol = "thumos14"


class Thumos14ElevenPoint(_Evaluator):
    """The protocol `thumos14-11point`, of the challenge's 2014 kit.

    Args:
        tiou_thresholds: (K,) in [0, 1]; 0.1:0.1:0.9 if omitted.
    """

    _protocol = "thumos14-11point"
