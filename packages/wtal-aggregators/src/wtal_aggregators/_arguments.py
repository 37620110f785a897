"""What every aggregator asks of its arguments. Only `check_probabilities` looks at values, and so waits for a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_pooling(features: Tensor, attention: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return features (..., T, D) and mask (..., T) as views that broadcast with the attention, if they fit it.

    Attention with as many dimensions as the features, (..., S, T), is S attentions over each sequence: the features
    are (..., 1, T, D) then, and the mask is (..., 1, T).

    Raises:
        ValueError: If the shapes do not belong together.
        TypeError: If a dtype is not floating point, or that of the mask not bool.
    """
    check_floating("features", features)
    aligned_mask = check_attention(attention, mask)
    aligned = check_fit(features, "attention", attention)
    if mask is not None and aligned_mask is not None:
        check_broadcast("features", features, aligned.shape[:-2], "mask", mask, aligned_mask.shape[:-1])
    return aligned, aligned_mask


def check_attention(attention: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return the mask (..., T) as a view that broadcasts with the attention (..., T), if both are what they must be.

    A mask with one dimension less than the attention (..., S, T) is the same for all S.
    """
    check_floating("attention", attention)
    if attention.ndim < 1:
        raise ValueError("attention must have at least one dimension, (..., T), not ()")
    if mask is None:
        return None
    check_mask(mask)
    if mask.ndim < 1 or mask.shape[-1] != attention.shape[-1]:
        raise ValueError(
            f"mask {tuple(mask.shape)} and attention {tuple(attention.shape)} do not fit: expected (..., T) for both"
        )
    aligned = mask.unsqueeze(-2) if mask.ndim == attention.ndim - 1 else mask
    check_broadcast("mask", mask, aligned.shape[:-1], "attention", attention, attention.shape[:-1])
    return aligned


def check_fit(features: Tensor, name: str, others: Tensor) -> Tensor:
    """Return features (..., T, D) as a view that broadcasts with the argument `name`, (..., T) or (..., S, T).

    Raises:
        ValueError: If they do not belong together.
    """
    if features.ndim > 1 and features.shape[:-1] == others.shape:
        return features  # the usual case, which a short pooling should not wait for
    check_length(features, name, others)
    aligned = features.unsqueeze(-3) if features.ndim == others.ndim else features
    check_broadcast("features", features, aligned.shape[:-2], name, others, others.shape[:-1])
    return aligned


def check_length(features: Tensor, name: str, others: Tensor) -> None:
    """Raise ValueError unless features (..., T, D) and the argument `name` (..., T) have T in common."""
    if features.ndim < 2 or others.ndim < 1 or features.shape[-2] != others.shape[-1]:
        raise ValueError(
            f"features {tuple(features.shape)} and {name} {tuple(others.shape)} do not fit: "
            f"expected features (..., T, D) and {name} (..., T)"
        )


def check_broadcast(
    name: str, one: Tensor, leading: Sequence[int], other_name: str, other: Tensor, other_leading: Sequence[int]
) -> None:
    """Raise ValueError unless the leading dimensions of two arguments broadcast."""
    pairs = zip(reversed(leading), reversed(other_leading), strict=False)
    if any(a != b and 1 not in (a, b) for a, b in pairs):
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
