"""One stream's model: what its decoder sees, and the decoder."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wtal_core import config
from wtal_core.contracts import Decoder, Decoding, Targets
from wtal_core.errors import ConfigError
from wtal_core.plugins import Registry


class StreamModel(nn.Module):
    """Standardisation, feature dropout, decoder. The statistics are buffers, so a checkpoint carries them.

    Args:
        decoder: the stream's decoder, an `nn.Module`.
        mean: of each feature over the training subset, (D,).
        deviation: standard deviation of each feature, (D,).
        feature_dropout: probability of dropping a feature of a snippet in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, decoder: Decoder, mean: Tensor, deviation: Tensor, feature_dropout: float) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.dropout = nn.Dropout(feature_dropout)

    def prepare(self, features: Tensor) -> Tensor:
        """The features (B, T, D) as the decoder sees them: standardised, and in training partly dropped."""
        prepared: Tensor = self.dropout((features - self.mean) / self.deviation)
        return prepared

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Targets | None = None) -> Decoding:
        """Decode raw features (B, T, D)."""
        return self.decoder(self.prepare(features), mask, targets)


def build_model(
    experiment: config.Experiment,
    registry: Registry,
    feature_dim: int,
    num_classes: int,
    videos: Iterable[NDArray[np.float32]],
) -> StreamModel:
    """An untrained model; weights come from torch's generator, statistics from the training subset's features.

    Args:
        experiment: says which decoder and aggregator, and whether features are standardised.
        registry: where components are found.
        feature_dim: D.
        num_classes: C.
        videos: feature arrays (T, D) of the training subset; read once, if at all.
    """
    name, options = config.component(experiment.model.aggregator)
    aggregator = registry.build("aggregator", name, options)
    name, options = config.component(experiment.model.decoder)
    decoder = registry.build(
        "decoder", name, options, feature_dim=feature_dim, num_classes=num_classes, aggregator=aggregator
    )
    mean, deviation = np.zeros(feature_dim), np.ones(feature_dim)
    if experiment.training.standardize:
        mean, deviation = statistics(videos, feature_dim)
    return StreamModel(
        decoder,
        torch.from_numpy(mean).float(),
        torch.from_numpy(deviation).float(),
        experiment.training.feature_dropout,
    )


def torch_device(experiment: config.Experiment) -> torch.device:
    """The device that an experiment runs on; "auto" is the GPU if there is one.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    name = experiment.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'`device`: cannot compute on {name!r}: {reason}; use "auto" or "cpu"') from error


def statistics(
    videos: Iterable[NDArray[np.floating]], feature_dim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each feature over all snippets, in float64 and in one pass.

    A constant feature gets deviation 1, so that it becomes zero instead of NaN. Merges each video's moments into the
    running ones (Chan, Golub and LeVeque 1979), because sums of squares cancel where the mean is large.
    """
    count, mean, squares = 0, np.zeros(feature_dim), np.zeros(feature_dim)
    for features in videos:
        part = features.astype(np.float64)
        total = count + len(part)
        shift = part.mean(axis=0) - mean
        squares += ((part - part.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * (count * len(part) / total)
        mean += shift * (len(part) / total)
        count = total
    deviation = np.sqrt(squares / max(count, 1))
    return mean, np.where(deviation > 1e-8 * np.maximum(1.0, np.abs(mean)), deviation, 1.0)
