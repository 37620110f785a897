"""An annotation reader: it says which videos there are, their subsets, durations, labels and segments."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class Instance(NamedTuple):
    """One labelled action."""

    label: str
    segment: tuple[float, float] | None  # start and end in seconds, None where only the label is known


class Video(NamedTuple):
    """One video."""

    name: str
    subset: str
    duration: float | None  # seconds, None where the file does not say
    instances: tuple[Instance, ...]


class PlaceholderClass:
    """Comma-separated text, a line per instance: VIDEO,SUBSET,DURATION,LABEL,START,END.

    A video without instances has one line, whose LABEL is empty; START and END are empty where only the label is known.

    Args:
        path: the file.

    Raises:
        OSError: it is missing or unreadable.
        ValueError: it is no text in UTF-8, or a line has another number of fields; later: a number is none.
    """

    #: What is left out of all the videos, with the count and the reason.
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._lines: dict[str, list[tuple[int, list[str]]]] = {}
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for number, line in enumerate(csv.reader(file), start=1):
                    if len(line) != 6:
                        raise ValueError(f"line {number} has {len(line)} fields, not 6")
                    self._lines.setdefault(line[0], []).append((number, line))
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}: {error}") from error

    def names(self) -> list[str]:
        """The videos, in the order of the file."""
        return list(self._lines)

    def video(self, name: str) -> Video:
        """One of them; of its lines the first says subset and duration."""
        _, subset, duration, *_ = self._lines[name][0][1]
        instances = tuple(Instance(line[3], _segment(number, line)) for number, line in self._lines[name] if line[3])
        return Video(name, subset, float(duration) if duration else None, instances)


def _segment(number: int, line: list[str]) -> tuple[float, float] | None:
    if not any(line[4:]):
        return None
    try:
        return float(line[4]), float(line[5])
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error
