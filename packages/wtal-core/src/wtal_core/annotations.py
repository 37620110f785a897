"""Annotations in ActivityNet's JSON format: which videos there are, their subsets, durations, labels and segments.

    {"database": {"video_1": {"subset": "training", "duration": 83.5,
                              "annotations": [{"label": "HighJump", "segment": [12.0, 15.5]}]}}}

Training needs labels alone, so an annotation may lack its `segment`. Segments may be numbers or strings of numbers, as
public files have both; keys that we do not use (url, resolution, taxonomy) are ignored. Names of videos, subsets and
classes are in normal form from here on (`names`). An instance labelled `Ambiguous` is one of no class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wtal_core.errors import TOLD, DataError, Problems, WtalError, abridged, did_you_mean, nearest
from wtal_core.names import AMBIGUOUS, misplaced, normal
from wtal_core.text import Constant, constant_in, read_json


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
        return frozenset(instance.label for instance in self.instances) - {AMBIGUOUS}


def read_annotations(
    path: Path, exclude: Collection[str] = (), subsets: Collection[str] | None = None
) -> dict[str, Video]:
    """Read the videos of an annotation file, in the order of the file, but for those to `exclude`.

    Args:
        path: the file.
        exclude: names of videos to leave out.
        subsets: which ones are wanted, as `select_subset`; all by default. What the videos of others hold need not be
            complete, and is not read.

    Raises:
        DataError: the file cannot be read or is no JSON, or has a key twice.
        Problems: entries are malformed; they are listed, each with file, video and key.
    """
    try:
        content = read_json(path, constant=Constant)
    except OSError as error:
        raise DataError(f"{path}: cannot read annotations: {error.strerror}") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(
            f"{path}: no object under the key 'database'; is this an annotation file in ActivityNet's format?"
        )
    excluded = {normal(name): name for name in exclude}
    wanted = None if subsets is None else {name for subset in subsets for name in _alike(subset, _subsets(database))}
    videos: dict[str, Video] = {}
    spelt: dict[str, str] = {}  # the names as the file has them
    problems: list[WtalError] = []
    for given, entry in database.items():
        name = normal(given)
        if name in spelt:
            problems.append(
                DataError(
                    f"{path}: videos {spelt[name]!a} and {given!a} have the same name, for names are compared in "
                    "Unicode's form NFC and without white space around them; rename or remove one"
                )
            )
            continue
        spelt[name] = given
        if name in excluded:
            continue
        try:
            videos[name] = _video(name, entry, wanted)
        except ValueError as error:
            problems.append(DataError(f"{path}: video {given!r}: {error}"))
    unknown = [given for name, given in excluded.items() if name not in spelt]
    problems = [*_unknown_exclusions(path, unknown, list(spelt)), *abridged(problems, f"malformed entries of {path}")]
    if problems:
        raise Problems(problems)
    if (place := constant_in(content)) is not None:  # nowhere that is read, but such a file is read by few others
        raise DataError(f"{path}: {place} is NaN or an infinity, which JSON does not have; give a number or null")
    return videos


def select_subset(videos: Mapping[str, Video], subset: str, path: Path) -> list[Video]:
    """The videos of one subset, sorted by name: the subset of that name, else the only one that differs in case.

    Raises:
        DataError: no video is in the subset, or several differ in case; the message lists the subsets that exist.
    """
    present = {video.subset for video in videos.values()}
    alike = _alike(subset, present)
    if not alike:
        raise DataError(f"{path}: no video in subset {subset!r}; {did_you_mean(normal(subset), list(present))}")
    if len(alike) > 1:
        raise DataError(f"{path}: subset {subset!r} may be {' or '.join(map(repr, alike))}; name it as the file does")
    return sorted((video for video in videos.values() if video.subset == alike[0]), key=lambda video: video.name)


def _alike(subset: str, present: Collection[str]) -> list[str]:
    """The subset of this name, else all that differ from it in case."""
    name = normal(subset)
    return [name] if name in present else sorted(other for other in present if other.casefold() == name.casefold())


def _subsets(database: Mapping[str, Any]) -> set[str]:
    subsets = (entry.get("subset") for entry in database.values() if isinstance(entry, dict))
    return {normal(subset) for subset in subsets if isinstance(subset, str)}


def _unknown_exclusions(path: Path, unknown: list[str], names: list[str]) -> Iterator[WtalError]:
    """What data.exclude names and the file lacks. Similar names are looked for only as often as they are told."""
    yield from abridged(
        (
            DataError(
                f"{path}: no video {name!r}, which data.exclude names"
                + (f"; {near}" if number < TOLD and (near := nearest(name, names)) else "")
            )
            for number, name in enumerate(unknown)
        ),
        "names in data.exclude of no video",
    )


def _video(name: str, entry: Any, wanted: Collection[str] | None) -> Video:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {type(entry).__name__}")
    subset = entry.get("subset")
    if not isinstance(subset, str):
        raise ValueError(f"key 'subset' must be a string, got {_shown(subset)}")
    subset = normal(subset)
    if wanted is not None and subset not in wanted:
        return Video(name, subset, None, ())
    if misplaced(name):
        raise ValueError(
            "features are looked for by this name, so it must be a path within a folder: without '.', '..', an empty "
            "part or a control character; rename the video"
        )
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
    label = normal(item["label"])
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
