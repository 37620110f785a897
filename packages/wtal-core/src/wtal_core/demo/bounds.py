"""What chance earns: random predictions, with the same proposals, suppression and evaluators as the methods."""

from __future__ import annotations

import numpy as np

from wtal_core.data.dataset import Dataset
from wtal_core.prediction.predict import StreamPrediction


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
