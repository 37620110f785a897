"""Checks of arguments and options; every message names the one at fault. And where a class explains its options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

K = TypeVar("K")


def real_array(name: str, value: ArrayLike | None) -> NDArray[np.float64]:
    """An array of real numbers as float64.

    Raises:
        ValueError: it holds text, complex numbers or objects, or is ragged.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # NumPy's words for what is ragged name no argument
        raise ValueError(f"{name} must hold real numbers in rows of equal length") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array.astype(np.float64, copy=False)


def refuse(name: str, values: NDArray[np.float64], bad: NDArray[np.bool_], what: str, where: str) -> None:
    """Raise for the first value that is bad; `where` names its indices, as in "for class {}"."""
    if bad.any():
        index = tuple(np.argwhere(bad)[0].tolist())
        raise ValueError(f"{name} must be {what}, got {values[index]} {where.format(*index)}")


def is_number(value: object) -> bool:
    """Whether a value is a real number; True and False are none, though Python counts with them."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def in_range(name: str, value: Any, highest: float = math.inf) -> None:
    """Refuse an option that is not a finite number of 0 or more, at most `highest`."""
    if not (is_number(value) and 0 <= value <= highest and value < math.inf):
        bounds = "0 or more" if highest == math.inf else f"in [0, {highest:g}]"
        raise ValueError(f"{name} must be {bounds}, got {value!r}")


def choice(name: str, value: Any, choices: object) -> None:
    """Refuse an option that is not among the values of a `Literal`."""
    allowed = get_args(choices)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, got {value!r}")


def switch(name: str, value: Any) -> None:
    """Refuse an option that is not True or False: the text "no" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def explained_as(other: type) -> Callable[[type[K]], type[K]]:
    """Append to a class's docstring the options that another's explains, for whoever prints one docstring alone."""

    def append(cls: type[K]) -> type[K]:
        own, theirs = inspect.getdoc(cls), inspect.getdoc(other)
        if own and theirs:  # Python strips them under -OO
            cls.__doc__ = own + ("\n" if "Args:\n" in own else "\n\nArgs:\n") + theirs.partition("Args:\n")[2]
        return cls

    return append
