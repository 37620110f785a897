"""The intervals of a data set as columns: gathered per video, checked once, then worked on as whole arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class InputError(ValueError):
    """Input that cannot be evaluated; the message says where, why and what to do."""


AMBIGUOUS = -1
"""Label of a ground-truth interval that is no instance: protocols that know such intervals forgive detections there."""


class SegmentsLike(Protocol):
    """The annotated intervals of one video."""

    @property
    def label(self) -> IntArray:
        """Class index (N,), or AMBIGUOUS."""

    @property
    def start(self) -> FloatArray:
        """Time (N,), in any one unit."""

    @property
    def end(self) -> FloatArray:
        """Time (N,), at least `start`."""


class DetectionsLike(SegmentsLike, Protocol):
    """The detected intervals of one video."""

    @property
    def score(self) -> FloatArray:
        """Score (N,), higher is surer."""


class Segments(NamedTuple):
    """The annotated intervals of one video: label (N,), start (N,) and end (N,), in any one unit of time."""

    label: IntArray
    start: FloatArray
    end: FloatArray


class Detections(NamedTuple):
    """The detected intervals of one video: label (N,), start (N,), end (N,) and score (N,), higher is surer."""

    label: IntArray
    start: FloatArray
    end: FloatArray
    score: FloatArray


class Columns(NamedTuple):
    """The intervals of all videos, one row each; `video` indexes the sorted names of the videos."""

    video: IntArray
    label: IntArray
    start: FloatArray
    end: FloatArray
    score: FloatArray  # zeros for ground truth

    def take(self, rows: IntArray | BoolArray) -> Columns:
        """The chosen rows."""
        return Columns(self.video[rows], self.label[rows], self.start[rows], self.end[rows], self.score[rows])


def columns_of_segments(videos: Mapping[str, SegmentsLike], names: Sequence[str], classes: int) -> Columns:
    """Gather ground truth of the videos among `names`, labels in [AMBIGUOUS, classes).

    Raises:
        TypeError, InputError: as `columns_of_detections`.
    """
    return _columns(videos, None, names, "ground truth", AMBIGUOUS, classes)


def columns_of_detections(videos: Mapping[str, DetectionsLike], names: Sequence[str], classes: int) -> Columns:
    """Gather the detections of the videos among `names`, labels in [0, classes).

    Raises:
        TypeError: If labels are not integers, or times and scores not numbers.
        InputError: If arrays differ in length, a label is out of range, an interval ends before it starts, or a time or
            a score is not finite. The message names the video.
    """
    scores = {name: video.score for name, video in videos.items()}
    return _columns(videos, scores, names, "detections", 0, classes)


def _columns(
    videos: Mapping[str, SegmentsLike],
    scores: Mapping[str, FloatArray] | None,
    names: Sequence[str],
    kind: str,
    least_label: int,
    classes: int,
) -> Columns:
    indices = []
    parts = []
    for i, name in enumerate(names):
        if (video := videos.get(name)) is None:
            continue
        part = tuple(map(np.asarray, (video.label, video.start, video.end)))
        if scores is not None:
            part = (*part, np.asarray(scores[name]))
        where = f"{kind} of video {name!r}"
        _check_arrays(part, where)
        if part[0].dtype.kind == "u" and part[0].max(initial=0) >= classes:  # before the cast, which may wrap
            raise InputError(f"{where}: label {part[0].max()} is not in [{least_label}, {classes})")
        indices.append(i)
        parts.append((part[0].astype(np.int64, copy=False), *part[1:]))
    label, *times = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (np.empty(0),) * 3
    start, end, *score = (column.astype(np.float64, copy=False) for column in times)
    columns = Columns(
        np.repeat(np.array(indices, np.int64), [part[0].size for part in parts]),
        label.astype(np.int64, copy=False),
        start,
        end,
        score[0] if score else np.zeros(start.size),
    )
    _check_values(columns, names, kind, least_label, classes)
    return columns


def _check_arrays(arrays: tuple[NDArray[np.generic], ...], where: str) -> None:
    if arrays[0].ndim != 1 or any(array.shape != arrays[0].shape for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InputError(f"{where}: arrays must be one-dimensional and equally long, not {shapes}")
    if not arrays[0].size:
        return  # an empty list becomes an array of floats, and means no harm
    if arrays[0].dtype.kind not in "iu":
        raise TypeError(f"{where}: label must hold class indices, not {arrays[0].dtype}")
    for field, array in zip(("start", "end", "score"), arrays[1:], strict=False):
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{where}: {field} must hold numbers, not {array.dtype}")


def _check_values(columns: Columns, names: Sequence[str], kind: str, least_label: int, classes: int) -> None:
    def demand(good: BoolArray, complaint: str) -> None:
        if not good.all():
            row = int(np.argmin(good))
            values = {field: getattr(columns, field)[row] for field in Columns._fields}
            raise InputError(f"{kind} of video {names[columns.video[row]]!r}: {complaint.format(**values)}")

    in_range = (columns.label >= least_label) & (columns.label < classes)
    demand(in_range, f"label {{label}} is not in [{least_label}, {classes})")
    demand(np.isfinite(columns.start), "start {start} is not finite")
    demand(np.isfinite(columns.end), "end {end} is not finite")
    demand(np.isfinite(columns.score), "score {score} is not finite")
    demand(columns.start <= columns.end, "interval [{start}, {end}] ends before it starts")
