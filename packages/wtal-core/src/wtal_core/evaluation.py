"""Scoring what was localized: the chosen protocol on the intervals, the classification mAP on the class scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wtal_core import answers, config
from wtal_core.contracts import Detections, Evaluation, FloatArray
from wtal_core.dataset import Dataset
from wtal_core.errors import DataError
from wtal_core.localization import Localized, VideoDetections
from wtal_core.plugins import Registry, blaming


def evaluators(experiment: config.Experiment) -> dict[str, config.Component]:
    """The evaluator of each kind of output."""
    return {"localization": experiment.evaluation.evaluator, "classification": "classification"}


def evaluate(
    dataset: Dataset,
    detections: Mapping[str, Detections],
    class_scores: Mapping[str, FloatArray],
    experiment: config.Experiment,
    registry: Registry,
) -> dict[str, Any]:
    """Score detections and class scores of the test subset, both by video name.

    Returns:
        The content of evaluation.json: under "localization" and "classification" what `summarize` gives.

    Raises:
        DataError: the ground truth lacks segments, or the evaluator finds nothing in it to score with.
        PluginError: an evaluator fails, or what it answers breaks its contract.
    """
    truth = dataset.ground_truth()
    outputs = {"localization": detections, "classification": {n: _whole_video(s) for n, s in class_scores.items()}}
    content = {}
    for output, choice in evaluators(experiment).items():
        name, options = config.component(choice)
        evaluator = registry.build("evaluator", name, options)
        with blaming(registry.find("evaluator", name), "fails on the test subset"):
            evaluation = evaluator(truth, outputs[output], dataset.classes)
            answers.evaluation(evaluation, truth, len(dataset.classes))
        content[output] = summarize(evaluation, dataset.classes)
    if all(mean is None for mean in content["localization"]["mean_ap"]):
        raise DataError(
            f"{dataset.data.annotations}: subset {dataset.data.test_subset!r} has nothing to score with: no class has "
            "an instance that counts"
        )
    if not any(len(found.label) for found in detections.values()):
        content["localization"]["notes"].append("no video has a detection, so there is nothing that could score")
    return content


def evaluate_localized(
    dataset: Dataset, results: Mapping[str, Localized], experiment: config.Experiment, registry: Registry
) -> dict[str, Any]:
    """Score what `localization.localize` returned, as `evaluate`."""
    return evaluate(
        dataset,
        {name: result.detections for name, result in results.items()},
        {name: result.class_scores for name, result in results.items()},
        experiment,
        registry,
    )


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


def _numbers(values: FloatArray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _whole_video(scores: FloatArray) -> VideoDetections:
    """Class scores as detections, for an evaluator that does not look at times."""
    nowhere = np.zeros(len(scores))
    return VideoDetections(np.arange(len(scores)), nowhere, nowhere, scores)
