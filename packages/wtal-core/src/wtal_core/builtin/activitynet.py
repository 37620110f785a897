"""Annotations in ActivityNet's JSON format.

    {"database": {"video_1": {"subset": "training", "duration": 83.5,
                              "annotations": [{"label": "HighJump", "segment": [12.0, 15.5]}]}}}

Training needs labels alone, so an annotation may lack its `segment`. Segments may be numbers or strings of numbers, as
public files have both; keys that we do not use (url, resolution, taxonomy) are ignored.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from wtal_core.contracts import Instance, Video
from wtal_core.text import Constant, constant_in, read_json
from wtal_core.walk import dotted


class ActivityNet:
    """ActivityNet's JSON, and what follows it: `{"database": {VIDEO: {"subset", "duration", "annotations"}}}`.

    Raises:
        OSError: the file cannot be read.
        DataError: it is no JSON, has a key twice, or no object `database`; with file and place.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        try:
            content = read_json(path, constant=Constant)
        except OSError as error:
            raise OSError(f"{path}: cannot read annotations: {error.strerror}") from error
        database = content.get("database") if isinstance(content, dict) else None
        if not isinstance(database, dict):
            raise ValueError(
                f"{path}: no object under the key 'database'; is this an annotation file in ActivityNet's format?"
            )
        if (constant := constant_in(content)) is not None:  # wherever it is: such a file is read by few others
            raise ValueError(f"{path}: {_told(*constant)}")
        self._database: dict[str, Any] = database

    def names(self) -> list[str]:
        """The videos, in the order of the file."""
        return list(self._database)

    def subset(self, name: str) -> str:
        """The subset of a video; raises as `video`."""
        return _subset(self._database[name])

    def video(self, name: str) -> Video:
        """One video.

        Raises:
            ValueError: its entry is malformed; the message begins with the key.
        """
        return _video(name, self._database[name])


def _subset(entry: Any) -> str:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {type(entry).__name__}")
    subset = entry.get("subset")
    if not isinstance(subset, str):
        raise ValueError(f"key 'subset' must be a string, got {_shown(subset)}")
    return subset


def _video(name: str, entry: Any) -> Video:
    subset = _subset(entry)
    duration = entry.get("duration", entry.get("duration_second"))
    if duration is not None:
        duration = _number(duration, "duration")
        if duration <= 0:
            raise ValueError(f"key 'duration' must be positive, got {duration:g}")
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise ValueError(f"key 'annotations' must be an array, got {type(annotations).__name__}")
    return Video(name, subset, duration, tuple(_instance(i, item, duration) for i, item in enumerate(annotations)))


def _instance(index: int, item: Any, duration: float | None) -> Instance:
    where = f"annotations[{index}]"
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        raise ValueError(f"key '{where}.label' must be a string")
    label = item["label"]
    segment = item.get("segment")
    if segment is None:
        return Instance(label)
    if not isinstance(segment, list) or len(segment) != 2:
        raise ValueError(f"key '{where}.segment' must be [start, end] in seconds, got {_shown(segment)}")
    start, end = (_number(value, f"{where}.segment") for value in segment)
    if not 0 <= start <= end:
        raise ValueError(f"key '{where}.segment' must have 0 <= start <= end, got [{start:g}, {end:g}]")
    if duration is not None and start > duration:
        raise ValueError(f"key '{where}.segment' starts at {start:g} s, after the video's end at {duration:g} s")
    return Instance(label, (start, end))


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"key '{key}' must be a number, got {_shown(value)}")
    try:
        number = float("" if isinstance(value, str) and "_" in value else value)  # `1_0` is ten in Python alone
    except ValueError:
        raise ValueError(f"key '{key}' must be a number, got {_shown(value)}") from None
    if not math.isfinite(number):
        raise ValueError(f"key '{key}' must be finite, got {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


def _told(keys: list[str | int], value: float) -> str:
    """Where NaN or an infinity stands, which JSON does not have and Python writes."""
    inside = keys[0] == "database" and len(keys) > 2
    path = keys[2:] if inside else keys
    if len(path) > 1 and path[-2] == "segment":
        path = path[:-1]
    where = f"video {keys[1]!r}: " if inside else ""
    return f"{where}key '{dotted(path)}' must be finite, got {value}"
