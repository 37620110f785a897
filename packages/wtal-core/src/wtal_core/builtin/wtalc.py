"""W-TALC's sidecars: a folder of `.npy` files that hold, video by video, name, subset, duration, labels and segments.

`labels.npy` and `segments.npy` are pickled lists, because videos have different numbers of instances; they are read
only if `allow_pickle` says so, and by a machine that runs no code from a file. `labels_all.npy` has labels of whole
videos: it counts only where `labels.npy` has none, because the two disagree on some of THUMOS14, which a note counts.
The intervals of `Ambiguous_test.txt` are read too, as W-TALC's evaluation does.

`extracted_fps.npy` of the public folder is 10, which is the rate of its UntrimmedNet features; the I3D features beside
it have 25 (`factor` in W-TALC's `detectionMAP.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wtal_core.builtin.entries import interval, positive
from wtal_core.builtin.pickled import load_lists
from wtal_core.contracts import AMBIGUOUS, Instance, Video
from wtal_core.errors import one_line
from wtal_core.text import read_text

VIDEO_NAMES = "videoname.npy"


class WTalc:
    """W-TALC's sidecars: a folder with videoname.npy, subset.npy, labels.npy and, perhaps, segments.npy.

    Args:
        path: the folder.
        allow_pickle: read pickled arrays, by a machine that runs no code from a file.

    Raises:
        OSError: the folder or a file of it cannot be read.
        ValueError: a file is pickled and `allow_pickle` is false, or it does not fit the others; with its path.
    """

    found = "W-TALC's sidecars"

    def __init__(self, path: Path, *, allow_pickle: bool = False) -> None:
        if not path.is_dir():
            raise OSError(f"{path}: no such folder of W-TALC's sidecars")
        self._folder, self._pickles = path, allow_pickle
        names = [_text(name) for name in self._column(VIDEO_NAMES)]
        self._rows: dict[str, int] = {}
        for row, name in enumerate(names):
            if self._rows.setdefault(name, row) != row:
                raise ValueError(
                    f"{path / VIDEO_NAMES}: video {name!r} comes twice, in rows {self._rows[name]} and {row}"
                )
        count = len(names)
        self._subsets = [_text(subset) for subset in self._column("subset.npy", count)]
        self._labels = self._column("labels.npy", count)
        self._whole = self._column("labels_all.npy", count) if (path / "labels_all.npy").exists() else [[]] * count
        self._segments = self._column("segments.npy", count) if (path / "segments.npy").exists() else None
        self._durations = self._numbers("duration.npy", count)
        self._rates = self._numbers("extracted_fps.npy", count)
        self._ambiguous = self._read_ambiguous()

    @property
    def notes(self) -> tuple[str, ...]:
        """In how many videos the two files of labels disagree."""
        other = [name for name, row in self._rows.items() if self._disagree(row)]
        if not other:
            return ()
        which = f"video {other[0]!r} has" if len(other) == 1 else f"{len(other)} videos, such as {other[0]!r}, have"
        return (f"{which} other labels in labels_all.npy than in labels.npy, which counts",)

    def _disagree(self, row: int) -> bool:
        own, whole = set(map(_text, self._labels[row])), set(map(_text, self._whole[row]))
        return bool(own and whole) and own != whole

    def names(self) -> list[str]:
        """The videos, in the order of the files."""
        return list(self._rows)

    def subset(self, name: str) -> str:
        """The subset of a video."""
        return self._subsets[self._rows[name]]

    def frames_per_second(self, name: str) -> float | None:
        """What extracted_fps.npy says of a video, if it is there; raises as `video`."""
        return None if self._rates is None else positive(self._rates[self._rows[name]], "extracted_fps.npy")

    def video(self, name: str) -> Video:
        """One video.

        Raises:
            ValueError: its entries do not fit each other; with the file.
        """
        row = self._rows[name]
        labels = [_text(label) for label in self._labels[row]]
        if self._segments is None or not labels:
            instances = [Instance(label) for label in labels or map(_text, self._whole[row])]
        else:
            segments = self._segments[row]
            if len(segments) != len(labels):
                raise ValueError(f"{len(labels)} labels in labels.npy, but {len(segments)} segments in segments.npy")
            instances = [Instance(label, _segment(one)) for label, one in zip(labels, segments, strict=True)]
        instances += [Instance(AMBIGUOUS, interval(*one)) for one in self._ambiguous.get(name, [])]
        duration = None if self._durations is None else positive(self._durations[row], "duration.npy")
        return Video(name, self._subsets[row], duration, tuple(instances))

    def _numbers(self, name: str, count: int) -> list[float] | None:
        if not (self._folder / name).exists():
            return None
        values = self._column(name, count)
        try:
            return [float(np.asarray(value).reshape(())) for value in values]  # duration.npy has shape (videos, 1)
        except (TypeError, ValueError):
            raise ValueError(f"{self._folder / name}: expected a number for each video") from None

    def _column(self, name: str, count: int | None = None) -> list[Any]:
        """The values of a file, one for each of `count` videos."""
        file = self._folder / name
        try:
            values = list(np.load(file, allow_pickle=False))
        except OSError as error:
            raise OSError(f"{file}: cannot read annotations: {error.strerror or one_line(error)}") from error
        except Exception as error:  # numpy's parsers, on whatever bytes
            if "Object arrays" not in str(error):
                told = (
                    "no array of numpy's" if "pickled" in str(error) else one_line(error)
                )  # numpy's guess at any bytes
                raise ValueError(f"{file}: not a readable .npy file: {told}") from None
            if not self._pickles:
                raise ValueError(
                    f"{file}: a pickled array, which is not read unless data.annotation_reader = {{ name = 'wtalc', "
                    "allow_pickle = true }; no code in it is run then either"
                ) from None
            values = load_lists(file)
        if count is not None and len(values) != count:
            raise ValueError(f"{file}: {len(values)} entries, but {VIDEO_NAMES} names {count} videos")
        return values

    def _read_ambiguous(self) -> dict[str, list[tuple[str, str, str]]]:
        found: dict[str, list[tuple[str, str, str]]] = {}
        for file in sorted(self._folder.glob(f"{AMBIGUOUS}_*.txt")):
            for number, line in enumerate(read_text(file).splitlines(), start=1):
                fields = line.split()
                if len(fields) not in (0, 3):
                    raise ValueError(
                        f"{file}: line {number}: {line.strip()!r} does not have the form 'video start end'"
                    )
                if fields:
                    found.setdefault(fields[0], []).append((fields[1], fields[2], f"{file.name}, line {number}"))
        return found


def _segment(given: Any) -> tuple[float, float]:
    if (
        not isinstance(given, list | tuple)
        or len(given) != 2
        or not all(isinstance(one, str | int | float) for one in given)
    ):
        raise ValueError("segments.npy must have [start, end] in seconds for each label")
    return interval(given[0], given[1], "segments.npy")


def _text(given: Any) -> str:
    """A name, which W-TALC's files have as bytes.

    Raises:
        ValueError: it is none.
    """
    if isinstance(given, bytes):  # numpy's are such
        return given.decode()
    if isinstance(given, str):
        return str(given)
    raise ValueError(f"expected the name of a video, a subset or a class, got a {type(given).__name__}")
