"""One call from arrays or JSON objects to a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from .classification import Classification
from .dataset import DetectionSet, GroundTruth, with_classes
from .evaluation import Evaluation
from .intervals import InputError
from .protocols import PROTOCOLS, match
from .readers.activitynet_json import detections_from_object, ground_truth_from_object

CLASSIFICATION = "classification"


def evaluate(
    ground_truth: Mapping[str, Any] | GroundTruth,
    detections: Mapping[str, Any] | DetectionSet,
    classes: Sequence[str] | None = None,
    *,
    protocol: str = "activitynet",
    tiou_thresholds: ArrayLike | None = None,
    subset: str | None = None,
) -> Evaluation:
    """Score detections against ground truth.

    Args:
        ground_truth: With `classes`, per video its `Segments`, label indexing `classes`; without, what
            `read_ground_truth` returned, or ActivityNet's JSON object (`{"database": ...}`).
        detections: With `classes`, per video its `Detections`; without, what `read_detections` returned, or
            ActivityNet's JSON object (`{"results": ...}`).
        classes: Names of the C classes.
        protocol: One of `PROTOCOLS`, or "classification".
        tiou_thresholds: (K,) in [0, 1]; the benchmark's if omitted. "classification" does not look at times.
        subset: Name of the subset of a JSON object; may be omitted where there is only one.

    Raises:
        TypeError: If an array holds the wrong type, or an argument does not fit the others.
        InputError: If the input is not valid; a `ValueError`.
    """
    if protocol not in (*PROTOCOLS, CLASSIFICATION):
        raise InputError(f"no protocol {protocol!r}, only {', '.join((*PROTOCOLS, CLASSIFICATION))}")
    if classes is None:
        if not isinstance(ground_truth, GroundTruth):
            ground_truth = ground_truth_from_object(ground_truth, subset)
        if not isinstance(detections, DetectionSet):
            detections = detections_from_object(detections)
        detections = with_classes(detections, ground_truth)
        notes = (*ground_truth.notes, *detections.notes)
        classes, segments, found = ground_truth.classes, ground_truth.videos, detections.videos
    elif isinstance(ground_truth, GroundTruth) or isinstance(detections, DetectionSet):
        raise TypeError("classes names the labels of plain arrays; what the readers return has its own")
    else:
        if isinstance(classes, str):
            raise TypeError(f"classes must be a sequence of names, not the one string {classes!r}")
        if repeated := [name for name, number in Counter(classes).items() if number > 1]:
            raise InputError(f"classes names {repeated[0]!r} more than once")
        if subset is not None:
            raise TypeError("subset chooses from a JSON object; plain arrays are one subset")
        notes, segments, found = (), ground_truth, detections
    if protocol == CLASSIFICATION:
        result = Classification()(segments, found, classes)
    else:
        result = match(segments, found, classes, PROTOCOLS[protocol], tiou_thresholds).evaluate()
    return replace(result, notes=(*notes, *result.notes))
