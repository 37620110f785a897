"""One stream's model: what its decoder sees, and the decoder."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wtal_core import answers, config
from wtal_core.contracts import Decoder, Decoding, Targets
from wtal_core.errors import ConfigError, PluginError
from wtal_core.plugins import Component, Registry, blaming


class StreamModel(nn.Module):
    """Standardisation, feature dropout, decoder. The statistics are buffers, so a checkpoint carries them.

    Args:
        decoder: the stream's decoder, an `nn.Module`.
        mean: of each feature over the training subset, (D,).
        deviation: standard deviation of each feature, (D,).
        feature_dropout: probability of dropping a feature of a snippet in training.
        components: where the decoder and the aggregator come from, by kind.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        decoder: Decoder,
        mean: Tensor,
        deviation: Tensor,
        feature_dropout: float,
        components: Mapping[str, Component],
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.components = components
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

    def component_of(self, name: str) -> Component:
        """Where an entry of the state comes from: the aggregator, or what else a decoder holds."""
        module: object = self
        for part in name.split("."):
            module = getattr(module, part, None)
            if _is_held(module):
                return self.components["aggregator"]
        return self.components["decoder"]

    @contextmanager
    def blaming(self, what: str) -> Iterator[None]:
        """As `plugins.blaming`: the aggregator where its code was running, else the decoder."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            running = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
            kind = "aggregator" if any(map(_is_held, running)) else "decoder"
            with blaming(self.components[kind], what):
                raise


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

    Raises:
        PluginError: the decoder or the aggregator cannot be built.
    """
    aggregator = _module(registry, "aggregator", experiment.model.aggregator)
    aggregator.register_forward_hook(_hold_patterns, with_kwargs=True)  # before a decoder may copy it
    decoder = _module(
        registry,
        "decoder",
        experiment.model.decoder,
        feature_dim=feature_dim,
        num_classes=num_classes,
        aggregator=aggregator,
    )
    mean, deviation = np.zeros(feature_dim), np.ones(feature_dim)
    if experiment.training.standardize:
        mean, deviation = statistics(videos, feature_dim)
    return StreamModel(
        decoder,
        torch.from_numpy(mean).float(),
        torch.from_numpy(deviation).float(),
        experiment.training.feature_dropout,
        {
            kind: registry.find(kind, config.component(choice)[0])
            for kind, choice in (("aggregator", experiment.model.aggregator), ("decoder", experiment.model.decoder))
        },
    )


def _module(registry: Registry, kind: str, choice: config.Component, **injected: Any) -> Any:
    """Build what is trained."""
    name, options = config.component(choice)
    built = registry.build(kind, name, options, **injected)
    if not isinstance(built, nn.Module):
        raise PluginError(f"{registry.find(kind, name)} must be an nn.Module, got {type(built).__name__}")
    return built


def _hold_patterns(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
    """Hold an aggregator's answer against its contract where it is given, before a decoder stumbles over it."""
    tensors = [value for value in (*given, *named.values()) if isinstance(value, Tensor)]
    try:
        answers.patterns(answer, named["features"] if "features" in named else given[0])
    except AssertionError:
        if all(bool(tensor.isfinite().all()) for tensor in tensors):  # otherwise it was not the first to go wrong
            raise


def _is_held(one: object) -> bool:
    """Whether this is the aggregator, or a decoder's copy of it."""
    return isinstance(one, nn.Module) and _hold_patterns in one._forward_hooks.values()


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
