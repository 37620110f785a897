"""What every aggregator asks of its arguments. Nothing here looks at a value, so nothing waits for a device."""

from __future__ import annotations

import torch
from torch import Tensor


def check_features(features: Tensor, attention: Tensor) -> None:
    """Raise ValueError unless features (..., T, D) and attention (..., T) belong together."""
    if features.ndim < 2 or attention.ndim < 1 or features.shape[-2] != attention.shape[-1]:
        raise ValueError(
            f"features {tuple(features.shape)} and attention {tuple(attention.shape)} do not fit: "
            "expected features (..., T, D) and attention (..., T)"
        )
    if not features.is_floating_point():
        raise TypeError(f"features must be floating point, not {features.dtype}")
    check_broadcast("features", features.shape[:-1], "attention", attention.shape)


def check_attention(attention: Tensor, mask: Tensor | None) -> None:
    """Raise unless attention (..., T) is floating point and mask is a bool tensor that broadcasts with it."""
    if attention.ndim < 1:
        raise ValueError("attention must have at least one dimension, (..., T), not ()")
    if not attention.is_floating_point():
        raise TypeError(f"attention must be floating point, not {attention.dtype}")
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor, True on real snippets, not {mask.dtype}; try mask.bool()")
    if mask.shape != attention.shape:
        if mask.ndim < 1 or mask.shape[-1] != attention.shape[-1]:
            raise ValueError(
                f"mask {tuple(mask.shape)} and attention {tuple(attention.shape)} do not fit: expected both (..., T)"
            )
        check_broadcast("mask", mask.shape, "attention", attention.shape)


def check_broadcast(name: str, shape: torch.Size, other_name: str, other_shape: torch.Size) -> None:
    """Raise ValueError unless two shapes broadcast."""
    if shape == other_shape:
        return
    for size, other_size in zip(reversed(shape), reversed(other_shape), strict=False):
        if size not in (1, other_size) and other_size != 1:
            raise ValueError(
                f"the leading dimensions of {name} {tuple(shape)} and of {other_name} {tuple(other_shape)} "
                "do not broadcast"
            )
