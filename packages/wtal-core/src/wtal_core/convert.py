"""Convert features in any layout to one HDF5 file that the reader `hdf5` reads, `/VIDEO/STREAM`, each with a digest.

The file is written under the name `OUT.unfinished` and gets its own when every array has been read back and is what was
written. A conversion that was killed goes on: arrays that are there and have their digest are skipped, and if the
killed process left no readable file, all are written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from wtal_core.builtin.arrays import DIGEST, digest
from wtal_core.errors import DataError, RunError, one_line
from wtal_core.kinds.feature_reader import Bound as Store
from wtal_core.progress import Progress, Silent


def convert(
    store: Store,
    streams: Sequence[str],
    out: Path,
    dtype: str = "float32",
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Write the streams of all videos to one file.

    Returns:
        The number of arrays in it, and of those that were there already.

    Raises:
        DataError: features cannot be read, or are too large for the dtype; the message names the video.
        RunError: the file is there already, is another conversion's, or cannot be written.
    """
    progress = progress or Silent()
    unfinished = out.with_name(f"{out.name}.unfinished")
    _require_free(out, unfinished, resume)
    wanted = [(name, stream) for stream in streams for name in _names(store, stream)]
    about = {"dtype": dtype, "streams": ",".join(streams)}
    with _writing(out), _opened(unfinished, about) as file:
        advance = progress.stage("convert", len(wanted))
        kept = 0
        for number, (name, stream) in enumerate(wanted, start=1):
            if _is_whole(file, f"{name}/{stream}"):
                kept += 1
            else:
                _write(file, f"{name}/{stream}", _fitting(store, name, stream, dtype))
            advance(number, name)
    with _writing(out):
        _read_back(unfinished, wanted, progress)
        unfinished.replace(out)
    return len(wanted), kept


def _require_free(out: Path, unfinished: Path, resume: bool) -> None:
    if out.exists():
        raise RunError(f"{out}: is there already, and complete; remove it or choose another name")
    if unfinished.exists() and not resume:
        raise RunError(f"{unfinished}: an unfinished conversion; go on with --resume, or remove it")


def _names(store: Store, stream: str) -> list[str]:
    try:
        return store.names(stream)
    except (OSError, ValueError) as error:
        raise DataError(f"stream {stream!r}: {one_line(error)}") from error


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say of what fails that it is the writing; reading has errors of its own."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises either
        reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise RunError(f"{out}: cannot write: {reason}; what is written is kept, and --resume goes on") from error


@contextmanager
def _opened(path: Path, about: dict[str, str]) -> Iterator[h5py.File]:
    """The unfinished file; a new one where there is none, or none that can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = None
    if path.exists():
        try:
            file = h5py.File(path, "r+")
            before = {key: file.attrs[key] for key in about}
        except (OSError, RuntimeError, KeyError):  # killed while it was written
            if file is not None:
                file.close()
            file = None
        else:
            if before != about:
                file.close()
                told = " and ".join(f"{key} {before[key]}" for key in about if before[key] != about[key])
                raise RunError(
                    f"{path}: an unfinished conversion to other settings, {told}; set the same, or remove it"
                )
    if file is None:
        file = h5py.File(path, "w")
        file.attrs.update(about)
        file.flush()
    with file:
        yield file


def _is_whole(file: h5py.File, place: str) -> bool:
    """Whether an array is there, and is what was written."""
    try:
        dataset = file.get(place)
        return isinstance(dataset, h5py.Dataset) and dataset.attrs.get(DIGEST) == digest(dataset[()])
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return False


def _write(file: h5py.File, place: str, features: NDArray[np.floating]) -> None:
    if place in file:
        del file[place]
    # Contiguous: in chunks of any number of rows, both random rows and whole videos are slower to read
    # (benchmarks/feature_chunks.py).
    dataset = file.create_dataset(place, data=features)
    dataset.attrs[DIGEST] = digest(features)
    file.flush()


def _fitting(store: Store, name: str, stream: str, dtype: str) -> NDArray[np.floating]:
    """The features of a video in a dtype that holds them."""
    try:
        features = store.read(name, stream)
    except (OSError, ValueError) as error:
        raise DataError(
            f"video {name!r}, stream {stream!r}: {one_line(error)}; extract it again or remove it, and go on with "
            "--resume"
        ) from error
    largest = np.finfo(dtype).max
    beyond = np.argwhere(np.isfinite(features) & (np.abs(features.astype(np.float64)) > largest))
    if len(beyond):
        snippet, column = beyond[0]
        advice = "use --dtype float32" if dtype == "float16" else "scale it, or remove it"
        raise DataError(
            f"video {name!r}, stream {stream!r}: {features[snippet, column]:g} at snippet {snippet}, feature {column}, "
            f"is more than {dtype} holds ({largest:g}); {advice}"
        )
    return np.ascontiguousarray(features, dtype=dtype)


def _read_back(path: Path, wanted: Sequence[tuple[str, str]], progress: Progress) -> None:
    """Hold a closed file against its digests, and see that it reaches the disk.

    Raises:
        RunError: an array is not what was written.
    """
    advance = progress.stage("read back", len(wanted))
    with h5py.File(path, "r") as file:
        for number, (name, stream) in enumerate(wanted, start=1):
            if not _is_whole(file, f"{name}/{stream}"):
                raise RunError(
                    f"{path}: video {name!r}, stream {stream!r}: what is read back is not what was written; check the "
                    "disk, and go on with --resume"
                )
            advance(number, name)
    with path.open("rb+") as content:
        os.fsync(content.fileno())
