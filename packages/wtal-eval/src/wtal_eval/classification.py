"""Video-level classification: does the set of detections say which actions a video shows?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .evaluation import Evaluation, counted, mean_over_classes, named
from .intervals import (
    BoolArray,
    Columns,
    DetectionsLike,
    FloatArray,
    InputError,
    SegmentsLike,
    columns_of_detections,
    columns_of_segments,
)
from .protocols import instances_of, known_classes, meeting, near_videos


def average_precision(scores: FloatArray, positive: BoolArray) -> float:
    """Non-interpolated average precision of one ranking: precision summed over the steps of recall.

    Equal scores form one step, as no threshold parts them; so no order of ties exists that could matter.

    Args:
        scores: (V,), -inf allowed.
        positive: (V,), at least one.
    """
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    hits = np.cumsum(positive)[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1])


@dataclass(frozen=True)
class Classification:
    """Video-level classification mAP, as detections imply it; times are not looked at.

    A video's score for a class is the highest score of its detections of that class; without one it ranks below all
    that have one; a class without any detection has average precision 0. A video is positive for a class if ground
    truth has an instance of it. The mean over the classes that have ground truth of `average_precision` is reported at
    the one threshold 0.0, which stands for "anywhere".
    """

    def __call__(
        self,
        ground_truth: Mapping[str, SegmentsLike],
        detections: Mapping[str, DetectionsLike],
        classes: Sequence[str],
        class_scores: Mapping[str, FloatArray] | None = None,
    ) -> Evaluation:
        """Score videos; arguments and errors as `wtal_eval.match`.

        Args:
            ground_truth: per video.
            detections: per video; not looked at where there are class scores.
            classes: names of the C classes.
            class_scores: per video of the ground truth, (C,): then these rank the videos.

        Raises:
            InputError: as `wtal_eval.match`; or a video's class scores are missing, or not C finite numbers.
        """
        if class_scores is not None:
            detections = {}
        else:
            ground_truth, detections = meeting(ground_truth, detections, classes)
        videos = tuple(sorted(ground_truth))
        instances = instances_of(columns_of_segments(ground_truth, videos, len(classes)), ground_truth)
        positive = np.zeros((len(classes), len(videos)), bool)
        positive[instances.label, instances.video] = True
        if class_scores is not None:
            scores, notes = _given(class_scores, videos, len(classes)), tuple[str, ...]()
        else:
            scores, notes = _of_detections(ground_truth, detections, videos, instances, classes)
        precisions = np.full((1, len(classes)), np.nan)
        for c in np.flatnonzero(positive.any(axis=1)):
            scored = np.isfinite(scores[c]).any()  # else all videos tie, and chance would be counted as merit
            precisions[0, c] = average_precision(scores[c], positive[c]) if scored else 0.0
        return Evaluation(
            "classification", tuple(classes), np.zeros(1), precisions, mean_over_classes(precisions), notes
        )


def _given(class_scores: Mapping[str, FloatArray], videos: Sequence[str], classes: int) -> FloatArray:
    """Class scores as (C, V)."""
    for name in videos:
        one = np.asarray(class_scores.get(name, ()))
        if one.shape != (classes,) or one.dtype.kind not in "iuf" or not np.isfinite(one).all():
            raise InputError(f"class scores of video {name!r}: expected {classes} finite numbers, got {one.tolist()}")
    return np.array([class_scores[name] for name in videos], np.float64).reshape(len(videos), classes).T


def _of_detections(
    ground_truth: Mapping[str, SegmentsLike],
    detections: Mapping[str, DetectionsLike],
    videos: Sequence[str],
    instances: Columns,
    classes: Sequence[str],
) -> tuple[FloatArray, tuple[str, ...]]:
    """The highest score of a detection of each class in each video (C, V), -inf without one; and what was left out."""
    inside = {name: found for name, found in detections.items() if name in ground_truth}
    rows, notes = known_classes(columns_of_detections(inside, videos, len(classes)), instances, classes)
    outside = {name: len(found.label) for name, found in detections.items() if name not in ground_truth}
    if strangers := sorted(name for name, number in outside.items() if number):
        lost = counted(sum(outside.values()), "detection")
        notes += (
            f"{lost} left out, in {counted(len(strangers), 'video')} without ground truth: {named(strangers)}"
            f"{near_videos(strangers, ground_truth)}",
        )
    scores = np.full((len(classes), len(videos)), -np.inf)
    np.maximum.at(scores, (rows.label, rows.video), rows.score)
    return scores, notes
