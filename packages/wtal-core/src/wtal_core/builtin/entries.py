"""What readers of annotations make of an entry: numbers, which files often hold as text, and intervals of seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def number(value: Any, key: str) -> float:
    """A finite number, which may be written as text.

    Raises:
        ValueError: it is none; the message begins with the key.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{key} must be a number, got {shown(value)}")
    try:
        read = float("" if isinstance(value, str) and "_" in value else value)  # `1_0` is ten in Python alone
    except ValueError:
        raise ValueError(f"{key} must be a number, got {shown(value)}") from None
    except OverflowError:
        read = math.inf
    if not math.isfinite(read):
        raise ValueError(f"{key} must be finite, got {shown(value)}")
    return read


def positive(value: Any, key: str) -> float:
    """A number above 0; raises as `number`."""
    read = number(value, key)
    if read <= 0:
        raise ValueError(f"{key} must be positive, got {read:g}")
    return read


def interval(start: Any, end: Any, key: str) -> tuple[float, float]:
    """A segment in seconds; raises as `number`."""
    first, last = number(start, key), number(end, key)
    if not 0 <= first <= last:
        raise ValueError(f"{key} must have 0 <= start <= end, got [{first:g}, {last:g}]")
    return first, last


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


def only_subset(said: Iterable[tuple[str, str]]) -> str:
    """The subset of a video that stands in several places, each a subset and where it is said.

    Raises:
        ValueError: they say different ones.
    """
    subsets: dict[str, str] = {}
    for subset, where in said:
        subsets.setdefault(subset, where)
    if len(subsets) > 1:
        (one, here), (other, there), *_ = subsets.items()
        raise ValueError(f"it is in subset {one!r} ({here}) and in {other!r} ({there}); keep one")
    return next(iter(subsets))
