"""What lies around a method's figures: what chance earns, and what full supervision does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from wtal_core import config
from wtal_core.check import component_problems, opened, sizes_of
from wtal_core.data.dataset import Dataset
from wtal_core.lock import taking
from wtal_core.prediction.detect import localize
from wtal_core.prediction.predict import StreamPrediction
from wtal_core.registry import Registry
from wtal_core.run import create, evaluate
from wtal_core.run.results import write_localized


def supervised(experiment: config.Experiment, registry: Registry, dataset: Dataset) -> config.Experiment:
    """Full supervision with an experiment's data, training and localization settings, and evaluation.

    One stage, in which the teacher `annotations` says of each training snippet what it shows and the loss
    `snippet-targets` learns it; the activation `snippet` reads it. The model is that of the experiment's last stage if
    it gives snippet logits, else, and where it is one already, a `snippet-classifier` that does not learn from
    video labels beside.
    """
    last = config.stages(experiment)[-1]
    training = msgspec.structs.replace(last.training, losses=["snippet-targets"])
    localization = msgspec.structs.replace(last.localization, activation="snippet")
    own = msgspec.structs.replace(
        experiment,
        model=last.model,
        training=training,
        localization=localization,
        stages=[config.Stage(teacher="annotations")],
    )
    plain = "snippet-classifier"
    decoder = last.model.decoder
    if config.name_of(decoder) != plain and not component_problems(own, registry, sizes_of(dataset)):
        return own
    options: dict[str, Any] = (
        dict(decoder) if isinstance(decoder, dict) and config.name_of(decoder) == plain else {"name": plain}
    )
    options["classification"] = 0.0
    return msgspec.structs.replace(own, model=msgspec.structs.replace(last.model, decoder=options))


def complete_chance(path: Path, experiment: config.Experiment) -> dict[str, Any]:
    """A run of random predictions, as `run.complete` is one of models: localized and scored by the same steps."""
    with taking(path):
        run = create(path, experiment, opened(experiment, scored=True), resume=True)
        settings = config.stages(experiment)[-1].localization
        predictions = chance(run.dataset, experiment.seed)
        localized = localize(run.dataset, run.dataset.test, predictions, settings, run.registry)
        write_localized(path, localized, run.dataset.classes)
        return evaluate(run, localized)


def chance(dataset: Dataset, seed: int) -> dict[str, list[StreamPrediction]]:
    """Uniformly random activations and class scores for every test video and stream."""
    generator = np.random.default_rng(seed)
    classes = len(dataset.classes)
    predictions = {}
    for video in dataset.test:
        predictions[video.name] = [
            _prediction(generator.random((classes, dataset.length(video, stream))), generator.random(classes))
            for stream in dataset.streams
        ]
    return predictions


def _prediction(activation: np.ndarray, class_scores: np.ndarray) -> StreamPrediction:
    return StreamPrediction(np.ones_like(activation), activation, class_scores)
