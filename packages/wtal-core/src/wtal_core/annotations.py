"""Annotations in ActivityNet's JSON format: which videos there are, their subsets, durations, labels and segments.

    {"database": {"video_1": {"subset": "training", "duration": 83.5,
                              "annotations": [{"label": "HighJump", "segment": [12.0, 15.5]}]}}}

Training needs labels alone, so an annotation may lack its `segment`. Segments may be numbers or strings of numbers, as
public files have both; keys that we do not use (url, resolution, taxonomy) are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from wtal_core.errors import DataError, Problems, WtalError, did_you_mean


@dataclass(frozen=True)
class Instance:
    """One labelled action; `segment` is (start, end) in seconds, or None where only the label is known."""

    label: str
    segment: tuple[float, float] | None = None


@dataclass(frozen=True)
class Video:
    """One video of the data set; `duration` is in seconds, None where the file does not say."""

    name: str
    subset: str
    duration: float | None
    instances: tuple[Instance, ...]

    @property
    def labels(self) -> frozenset[str]:
        """The classes that happen in the video."""
        return frozenset(instance.label for instance in self.instances)


def read_annotations(path: Path, exclude: Collection[str] = ()) -> dict[str, Video]:
    """Read the videos of an annotation file, in the order of the file, but for those to `exclude`.

    Raises:
        DataError: the file cannot be read or is no JSON.
        Problems: entries are malformed; all of them are listed, each with file, video and key.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read annotations: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(
            f"{path}: no object under the key 'database'; is this an annotation file in ActivityNet's format?"
        )
    videos: dict[str, Video] = {}
    problems: list[WtalError] = [
        DataError(f"{path}: no video {name!r}, which data.exclude names; {did_you_mean(name, list(database))}")
        for name in exclude
        if name not in database
    ]
    for name, entry in database.items():
        if name in exclude:
            continue
        try:
            videos[name] = _video(name, entry)
        except ValueError as error:
            problems.append(DataError(f"{path}: video {name!r}: {error}"))
    if problems:
        raise Problems(problems)
    return videos


def select_subset(videos: Mapping[str, Video], subset: str, path: Path) -> list[Video]:
    """The videos of one subset, sorted by name; subset names are compared without case.

    Raises:
        DataError: no video is in the subset; the message lists the subsets that exist.
    """
    selected = [video for video in videos.values() if video.subset.lower() == subset.lower()]
    if not selected:
        subsets = sorted({video.subset for video in videos.values()})
        raise DataError(f"{path}: no video in subset {subset!r}; {did_you_mean(subset, subsets)}")
    return sorted(selected, key=lambda video: video.name)


def _video(name: str, entry: Any) -> Video:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {type(entry).__name__}")
    subset = entry.get("subset")
    if not isinstance(subset, str):
        raise ValueError(f"key 'subset' must be a string, got {subset!r}")
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
    segment = item.get("segment")
    if segment is None:
        return Instance(item["label"])
    if not isinstance(segment, list) or len(segment) != 2:
        raise ValueError(f"key '{where}.segment' must be [start, end] in seconds, got {segment!r}")
    start, end = (_number(value, f"{where}.segment") for value in segment)
    if not 0 <= start <= end:
        raise ValueError(f"key '{where}.segment' must have 0 <= start <= end, got [{start:g}, {end:g}]")
    if duration is not None and start > duration:
        raise ValueError(f"key '{where}.segment' starts at {start:g} s, after the video's end at {duration:g} s")
    return Instance(item["label"], (start, end))


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"key '{key}' must be a number, got {value!r}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"key '{key}' must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"key '{key}' must be finite, got {value!r}")
    return number
