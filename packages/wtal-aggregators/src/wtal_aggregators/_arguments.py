"""What every aggregator asks of its arguments. Only `check_probabilities` looks at values, and so waits for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def check_features(features: Tensor, attention: Tensor) -> None:
    """Raise ValueError unless features (..., T, D) and attention (..., T) belong together."""
    check_tensor("features", features)
    check_tensor("attention", attention)
    if not features.is_floating_point():
        raise TypeError(f"features must be floating point, not {features.dtype}")
    if features.ndim < 2 or attention.ndim < 1 or features.shape[-2] != attention.shape[-1]:
        raise ValueError(
            f"features {tuple(features.shape)} and attention {tuple(attention.shape)} do not fit: "
            "expected features (..., T, D) and attention (..., T)"
        )
    check_broadcast("features", features.shape, features.shape[:-2], attention, attention.shape[:-1])


def check_tensor(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(value).__module__}.{type(value).__qualname__}")


def check_attention(attention: Tensor, mask: Tensor | None) -> None:
    """Raise unless attention (..., T) is floating point and mask is a bool tensor that broadcasts with it."""
    check_tensor("attention", attention)
    if attention.ndim < 1:
        raise ValueError("attention must have at least one dimension, (..., T), not ()")
    if not attention.is_floating_point():
        raise TypeError(f"attention must be floating point, not {attention.dtype}")
    if mask is None:
        return
    check_tensor("mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor, True on real snippets, not {mask.dtype}; try mask.bool()")
    if mask.ndim < 1 or mask.shape[-1] != attention.shape[-1]:
        raise ValueError(
            f"mask {tuple(mask.shape)} and attention {tuple(attention.shape)} do not fit: expected (..., T) for both"
        )
    check_broadcast("mask", mask.shape, mask.shape[:-1], attention, attention.shape[:-1])


def check_probabilities(attention: Tensor, mask: Tensor | None) -> None:
    """Raise ValueError unless the attention of every real snippet lies in [0, 1]."""
    wrong = ~((attention >= 0) & (attention <= 1))  # NaN is wrong too
    if mask is not None:
        wrong = wrong & mask
    if wrong.any():
        index = wrong.nonzero()[0].tolist()
        value = attention.expand_as(wrong)[tuple(index)].item()
        raise ValueError(f"attention must lie in [0, 1], but attention{index} is {value:.6g}")


def check_broadcast(name: str, shape: torch.Size, leading: torch.Size, attention: Tensor, others: torch.Size) -> None:
    """Raise ValueError unless the leading dimensions of the argument `name` and of the attention broadcast."""
    for size, other in zip(reversed(leading), reversed(others), strict=False):
        if size != other and 1 not in (size, other):
            raise ValueError(
                f"the leading dimensions of {name} {tuple(shape)} and attention {tuple(attention.shape)} "
                "do not broadcast"
            )
