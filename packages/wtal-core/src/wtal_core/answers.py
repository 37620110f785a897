"""The words in which the kinds say what a right answer looks like: shape, type, range.

Each raises `ContractError` or returns nothing. A right answer costs a few array operations; only an error writes
numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from wtal_core import binding


class ContractError(AssertionError):
    """A component does not keep the contract of its kind."""


def require(condition: bool, sentence: str) -> None:
    """Raise `ContractError` with the sentence unless the condition holds."""
    if not condition:
        raise ContractError(sentence)


def attribute(answer: Any, name: str) -> Any:
    """A field that an answer must have."""
    require(hasattr(answer, name), f"the answer, a {type(answer).__name__}, has no {name!r}")
    return getattr(answer, name)


def tensor(
    name: str, value: Any, shape: tuple[int, ...], like: Tensor, unit_range: bool = False, values: bool = True
) -> None:
    """Require a finite tensor of a shape, with the dtype and on the device of the features `like`.

    Its values are looked at only where `binding.checking()` says so, because on a GPU that waits.
    """
    require(isinstance(value, Tensor), f"{name} must be a tensor {shape}, got {form(value)}")
    require(value.shape == shape, f"features {tuple(like.shape)} must give {name} {shape}, got {tuple(value.shape)}")
    require(value.dtype == like.dtype, f"{name} must have the dtype of the features, {like.dtype}, got {value.dtype}")
    require(value.device == like.device, f"{name} must be on the device of the features, {like.device}")
    if not (values and binding.checking()):
        return
    if not value.isfinite().all():
        if binding.finite():
            raise ContractError(f"{name} must be finite, got {value.tolist()}")
        return
    if unit_range:
        unit(name, value)


def array(name: str, value: Any, shape: tuple[int, ...], dtype: type[np.generic], finite: bool = True) -> None:
    """Require an array of a shape and dtype, finite unless told otherwise."""
    require(
        isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype,
        f"{name} must be an array {shape} of {dtype.__name__}, got {form(value)}",
    )
    if finite and not np.isfinite(value).all():
        raise ContractError(f"{name} must be finite, got {value.tolist()}")


def unit(name: str, value: Any) -> None:
    """Require values in [0, 1]."""
    if not ((value >= 0) & (value <= 1)).all():
        raise ContractError(f"{name} must lie in [0, 1], got {value.tolist()}")


def intervals(answer: Any, num_classes: int, first: float, last: float, what: str) -> None:
    """Require label, start, end and score (N,): known classes, intervals within [first, last), finite scores.

    Of an interval outside the message says `what` it must do, such as "lie within the video's".
    """
    label = attribute(answer, "label")
    require(isinstance(label, np.ndarray) and label.ndim == 1, f"label must be an array (N,), got {form(label)}")
    array("label", label, label.shape, np.int64)
    for name in ("start", "end", "score"):
        array(name, attribute(answer, name), label.shape, np.float64)
    if ((label < 0) | (label >= num_classes)).any():
        raise ContractError(f"label must hold class indices from 0 to {num_classes - 1}, got {label.tolist()}")
    for right, told in (
        (answer.start < answer.end, "end after its start"),
        ((answer.start >= first) & (answer.end <= last), f"{what} [{first}, {last})"),
    ):
        if not right.all():
            n = int(np.argmin(right))
            raise ContractError(f"an interval must {told}, got [{answer.start[n]}, {answer.end[n]})")


def form(value: Any) -> str:
    """What a value is, for a message."""
    if isinstance(value, np.ndarray | Tensor):
        return f"{type(value).__name__} {tuple(value.shape)} of {value.dtype}"
    return type(value).__name__
