"""Two bounds for the demo's table, computed with the same proposals, suppression and evaluators as the methods.

Chance says what random activations earn; the supervised classifier, which sees what weak supervision hides, says what
these features allow.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from wtal_core import config
from wtal_core.annotations import Video
from wtal_core.contracts import ActivationMaps
from wtal_core.dataset import Dataset
from wtal_core.localization import Reading
from wtal_core.model import statistics


def chance(dataset: Dataset, seed: int) -> dict[str, list[Reading]]:
    """Uniformly random activations and class scores for every test video and stream."""
    generator = np.random.default_rng(seed)
    classes = len(dataset.classes)
    readings = {}
    for video in dataset.test:
        readings[video.name] = [
            _reading(generator.random((classes, dataset.length(video, stream))), generator.random(classes))
            for stream in dataset.data.streams
        ]
    return readings


def supervised(dataset: Dataset, settings: config.Training, seed: int) -> dict[str, list[Reading]]:
    """A snippet classifier trained with the segments: for every stream FC D-256, LeakyReLU, FC 256-C, sigmoid.

    It sees as many snippets in as many iterations as the weakly supervised methods. A class's score is its highest
    snippet probability.
    """
    readings: dict[str, list[Reading]] = {video.name: [] for video in dataset.test}
    for stream in dataset.data.streams:
        mean, deviation = statistics((dataset.read(v, stream) for v in dataset.training), dataset.feature_dims[stream])
        arrays = {
            video.name: torch.from_numpy((dataset.read(video, stream) - mean) / deviation).float()
            for video in (*dataset.training, *dataset.test)
        }
        features = torch.cat([arrays[video.name] for video in dataset.training])
        labels = torch.from_numpy(
            np.concatenate([snippet_labels(dataset, v, stream) for v in dataset.training])
        ).float()
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            classifier = _train(features, labels, settings)
        for video in dataset.test:
            with torch.no_grad():
                activation = classifier(arrays[video.name]).sigmoid().T.double().numpy()
            readings[video.name].append(_reading(activation, activation.max(axis=1)))
    return readings


def snippet_labels(dataset: Dataset, video: Video, stream: str) -> NDArray[np.float64]:
    """Which classes happen at the middle of each snippet, (T, C)."""
    edges = dataset.edges(video, dataset.length(video, stream))
    middle = (edges[:-1] + edges[1:]) / 2
    labels = np.zeros((len(middle), len(dataset.classes)))
    for instance in video.instances:
        if instance.segment is not None:
            start, end = instance.segment
            labels[(start <= middle) & (middle < end), dataset.classes.index(instance.label)] = 1
    return labels


def _train(features: torch.Tensor, labels: torch.Tensor, settings: config.Training) -> nn.Module:
    classifier = nn.Sequential(
        nn.Dropout(settings.feature_dropout),
        nn.Linear(features.shape[1], 256),
        nn.LeakyReLU(),
        nn.Linear(256, labels.shape[1]),
    )
    optimizer = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    for _ in range(settings.iterations):
        batch = torch.randint(len(features), (settings.batch_size * settings.snippets,))
        loss = F.binary_cross_entropy_with_logits(classifier(features[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return classifier.eval()


def _reading(activation: NDArray[np.float64], class_scores: NDArray[np.float64]) -> Reading:
    return Reading(ActivationMaps(np.ones_like(activation), activation), class_scores)
