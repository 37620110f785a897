"""Predictions on disk: what the trained models say of a subset, so that localization can be repeated without them.

One HDF5 file, `/VIDEO/STREAM/{attention,response,class_scores}` in float32, with `intervals` and `assemblies` where
there are some. Its `key` says what it was made with; with another key the file is stale. It is written and read video
by video, so that memory does not grow with their number.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from wtal_core.contracts import Assemblies, Intervals
from wtal_core.errors import RunError, one_line
from wtal_core.files import replacing
from wtal_core.prediction.predict import StreamPrediction

#: What is kept in memory of a file at most, in bytes, the videos that were read first: a sweep goes through them all
#: for each of its points. The others are read each time.
KEPT = 2**28
#: What HDF5 may still hold of what it was given, in bytes; more than its cache of metadata is at first.
ROOM = 2**23


def save_predictions(
    path: Path, key: str, streams: Sequence[str], predictions: Iterable[tuple[str, Sequence[StreamPrediction]]]
) -> None:
    """Write the predictions of a subset's videos, by name and one per stream, each when it comes."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["key"] = key
        for name, of_video in predictions:
            _require_room(temporary.parent, sum(map(_size, of_video)))
            for stream, prediction in zip(streams, of_video, strict=True):
                _write_prediction(file.create_group(f"{name}/{stream}"), prediction)


def _require_room(folder: Path, size: int) -> None:
    """Stop before the disk is full: HDF5 cannot close a file that it cannot write, and may take the process with it.

    Raises:
        OSError: there is no room for so many bytes, and what HDF5 has not written yet.
    """
    if shutil.disk_usage(folder).free < size + ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class StoredPredictions(Mapping[str, list[StreamPrediction]]):
    """What a file says of each video, one per stream, in float64. A video is read when it is asked for."""

    def __init__(self, path: Path, key: str, streams: Sequence[str], videos: Sequence[str]) -> None:
        self._path, self._key, self._streams = path, key, streams
        self._kept: dict[str, list[StreamPrediction] | None] = dict.fromkeys(videos)
        self._room = KEPT

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, name: str) -> list[StreamPrediction]:
        """The predictions of a video.

        Raises:
            RunError: the file is no longer what it was.
        """
        kept = self._kept[name]
        if kept is not None:
            return kept
        of_video = self._read(name)
        size = sum(map(_size, of_video))
        if size <= self._room:
            self._room -= size
            self._kept[name] = of_video
        return of_video

    def _read(self, name: str) -> list[StreamPrediction]:
        try:
            with h5py.File(self._path, "r") as file:  # not kept open: it may be replaced meanwhile
                if file.attrs.get("key") == self._key:
                    return [_read(file[f"{name}/{stream}"]) for stream in self._streams]
            reason = "another process has written it anew"
        except Exception as error:  # HDF5 has an error of its own for each place that can be spoilt
            reason = one_line(error)
        raise RunError(f"{self._path}: cannot read what was predicted of video {name!r}: {reason}; start again")


def load_predictions(path: Path, key: str, streams: Sequence[str], videos: Sequence[str]) -> StoredPredictions | None:
    """The predictions in a file, or None where there is none, or a stale or a spoilt one."""
    stored = StoredPredictions(path, key, streams, videos)
    try:
        for name in stored:
            stored[name]
    except RunError:  # all are made again
        return None
    return stored


def _size(prediction: StreamPrediction) -> int:
    """In bytes."""
    arrays = [*prediction[:3], *(prediction.intervals or ()), *(prediction.assemblies or ())]
    return sum(array.nbytes for array in arrays)


def _write_prediction(group: h5py.Group, prediction: StreamPrediction) -> None:
    for part in StreamPrediction._fields[:3]:
        _write(group, part, getattr(prediction, part))
    for part in ("intervals", "assemblies"):
        for field, array in ({} if (some := getattr(prediction, part)) is None else some._asdict()).items():
            _write(group, f"{part}/{field}", array)


def _write(group: h5py.Group, name: str, array: np.ndarray) -> None:
    # An attention that is the same for every class packs to the size of one.
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.size else {}
    kept = array if array.dtype.kind == "i" else array.astype(np.float32)
    group.create_dataset(name, data=kept, **packed)


def _read(group: h5py.Group) -> StreamPrediction:
    attention, response, class_scores = (group[part][()].astype(np.float64) for part in StreamPrediction._fields[:3])
    if not (attention.ndim == 2 and response.shape == attention.shape and class_scores.shape == attention.shape[:1]):
        raise ValueError("arrays that do not fit each other")
    if not np.isfinite(class_scores).all():  # activations that are not finite are the proposer's to name
        raise ValueError("scores that are not finite")
    intervals, assemblies = None, None
    if "intervals" in group:
        label, *times = (group[f"intervals/{field}"][()] for field in Intervals._fields)
        intervals = Intervals(label.astype(np.int64), *(array.astype(np.float64) for array in times))
    if "assemblies" in group:
        assemblies = Assemblies(*(group[f"assemblies/{field}"][()].astype(np.float64) for field in Assemblies._fields))
    return StreamPrediction(attention, response, class_scores, intervals, assemblies)
