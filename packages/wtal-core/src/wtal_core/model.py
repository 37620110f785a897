"""One stream's model: what its decoder sees, the decoder, and the losses that it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wtal_core import config
from wtal_core.contracts import Batch, FloatArray, Targets
from wtal_core.data.dataset import Dimensions, Moments
from wtal_core.discovery import Component
from wtal_core.errors import ConfigError, PluginError
from wtal_core.kinds import decoder as decoders
from wtal_core.kinds import loss as losses
from wtal_core.registry import Registry

#: Names in a line of a run's log that no loss term may have.
LOGGED = frozenset({"stream", "iteration", "loss"})


class StreamModel(nn.Module):
    """Standardisation, feature dropout, decoder. The statistics are buffers, so a checkpoint carries them.

    Args:
        decoder: the stream's decoder, bound.
        mean: of each feature over the training subset, (D,).
        deviation: standard deviation of each feature, (D,).
        feature_dropout: probability of dropping a feature of a snippet in training.
        losses: beside the decoder's own, bound.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        decoder: decoders.Bound,
        mean: FloatArray,
        deviation: FloatArray,
        feature_dropout: float,
        losses: Sequence[losses.Bound] = (),
    ) -> None:
        super().__init__()
        self.decode = decoder
        self.losses = tuple(losses)
        self.decoder = decoder.made
        self.learnt = nn.ModuleList(loss.made for loss in losses if isinstance(loss.made, nn.Module))
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("deviation", torch.from_numpy(deviation).float())
        self.dropout = nn.Dropout(feature_dropout)

    def standardized(self, features: Tensor) -> Tensor:
        """The features (B, T, D) with the training subset's mean at 0 and its deviation at 1."""
        return (features - self.mean) / self.deviation

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Targets | None = None) -> Any:
        """Decode standardised features (B, T, D), some of them dropped in training."""
        return self.decode(self.dropout(features), mask, targets)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of a batch, the decoder's and those of the losses, by name.

        Raises:
            PluginError: two of them give a term of the same name, or one takes a name that the log of a run has.
        """
        decoding = self(batch.features, batch.mask, batch.targets)
        terms: dict[str, Tensor] = {}
        for part, more in (
            (self.decode, self.decode.loss(decoding, batch.targets)),
            *((loss, loss(decoding, batch)) for loss in self.losses),
        ):
            if again := terms.keys() & more.keys():
                raise PluginError(f"{part.component} gives a term {min(again)!r}, and another part does so too")
            if taken := LOGGED & more.keys():
                raise PluginError(f"{part.component} gives a term {min(taken)!r}, a name that the log of a run has")
            terms |= more
        return terms

    def component_of(self, name: str) -> Component:
        """Whose a tensor of the state is, by its name there."""
        module = self.get_submodule(name.rpartition(".")[0])
        for loss in self.losses:
            if isinstance(loss.made, nn.Module) and any(module is inner for inner in loss.made.modules()):
                return loss.component
        owners = [
            (path, part.component)
            for path, part in self.named_modules()
            if hasattr(part, "component") and any(module is inner for inner in part.modules())
        ]
        return max(owners, key=lambda one: len(one[0]))[1] if owners else self.decode.component


def build_model(
    settings: config.StageSettings,
    registry: Registry,
    dimensions: Dimensions,
    moments: Moments | None = None,
) -> StreamModel:
    """An untrained model; weights come from torch's generator, statistics from the training subset's features.

    Without their `moments` nothing is moved, as where a checkpoint will say.

    Raises:
        PluginError: a component cannot be built.
    """
    classes = dimensions.num_classes
    aggregator = registry.build("aggregator", settings.model.aggregator, num_classes=classes)
    decoder = registry.build("decoder", settings.model.decoder, **dimensions._asdict(), aggregator=aggregator)
    terms = [registry.build("loss", choice, num_classes=classes) for choice in settings.training.losses]
    if moments is None or not settings.training.standardize:
        moments = Moments(dimensions.feature_dim)  # of nothing: mean 0, deviation 1
    return StreamModel(decoder, moments.mean, moments.deviation, settings.training.feature_dropout, terms)


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
