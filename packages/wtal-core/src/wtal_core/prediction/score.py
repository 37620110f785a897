"""From detections to numbers: what the evaluators say of the test subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wtal_core import config
from wtal_core.binding import during
from wtal_core.contracts import FloatArray
from wtal_core.data.dataset import Dataset
from wtal_core.errors import DataError
from wtal_core.kinds.evaluator import Evaluation, Instances
from wtal_core.kinds.suppressor import VideoDetections
from wtal_core.prediction.detect import Localized
from wtal_core.registry import Registry


def score(dataset: Dataset, localized: Localized, experiment: config.Experiment, registry: Registry) -> dict[str, Any]:
    """Score what was localized in the test subset: the chosen protocol, and the classification mAP.

    Returns:
        The content of evaluation.json: under "localization" and "classification" what `summarize` gives.

    Raises:
        DataError: the ground truth lacks segments, or the evaluator finds nothing in it to score with.
        PluginError: an evaluator fails, or what it answers breaks its contract.
    """
    truth = dataset.ground_truth()
    content = {}
    for output, choice in config.evaluators(experiment).items():
        evaluator = registry.build("evaluator", choice)
        with during("fails on the test subset"):
            verdict = evaluator(truth, localized.detections, dataset.classes, localized.class_scores)
        content[output] = summarize(verdict, dataset.classes)
    if all(mean is None for mean in content["localization"]["mean_ap"]):
        raise DataError(
            f"{dataset.data.annotations}: subset {dataset.data.test_subset!r} has nothing to score with: no class has "
            "an instance that counts"
        )
    if not any(len(found.label) for found in localized.detections.values()):
        content["localization"]["notes"].append("no video has a detection, so there is nothing that could score")
    return content


def score_classes(
    dataset: Dataset, class_scores: Mapping[str, FloatArray], experiment: config.Experiment, registry: Registry
) -> dict[str, Any]:
    """Score the class scores (C,) of the test subset by its labels alone: its classification, as in `score`.

    Raises:
        PluginError: the evaluator fails, or what it answers breaks its contract.
    """
    evaluator = registry.build("evaluator", config.evaluators(experiment)["classification"])
    none = np.zeros(0)
    truth, detections = {}, {}
    for video, counts in zip(dataset.test, dataset.targets(dataset.test), strict=True):
        labels = np.flatnonzero(counts)
        truth[video.name] = Instances(labels, np.zeros(len(labels)), np.ones(len(labels)))  # times are not looked at
        detections[video.name] = VideoDetections(none.astype(np.int64), none, none, none)
    with during("fails on the test subset"):
        return summarize(evaluator(truth, detections, dataset.classes, class_scores), dataset.classes)


def summarize(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """An evaluation as plain JSON values; NaN, which a class without ground truth has, becomes null."""
    return {
        "tiou_thresholds": [float(t) for t in evaluation.tiou_thresholds],
        "mean_ap": _numbers(evaluation.mean_ap),
        "average_precision": {
            name: _numbers(column) for name, column in zip(classes, evaluation.average_precision.T, strict=True)
        },
        "notes": list(evaluation.notes),
    }


def metrics(content: dict[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation under flat names, such as `localization/mAP@0.5`, for trackers."""
    named = {}
    for output, part in content.items():
        for threshold, value in zip(part["tiou_thresholds"], part["mean_ap"], strict=True):
            if value is not None:
                named[f"{output}/mAP@{threshold:g}" if output == "localization" else f"{output}/mAP"] = value
    return named


def _numbers(values: FloatArray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
