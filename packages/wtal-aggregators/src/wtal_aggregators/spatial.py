"""The poolings of `marginalized` and `pooling` over feature maps: MAAN (Yuan et al., ICLR 2019), appendix F."""

from __future__ import annotations

from torch import Tensor, nn

from wtal_aggregators._arguments import check_broadcast, check_floating, check_mask, check_probabilities
from wtal_aggregators.marginalized import marginalized_average
from wtal_aggregators.pooling import attention_coefficients, weighted_sum


def as_sequences(features: Tensor, attention: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """View the H W places of a map as a sequence: features (..., H W, D), attention and mask (..., H W).

    Args:
        features: (..., D, H, W).
        attention: (..., 1, H, W).
        mask: (..., 1, H, W) or None.

    Raises:
        ValueError: If the shapes are not these, or their leading dimensions do not broadcast.
        TypeError: If features or attention are not floating point, or the mask is not bool.
    """
    check_floating("features", features)
    check_floating("attention", attention)
    if mask is not None:
        check_mask(mask)
    places = features.shape[-2:]
    if features.ndim < 3 or attention.ndim < 3 or attention.shape[-3:] != (1, *places):
        raise ValueError(
            f"features {tuple(features.shape)} and attention {tuple(attention.shape)} do not fit: "
            "expected features (..., D, H, W) and attention (..., 1, H, W)"
        )
    if mask is not None and (mask.ndim < 3 or mask.shape[-3:] != (1, *places)):
        raise ValueError(
            f"mask {tuple(mask.shape)} and attention {tuple(attention.shape)} do not fit: "
            "expected (..., 1, H, W) for both"
        )
    check_broadcast("features", features, features.shape[:-3], "attention", attention, attention.shape[:-3])
    if mask is not None:
        check_broadcast("mask", mask, mask.shape[:-3], "attention", attention, attention.shape[:-3])
        check_broadcast("features", features, features.shape[:-3], "mask", mask, mask.shape[:-3])
    # Of equally many dimensions, lest what broadcasts over maps be taken for several attentions over each.
    most = max(features.ndim, attention.ndim, 0 if mask is None else mask.ndim)
    features, attention = _padded(features, most), _padded(attention, most)
    mask = None if mask is None else _flat(_padded(mask, most))
    return features.flatten(-2).transpose(-1, -2), _flat(attention), mask


def _padded(tensor: Tensor, dimensions: int) -> Tensor:
    return tensor if tensor.ndim == dimensions else tensor[(None,) * (dimensions - tensor.ndim)]


def _flat(single_channel: Tensor) -> Tensor:
    return single_channel.flatten(-2).squeeze(-2)


class MarginalizedAverage2d(nn.Module):
    """The expected mean of a random subset of a map's places, each in it with its attention as probability (MAA).

    Equation 2 of MAAN (Yuan et al., ICLR 2019) over feature maps, as in its appendix F (`marginalized_average`).

    Args:
        validate: look at every attention and raise ValueError where one is outside [0, 1]; for eager calls.
    """

    def __init__(self, validate: bool = False) -> None:
        super().__init__()
        self.validate = validate

    def extra_repr(self) -> str:
        """Show the option."""
        return f"validate={self.validate}"

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., D, H, W) under attention and mask (..., 1, H, W) to (..., D)."""
        sequences = as_sequences(features, attention, mask)
        if self.validate:
            check_probabilities(attention, mask)
        return marginalized_average(*sequences)


class WeightedSum2d(nn.Module):
    """The sum of a map's places, weighted by their attention: weighted-CAM in MAAN's appendix F (`weighted_sum`)."""

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., D, H, W) under attention and mask (..., 1, H, W) to (..., D)."""
        sequence, weights, real = as_sequences(features, attention, mask)
        return weighted_sum(sequence, attention_coefficients(weights, real))
