"""Tables with a header: `video,label,start,end` and, for detections, `score`; for ground truth, perhaps `subset`.

Columns may come in any order, and others are ignored. A ground-truth row without label names a video without instances.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from ..dataset import DetectionSet, GroundTruth, choose_subset, ground_truth_by_name, subset_notes
from ..intervals import Detections, InputError
from ..names import Spellings
from ..text import finite, read_text

COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "video": (("video-name", "video_name", "video-id", "video_id"), ("name", "vid", "file", "filename", "clip")),
    "label": ((), ("class", "category", "action", "activity", "label-name", "class-name")),
    "start": (("t-start", "t_start"), ("begin", "from", "start-time", "start-frame", "s")),
    "end": (("t-end", "t_end"), ("stop", "to", "end-time", "end-frame", "e")),
    "score": ((), ("confidence", "conf", "probability", "prob")),
    "subset": ((), ("split", "set", "partition")),
}
"""Per column, the other names under which it is read (those of ActivityNet's and RefineLoc's scripts), and names that
only look like it, to be pointed at where it is missing."""


class _Table:
    """The rows of a file by column, each after its place, and notes on how it was read."""

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        self._path = path
        self._reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        header = next(self._lines(), [])
        self.notes: tuple[str, ...] = ()
        self._header_size = len(header)
        self._columns = {}
        for column, (aliases, _) in COLUMNS.items():
            found = [i for i, name in enumerate(header) if name == column]
            found = found or [i for i, name in enumerate(header) if name.strip().lower() in (column, *aliases)]
            if len(found) > 1 and column in (*wanted, "subset"):
                several = " and ".join(repr(header[i]) for i in found)
                raise InputError(f"{path}: the columns {several} could each be {column}: name the others otherwise")
            if found:
                self._columns[column] = found[0]
        if missing := [column for column in wanted if column not in self._columns]:
            raise InputError(
                f"{path}: no column {', '.join(missing)} in the header {','.join(header)!r}{_likely(missing, header)}"
            )
        renamed = [
            f"`{header[i]}` as `{column}`"
            for column, i in self._columns.items()
            if header[i] != column and column in (*wanted, "subset")
        ]
        if renamed:
            self.notes = (f"read {', '.join(renamed)}",)

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        for row in self._lines():
            where = f"{self._path}, line {self._reader.line_num}"
            if not row:
                continue
            if len(row) != self._header_size:
                raise InputError(f"{where}: {len(row)} fields under a header of {self._header_size}")
            yield where, {column: row[i] for column, i in self._columns.items()}

    def _lines(self) -> Iterator[list[str]]:
        try:
            yield from self._reader
        except csv.Error as error:
            raise InputError(f"{self._path}, line {self._reader.line_num}: {error}") from None


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read one subset of a table; see `wtal_eval.read_ground_truth`."""
    subset_of: dict[str, str] = {}
    rows_of: dict[str, list[tuple[str, dict[str, str]]]] = {}
    names, subsets = Spellings("video", "videos"), Spellings("subset", "subsets")
    table = _Table(path, ("video", "label", "start", "end"))
    for where, row in table:
        video, of = names[row["video"]], subsets[row.get("subset", "")]
        if subset_of.setdefault(video, of) != of:
            raise InputError(f"{where}: video {video!r} is in subset {of!r} and in {subset_of[video]!r}")
        rows_of.setdefault(video, []).append((where, row))
    sizes = Counter(subset_of.values())
    chosen = choose_subset(sizes, subset, str(path))
    videos = {}
    for video, rows in rows_of.items():
        if subset_of[video] == chosen:
            labels: list[str] = []
            starts: list[float] = []
            ends: list[float] = []
            for where, row in rows:
                if row["label"].strip():
                    labels.append(row["label"])
                    starts.append(_number(row, "start", where))
                    ends.append(_number(row, "end", where))
                elif row["start"].strip() or row["end"].strip():
                    raise InputError(f"{where}: an interval of video {video!r} without label: name its class")
            videos[video] = (labels, starts, ends)
    notes = (*table.notes, *subset_notes(sizes, chosen), *names.notes(), *subsets.notes())
    return ground_truth_by_name(videos, notes)


def read_detections(path: Path) -> DetectionSet:
    """Read a table of detections; see `wtal_eval.read_detections`."""
    labels: dict[str, int] = {}
    videos: dict[str, list[tuple[int, float, float, float]]] = {}
    names, classes = Spellings("video", "videos"), Spellings("label", "labels")
    table = _Table(path, ("video", "label", "start", "end", "score"))
    for where, row in table:
        label = labels.setdefault(classes[row["label"]], len(labels))
        numbers = (_number(row, "start", where), _number(row, "end", where), _number(row, "score", where))
        videos.setdefault(names[row["video"]], []).append((label, *numbers))
    columns = {}
    for video, rows in videos.items():
        index, starts, ends, scores = zip(*rows, strict=True)
        columns[video] = Detections(np.array(index, np.int64), np.array(starts), np.array(ends), np.array(scores))
    return DetectionSet(columns, tuple(labels), (*table.notes, *names.notes(), *classes.notes()))


def _likely(missing: Sequence[str], header: Sequence[str]) -> str:
    """What the missing columns may be called in the header, and what to do."""
    if len(header) == 1 and (marks := [mark for mark in ";\t|" if mark in header[0]]):
        return f"; it is parted by {marks[0]!r}: part it by commas"
    hints = []
    for column in missing:
        names = {name: name.strip().lower().replace("_", "-").replace(" ", "-") for name in header}
        known = (column, *COLUMNS[column][0], *COLUMNS[column][1])
        like = [name for name, plain in names.items() if plain in known or get_close_matches(plain, known, 1, 0.75)]
        if like:
            hints.append(f"{like[0]!r} looks like {column}: call it {column}")
    return "".join(f"; {hint}" for hint in hints)


def _number(row: dict[str, str], field: str, where: str) -> float:
    try:
        return finite(row[field])
    except ValueError as error:
        raise InputError(f"{where}: {field} {error}") from None
