"""Feature readers: where the snippet features of a data set lie on disk. Arrays are read when they are asked for.

A store answers `names`, `shape` and `read` (`kinds.feature_reader.FeatureStore`). What is missing or cannot be opened
raises `OSError` and what is malformed `ValueError`, with the file in the message; the data set adds which video was
wanted.
"""

from __future__ import annotations

import io
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from wtal_core.contracts import IntArray
from wtal_core.data.names import normal
from wtal_core.errors import one_line


class NpyFolder:
    """A folder per stream, a file per video: `PATH/STREAM/VIDEO.npy`, each an array (T, D).

    A video named `jump/v1` lies in a folder `jump` of the stream's. Reading twenty rows of a long video costs twenty
    rows. No file stays open: only what its header says is kept. Pickled arrays are refused.
    """

    def __init__(self, path: Path) -> None:
        if path.is_file():
            raise OSError(f"{path}: a file, but this reader wants a folder; for an HDF5 file set data.reader = 'hdf5'")
        if not path.is_dir():
            raise OSError(f"{path}: no such folder of features")
        self.path = path
        self._arrays: dict[tuple[str, str], _StoredArray] = {}

    def names(self, stream: str) -> list[str]:
        """The videos with a file in the stream's folder or below it."""
        folder = self._folder(stream)
        if not folder.is_dir():
            raise OSError(
                f"{folder}: no such folder; this layout wants one folder per stream, with one .npy file per video"
            )
        return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in _npy_files(folder))

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D) from the file's header."""
        rows, columns = self._array(name, stream).shape
        return rows, columns

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or some of their rows."""
        return self._array(name, stream).read(rows)

    def _array(self, name: str, stream: str) -> _StoredArray:
        array = self._arrays.get((stream, name))
        if array is None:
            array = self._arrays[stream, name] = _StoredArray.find(self._folder(stream) / f"{name}.npy")
        return array

    def _folder(self, stream: str) -> Path:
        """The stream's folder, whichever Unicode form its name has on disk."""
        folder = self.path / stream
        if not folder.exists():
            return next((entry for entry in self.path.iterdir() if normal(entry.name) == normal(stream)), folder)
        return folder


def _npy_files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise _unopened(Path(error.filename), error) from error

    for below, _, files in os.walk(folder, onerror=fail):
        yield from (Path(below, file) for file in files if file.endswith(".npy"))


