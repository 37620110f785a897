"""What every aggregator asks of its arguments. Only `check_probabilities` looks at values, and so waits for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def check_pooling(features: Tensor, attention: Tensor, mask: Tensor | None) -> None:
    """Raise unless features (..., T, D), attention (..., T) and mask (..., T) have their dtypes and belong together."""
    check_floating("features", features)
    check_attention(attention, mask)
    check_fit(features, "attention", attention)
    if mask is not None:
        check_fit(features, "mask", mask)


def check_attention(attention: Tensor, mask: Tensor | None) -> None:
    """Raise unless attention (..., T) is floating point and mask is a bool tensor that broadcasts with it."""
    check_floating("attention", attention)
    if attention.ndim < 1:
        raise ValueError("attention must have at least one dimension, (..., T), not ()")
    if mask is None:
        return
    check_mask(mask)
    if mask.ndim < 1 or mask.shape[-1] != attention.shape[-1]:
        raise ValueError(
            f"mask {tuple(mask.shape)} and attention {tuple(attention.shape)} do not fit: expected (..., T) for both"
        )
    check_broadcast("mask", mask, 1, "attention", attention, 1)


def check_fit(features: Tensor, name: str, others: Tensor) -> None:
    """Raise ValueError unless features (..., T, D) and the argument `name` (..., T) belong together."""
    if features.ndim > 1 and features.shape[:-1] == others.shape:
        return  # the usual case, which a short pooling should not wait for
    if features.ndim < 2 or others.ndim < 1 or features.shape[-2] != others.shape[-1]:
        raise ValueError(
            f"features {tuple(features.shape)} and {name} {tuple(others.shape)} do not fit: "
            f"expected features (..., T, D) and {name} (..., T)"
        )
    check_broadcast("features", features, 2, name, others, 1)


def check_broadcast(name: str, one: Tensor, own: int, other_name: str, other: Tensor, others: int) -> None:
    """Raise ValueError unless all but the last `own` dimensions of one and the last `others` of the other broadcast."""
    leading = zip(reversed(one.shape[:-own]), reversed(other.shape[:-others]), strict=False)
    if any(a != b and 1 not in (a, b) for a, b in leading):
        raise ValueError(
            f"the leading dimensions of {name} {tuple(one.shape)} and {other_name} {tuple(other.shape)} "
            "do not broadcast"
        )


def check_floating(name: str, value: Tensor) -> None:
    """Raise TypeError unless `value` is a floating-point tensor."""
    check_tensor(name, value)
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point, not {value.dtype}")


def check_mask(mask: Tensor) -> None:
    """Raise TypeError unless the mask is a bool tensor."""
    check_tensor("mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor, True on real snippets, not {mask.dtype}; try mask.bool()")


def check_tensor(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(value).__module__}.{type(value).__qualname__}")


def check_probabilities(attention: Tensor, mask: Tensor | None) -> None:
    """Raise ValueError unless the attention of every real snippet lies in [0, 1]."""
    wrong = ~((attention >= 0) & (attention <= 1))  # NaN is wrong too
    if mask is not None:
        wrong = (wrong & mask).sum_to_size(attention.shape)  # the mask may have more leading dimensions
    if wrong.any():
        index = wrong.nonzero()[0].tolist()
        value = attention[tuple(index)].item()
        raise ValueError(f"attention {tuple(attention.shape)} must lie in [0, 1], but attention{index} is {value:.6g}")
