"""Annotations in tables with a header, parted by commas, tabs or semicolons: a row for each instance.

    video,label,start,end            filename  onset  offset  event_label            video,label
    monday,HighJump,12.0,15.5        a.wav     0.5    1.25    Dog                    monday,HighJump

Without columns of start and end only labels are known. A row without label is a video in which nothing happens. The
subset is what the column `subset` says; without one it is the end of the file's name: `jumps_training.csv` and
`training.tsv` are of the subset `training`. The path may be a folder, whose tables are read together.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wtal_core.builtin.entries import interval, only_subset, positive
from wtal_core.contracts import Instance, Video
from wtal_core.text import read_text

#: The names under which each column is read, besides its own: those of public files. `_` and a space are as `-`.
COLUMNS = {
    "video": ("video-id", "video-name", "videoname", "vid", "filename", "file", "file-name", "name"),
    "label": ("class", "event-label", "action", "activity", "category", "type", "event", "label-name", "class-name"),
    "labels": ("event-labels", "classes"),  # several in a cell, parted by commas
    "start": ("onset", "t-start", "begin", "start-time", "start-seconds", "start-s"),
    "end": ("offset", "t-end", "stop", "end-time", "end-seconds", "end-s"),
    "subset": ("split", "set", "partition"),
    "duration": ("duration-second", "duration-seconds", "duration-s"),
    "fps": ("frames-per-second", "frame-rate"),
}
SUFFIXES = (".csv", ".tsv")


class Row(NamedTuple):
    """A row by column, and its place."""

    where: str
    cells: dict[str, str]


class Table:
    """A table of instances, `video,label,start,end`, or a folder of such tables; columns may have other usual names.

    Raises:
        OSError: a file cannot be read.
        DataError: it is no text in UTF-8.
        ValueError: it has no header with the columns, or a row has another number of fields; with file and line.
    """

    def __init__(self, path: Path) -> None:
        files = table_files(path) if path.is_dir() else [path]
        if not files:
            raise ValueError(f"{path}: a folder without a table, a {' or '.join(SUFFIXES)} file")
        self._rows: dict[str, list[Row]] = {}
        self._read_as: dict[str, None] = {}
        for file in files:
            for row in self._rows_of(file):
                self._rows.setdefault(row.cells["video"], []).append(row)

    @property
    def found(self) -> str:
        """What was read as what."""
        return ", ".join(["a table", *self._read_as])

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()

    def names(self) -> list[str]:
        """The videos, in the order of the rows."""
        return list(self._rows)

    def subset(self, name: str) -> str:
        """The subset of a video; raises as `video`."""
        return only_subset((row.cells["subset"], row.where) for row in self._rows[name])

    def frames_per_second(self, name: str) -> float | None:
        """The rate of frames of a video, if a column has it; raises as `video`."""
        return _only(self._rows[name], "fps")

    def video(self, name: str) -> Video:
        """One video, from all its rows.

        Raises:
            ValueError: a row is malformed, or two of them contradict each other; with the place.
        """
        rows = self._rows[name]
        instances = tuple(instance for row in rows for instance in _instances(row))
        return Video(name, self.subset(name), _only(rows, "duration"), instances)

    def _rows_of(self, file: Path) -> Iterator[Row]:
        try:
            text = read_text(file)
        except OSError as error:
            raise OSError(f"{file}: cannot read annotations: {error.strerror}") from error
        mark = delimiter(text)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        try:
            header = next(rows, [])
            columns = columns_of(header, file)
            named = (f"{header[i]!r} as {column}" for column, i in columns.items() if _plain(header[i]) != column)
            self._read_as |= dict.fromkeys(named)
            if "subset" not in columns:
                self._read_as["its subset by the file's name"] = None
            for cells in rows:
                where = f"{file.name}, line {rows.line_num}"
                if not any(map(str.strip, cells)):
                    continue
                if len(cells) != len(header):
                    raise ValueError(
                        f"{file}: line {rows.line_num}: {len(cells)} fields under a header of {len(header)}"
                    )
                given = {column: cells[i].strip() for column, i in columns.items()}
                yield Row(where, {"subset": subset_of(file)} | given)
        except csv.Error as error:
            raise ValueError(f"{file}: line {rows.line_num}: {error}") from None


def table_files(folder: Path) -> list[Path]:
    """The tables of a folder."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def subset_of(file: Path) -> str:
    """The subset that a file's name tells: what stands after its last `_`, or all of it."""
    return file.stem.rpartition("_")[2]


def delimiter(text: str) -> str:
    """What parts the fields of a header."""
    header = text.partition("\n")[0]
    return next((mark for mark in "\t;" if mark in header), ",")


def columns_of(header: list[str], file: Path) -> dict[str, int]:
    """The place of each column in a header.

    Raises:
        ValueError: one is missing that must be there, or several names could be the same one.
    """
    plain = [_plain(name) for name in header]
    columns = {}
    for column, others in COLUMNS.items():
        found = [i for i, name in enumerate(plain) if name == column] or [
            i for i, name in enumerate(plain) if name in others
        ]
        if len(found) > 1:
            several = " and ".join(repr(header[i]) for i in found)
            raise ValueError(f"{file}: the columns {several} could each be {column}; name one of them {column}")
        if found:
            columns[column] = found[0]
    missing = ["video"] * ("video" not in columns) + ["label"] * ("label" not in columns and "labels" not in columns)
    if ("start" in columns) != ("end" in columns):
        missing.append("end" if "start" in columns else "start")
    if missing:
        wanted = " and ".join(f"{column} (or {', '.join(COLUMNS[column][:3])})" for column in missing)
        raise ValueError(
            f"{file}: line 1: no column {wanted} in the header {','.join(header)[:80]!r}; the first line must name the "
            "columns, such as video,label,start,end"
        )
    return columns


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _instances(row: Row) -> list[Instance]:
    cells = row.cells
    labels = [cells["label"]] if "label" in cells else [label.strip() for label in cells["labels"].split(",")]
    start, end = cells.get("start", ""), cells.get("end", "")
    segment = interval(start, end, f"{row.where}: start and end") if start or end else None
    labels = [label for label in labels if label]
    if segment and not labels:
        raise ValueError(f"{row.where}: an interval without a label; name its class")
    return [Instance(label, segment) for label in labels]


def _only(rows: list[Row], column: str) -> float | None:
    """What the rows of a video say in a column of which they must say the same."""
    values = {
        positive(row.cells[column], f"{row.where}: {column}"): row.where for row in rows if row.cells.get(column, "")
    }
    if len(values) > 1:
        (one, here), (other, there), *_ = values.items()
        raise ValueError(f"{there}: {column} is {other:g}, but {one:g} in {here}; keep one")
    return next(iter(values), None)
