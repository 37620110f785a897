"""Annotations in ActivityNet's JSON format.

    {"database": {"video_1": {"subset": "training", "duration": 83.5,
                              "annotations": [{"label": "HighJump", "segment": [12.0, 15.5]}]}}}

Training needs labels alone, so an annotation may lack its `segment`. Segments may be numbers or strings of numbers, as
public files have both; keys that we do not use (url, resolution, taxonomy) are ignored. ActionFormer and OpenTAD give a
video's `fps` too, and its segments a second time as `segment(frames)`, which are read where `segment` is not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wtal_core.builtin.entries import interval, positive, shown
from wtal_core.contracts import Instance, Video
from wtal_core.text import Constant, constant_in, read_json
from wtal_core.walk import dotted

#: The key of a segment in frames, beside the one in seconds.
FRAMES = "segment(frames)"


class ActivityNet:
    """ActivityNet's JSON, and what follows it: `{"database": {VIDEO: {"subset", "duration", "annotations"}}}`.

    Raises:
        OSError: the file cannot be read.
        DataError: it is no JSON, has a key twice, or no object `database`; with file and place.
    """

    notes: tuple[str, ...] = ()
    found = "ActivityNet's JSON"

    def __init__(self, path: Path) -> None:
        try:
            content = read_json(path, constant=Constant)
        except OSError as error:
            raise OSError(f"{path}: cannot read annotations: {error.strerror}") from error
        database = content.get("database") if isinstance(content, dict) else None
        if not isinstance(database, dict):
            raise ValueError(f"{path}: no object under the key 'database'; {_near(content)}")
        if (constant := constant_in(content)) is not None:  # wherever it is: such a file is read by few others
            raise ValueError(f"{path}: {_told(*constant)}")
        self._database: dict[str, Any] = database

    def names(self) -> list[str]:
        """The videos, in the order of the file."""
        return list(self._database)

    def subset(self, name: str) -> str:
        """The subset of a video; raises as `video`."""
        return _subset(self._database[name])

    def frames_per_second(self, name: str) -> float | None:
        """The rate of frames of a video, if the file has it; raises as `video`."""
        return _rate(self._database[name])

    def video(self, name: str) -> Video:
        """One video.

        Raises:
            ValueError: its entry is malformed; the message begins with the key.
        """
        return _video(name, self._database[name])


def _near(content: Any) -> str:
    """What JSON without a database looks like, and what to do."""
    if isinstance(content, dict) and isinstance(content.get("results"), dict | list):
        return "it has 'results', as detections have; give the file of annotations as data.annotations"
    values = list(content.values()) if isinstance(content, dict) else []
    if values and all(isinstance(one, dict) and ("subset" in one or "annotations" in one) for one in values):
        return 'it looks like the videos alone; write {"database": ...} around them'
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        keys = ", ".join(map(repr, content[0]))
        return f"it looks like a list of instances with the keys {keys}; save it as a table, a .csv file"
    return "is this an annotation file in ActivityNet's format?"


def _subset(entry: Any) -> str:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {type(entry).__name__}")
    subset = entry.get("subset")
    if not isinstance(subset, str):
        raise ValueError(f"key 'subset' must be a string, got {shown(subset)}")
    return subset


def _video(name: str, entry: Any) -> Video:
    subset = _subset(entry)
    fps = _rate(entry)
    duration = entry.get("duration", entry.get("duration_second"))
    duration = None if duration is None else positive(duration, "key 'duration'")
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise ValueError(f"key 'annotations' must be an array, got {type(annotations).__name__}")
    return Video(name, subset, duration, tuple(_instance(i, item, fps) for i, item in enumerate(annotations)))


def _rate(entry: Any) -> float | None:
    fps = entry.get("fps", entry.get("frames_per_second"))
    return None if fps is None else positive(fps, "key 'fps'")


def _instance(index: int, item: Any, fps: float | None) -> Instance:
    where = f"annotations[{index}]"
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        raise ValueError(f"key '{where}.label' must be a string")
    unit, segment = "segment", item.get("segment")
    if segment is None and (segment := item.get(FRAMES)) is not None:
        if fps is None:
            raise ValueError(
                f"key '{where}' has {FRAMES!r} without 'segment', and the video no 'fps' to make it seconds"
            )
        unit = FRAMES
    if segment is None:
        return Instance(item["label"])
    if not isinstance(segment, list) or len(segment) != 2:
        meant = "seconds" if unit == "segment" else "frames"
        raise ValueError(f"key '{where}.{unit}' must be [start, end] in {meant}, got {shown(segment)}")
    start, end = interval(segment[0], segment[1], f"key '{where}.{unit}'")
    return Instance(item["label"], (start / fps, end / fps) if fps and unit == FRAMES else (start, end))


def _told(keys: list[str | int], value: float) -> str:
    """Where NaN or an infinity stands, which JSON does not have and Python writes."""
    inside = keys[0] == "database" and len(keys) > 2
    path = keys[2:] if inside else keys
    if len(path) > 1 and path[-2] == "segment":
        path = path[:-1]
    where = f"video {keys[1]!r}: " if inside else ""
    return f"{where}key '{dotted(path)}' must be finite, got {value}"
