"""Inputs that the clauses of several kinds are tried on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wtal_core.testing.trial import Example


def once() -> Iterator[Example]:
    """For a clause that needs no example, or makes its own."""
    yield {}


def numbers(*shape: int) -> Tensor:
    """A tensor of multiples of 1/4 between -0.75 and 1."""
    return (torch.arange(math.prod(shape)) * 3 % 8 / 4 - 0.75).reshape(shape)


def shares(*shape: int) -> Tensor:
    """A tensor of multiples of 1/4 between 0.25 and 1."""
    return ((torch.arange(math.prod(shape)) * 3 + 1) % 4 / 4 + 0.25).reshape(shape)


def eighths(*shape: int) -> NDArray[np.float64]:
    """An array of multiples of 1/8 between 0.125 and 1."""
    return (np.arange(math.prod(shape)) * 3 % 8 / 8 + 0.125).reshape(shape)


def devices() -> list[torch.device]:
    """The CPU, and the GPU if there is one."""
    return [torch.device(name) for name in (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])]


def some_seen(batch: Tensor) -> Tensor:
    """A mask (B, T) for a batch (B, T, ...): of the first video the first snippet alone, others have a hole."""
    mask = all_seen(batch)
    mask[0, 1:] = False
    mask[1:, batch.shape[1] // 2] = False
    return mask


def all_seen(batch: Tensor) -> Tensor:
    """A mask (B, T) of True for a batch (B, T, ...)."""
    return torch.ones(batch.shape[:2], dtype=torch.bool, device=batch.device)


def opened(batch: Tensor, at: int, value: float, dim: int = 1) -> Tensor:
    """The batch with one snippet more, before that of index `at` along the dimension that is time; it holds `value`."""
    before, after = batch.tensor_split([at], dim)
    return torch.cat([before, torch.full_like(batch.narrow(dim, 0, 1), value), after], dim)


def places(batch: Tensor) -> tuple[int, int]:
    """Where to hide a snippet more of a batch (B, T, ...): at the end, which is padding, and in a hole."""
    return batch.shape[1], batch.shape[1] // 2