@dataclass(frozen=True)
class _StoredArray:
    """Where the numbers of a `.npy` file lie. Reads go by the file's name, so that none holds it open."""

    file: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int  # bytes
    by_column: bool  # Fortran's order
    size: int  # bytes of the whole file

    @classmethod
    def find(cls, file: Path) -> _StoredArray:
        """Read the header of a file, which must be an array (T, D) of numbers and whole.

        Raises:
            OSError: it is not there, is no file, or cannot be opened.
            ValueError: it is something else, or truncated.
        """
        try:
            about = file.stat()
            if not stat.S_ISREG(about.st_mode):  # to open a pipe would wait for ever
                raise ValueError("not a file")
            with file.open("rb") as opened:
                first = opened.read(4)
            if first == b"PK\3\4":
                raise ValueError("a zip archive, as .npz and torch files are; save the one array with numpy.save")
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise _unopened(file, error) from error
        except Exception as error:  # numpy's parsers, on whatever bytes
            if "pickle" in str(error) or "Python objects" in str(error):  # numpy takes what it does not know for one
                error = ValueError("not an array of numbers, and pickled objects are never loaded")
            elif "mmap length" in str(error):
                error = ValueError("truncated: it is shorter than its header says")
            raise ValueError(f"{file}: not a readable .npy file: {one_line(error)}") from None
        _require_features(array.shape, array.dtype, str(file))
        return cls(file, array.shape, array.dtype, array.offset, not array.flags.c_contiguous, about.st_size)

    def read(self, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The array, or some of its rows, neighbours in one piece: cheaper than to map the file and unmap it."""
        length, width = self.shape
        try:
            with self.file.open("rb", buffering=0) as opened:
                if os.fstat(opened.fileno()).st_size != self.size:  # then the header that was read says nothing
                    raise self._changed()
                if rows is None or self.by_column:
                    array = np.empty(self.shape, self.dtype, order="F" if self.by_column else "C")
                    self._fill(opened, _bytes(array.T if self.by_column else array), 0)
                    return array if rows is None else array[rows]
                array = np.empty((len(rows), width), self.dtype)
                buffer, size = _bytes(array), width * self.dtype.itemsize
                wanted = np.arange(length)[rows]
                begins = np.flatnonzero(np.diff(wanted, prepend=-2) != 1).tolist()
                for first, last in itertools.pairwise([*begins, len(wanted)]):
                    self._fill(opened, buffer[first * size : last * size], int(wanted[first]) * size)
                return array
        except OSError as error:
            raise _unopened(self.file, error) from error

    def _fill(self, opened: io.FileIO, buffer: memoryview, start: int) -> None:
        opened.seek(self.offset + start)
        count = opened.readinto(buffer)
        while count and count < len(buffer):  # the system reads no more than 2 GiB at once
            buffer = buffer[count:]
            count = opened.readinto(buffer)
        if count < len(buffer):
            raise self._changed()

    def _changed(self) -> ValueError:
        return ValueError(f"{self.file}: the file has changed since it was first read; start again")


def _bytes(array: NDArray[np.generic]) -> memoryview:
    """The memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data


class Hdf5File:
    """One HDF5 file, a group per video, a dataset per stream: `/VIDEO/STREAM`, each (T, D).

    A video named `jump/v1` is a group `v1` in a group `jump`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise OSError(
                f"{path}: a folder, but this reader wants an HDF5 file; for .npy files set data.reader = 'npy'"
            )
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            raise OSError(f"{path}: no such feature file") from None
        except PermissionError as error:
            raise _unopened(path, error) from error
        except OSError as error:
            raise OSError(f"{path}: not a readable HDF5 file: {one_line(error)}") from error

    def names(self, stream: str) -> list[str]:
        """The groups that have a dataset of this stream."""
        return sorted(group for group, members in self._groups.items() if normal(stream) in members)

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D) without reading the array."""
        rows, columns = self._dataset(name, stream).shape
        return rows, columns

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or some of their rows."""
        dataset = self._dataset(name, stream)
        try:
            if rows is None:
                return np.asarray(dataset[()])
            # HDF5 selects rows in increasing order without repeats.
            unique, inverse = np.unique(rows, return_inverse=True)
            return np.asarray(dataset[unique])[inverse]
        except OSError as error:
            raise ValueError(f"{self.path}: cannot read dataset '/{name}/{stream}': {one_line(error)}") from error

    @cached_property
    def _groups(self) -> dict[str, dict[str, str]]:
        """Per group the names of its members, as the file has them, by their normal form."""
        return {
            group: {normal(member): member for member in members}
            for group, members in _members(self._file["/"], "", set())
            if group
        }

    def _dataset(self, name: str, stream: str) -> h5py.Dataset:
        where = f"'/{name}/{stream}'"
        place = f"{name}/{stream}"
        try:
            link = self._file.get(place, getlink=True)
            if link is None and normal(stream) in self._groups.get(name, {}):
                place = f"{name}/{self._groups[name][normal(stream)]}"
            dataset = self._file.get(place)
        except (KeyError, OSError, RuntimeError) as error:  # which h5py raises for whatever the library cannot follow
            raise ValueError(f"{self.path}: {where} cannot be opened: {one_line(error)}") from error
        if dataset is None and link is not None:
            raise FileNotFoundError(f"{self.path}: {where} is a link to what is not there")
        if not isinstance(dataset, h5py.Dataset):
            raise FileNotFoundError(f"{self.path}: no dataset {where}")
        try:
            shape, dtype = dataset.shape, dataset.dtype
        except (TypeError, ValueError, RuntimeError) as error:  # a type that numpy has not
            raise ValueError(f"{self.path}: dataset {where}: expected numbers: {one_line(error)}") from error
        if shape is None:
            raise ValueError(f"{self.path}: dataset {where}: it is null, and holds no features")
        _require_features(shape, dtype, f"{self.path}: dataset {where}")
        return dataset


def _members(group: h5py.Group, name: str, above: set[object]) -> Iterator[tuple[str, list[str]]]:
    """Each group below one, with its members' names. Links are followed, but not into the groups that lead there."""
    members, above = list(group), above | {group.id}
    yield name, members
    for member in members:
        try:
            if group.get(member, getclass=True) is not h5py.Group:
                continue
            below = group[member]
        except (KeyError, OSError, RuntimeError):  # a broken link
            continue
        if below.id not in above:
            yield from _members(below, f"{name}/{member}" if name else member, above)


def _require_features(shape: tuple[int, ...], dtype: np.dtype[np.generic], where: str) -> None:
    if len(shape) != 2:
        raise ValueError(f"{where}: expected features of shape (T, D), got shape {tuple(shape)}")
    if dtype.kind not in "fiu":
        raise ValueError(f"{where}: expected numbers, got dtype {dtype}")


def _unopened(path: Path, error: OSError) -> OSError:
    """The error that says which file cannot be opened, and why."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{path}: no such feature file")
    return OSError(f"{path}: cannot be opened: {error.strerror}")
