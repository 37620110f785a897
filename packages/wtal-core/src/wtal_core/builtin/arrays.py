"""Arrays of features as files hold them: shape and dtype from the header, rows when they are asked for.

What is missing or cannot be opened raises `OSError` and what is malformed `ValueError`, with the file in the message.
An array (1, T, D) is taken for (T, D).
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from wtal_core.contracts import IntArray
from wtal_core.errors import one_line

#: The attribute of a dataset that holds its digest, where `wtal convert` wrote it.
DIGEST = "sha256"


def digest(array: NDArray[np.generic]) -> str:
    """SHA-256 of an array's bytes, row by row, as stored."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


class StoredArray(Protocol):
    """The features of one video."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, D)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""

    def read(self, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The array, or some of its rows, in any order and repeated if asked to."""


@dataclass(frozen=True)
class PlainArray:
    """Numbers that lie in a file one after the other, as in `.npy`. Reads open it by its name, and close it."""

    file: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int  # bytes
    by_column: bool  # Fortran's order
    size: int  # bytes of the whole file

    @classmethod
    def find(cls, file: Path) -> PlainArray:
        """Read the header of a `.npy` file, which must be an array (T, D) of numbers and whole.

        Raises:
            OSError: it is not there, is no file, or cannot be opened.
            ValueError: it is something else, or truncated.
        """
        array = cls.of_any_shape(file)
        return replace(array, shape=require_features(array.shape, array.dtype, str(file)))

    @classmethod
    def of_any_shape(cls, file: Path) -> PlainArray:
        """As `find`, of whatever shape and dtype."""
        try:
            about = regular(file)
            with file.open("rb") as opened:
                first = opened.read(4)
            if first == b"PK\3\4":
                raise ValueError("a zip archive, as .npz and torch files are; save the one array with numpy.save")
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise unopened(file, error) from error
        except Exception as error:  # numpy's parsers, on whatever bytes
            if "pickle" in str(error) or "Python objects" in str(error):  # numpy takes what it does not know for one
                error = ValueError("not an array of numbers, and pickled objects are never loaded")
            elif "mmap length" in str(error):
                error = ValueError("truncated: it is shorter than its header says")
            raise ValueError(f"{file}: not a readable .npy file: {one_line(error)}") from None
        return cls(file, array.shape, array.dtype, array.offset, not array.flags.c_contiguous, about.st_size)

    def part(self, number: int) -> PlainArray:
        """The array (T, D) of one video, of an array (N, T, D)."""
        _, length, width = self.shape
        return replace(self, shape=(length, width), offset=self.offset + number * length * width * self.dtype.itemsize)

    def read(self, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The array, or some of its rows: to read each is cheaper than to map the file and unmap it."""
        length, width = self.shape
        try:
            opened = os.open(self.file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                if os.fstat(opened).st_size != self.size:  # then the header that was read says nothing
                    raise self._changed()
                if rows is None or self.by_column:
                    array = np.empty(self.shape, self.dtype, order="F" if self.by_column else "C")
                    self._fill(opened, _bytes(array.T if self.by_column else array), 0)
                    return array if rows is None else array[rows]
                array = np.empty((len(rows), width), self.dtype)
                buffer, size = _bytes(array), width * self.dtype.itemsize
                for number, row in enumerate(np.arange(length)[rows].tolist()):
                    self._fill(opened, buffer[number * size : (number + 1) * size], row * size)
                return array
            finally:
                os.close(opened)
        except OSError as error:
            raise unopened(self.file, error) from error

    def _fill(self, opened: int, buffer: memoryview, start: int) -> None:
        done = 0
        while done < len(buffer):  # mostly once: the system reads no more than 2 GiB at once
            count = _read_at(opened, buffer[done:], self.offset + start + done)
            if not count:
                raise self._changed()
            done += count

    def _changed(self) -> ValueError:
        return ValueError(f"{self.file}: the file has changed since it was first read; start again")


def _read_at(opened: int, buffer: memoryview, start: int) -> int:
    """Read from a place of an open file; returns how many bytes there were."""
    if hasattr(os, "preadv"):
        return os.preadv(opened, [buffer], start)
    os.lseek(opened, start, os.SEEK_SET)
    content = os.read(opened, len(buffer))
    buffer[: len(content)] = content
    return len(content)


def _bytes(array: NDArray[np.generic]) -> memoryview:
    """The memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data


@dataclass(frozen=True)
class Loaded:
    """An array that can only be read as a whole, and is each time."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    whole: Callable[[], NDArray[np.generic]]

    def read(self, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The array, or some of its rows."""
        array = self.whole().reshape(self.shape)
        return array if rows is None else array[rows]


def npz_members(file: Path) -> list[str]:
    """The names of the arrays of a `.npz` file.

    Raises:
        OSError: it is not there, is no file, or cannot be opened.
        ValueError: it is no zip archive.
    """
    with _archive(file) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def npz_member(file: Path, member: str) -> Loaded:
    """One array of a `.npz` file. Raises as `npz_members` and `PlainArray.find`."""
    where = f"{file}: array {member!r}"

    def whole() -> NDArray[np.generic]:
        with _archive(file) as archive, archive.open(f"{member}.npy") as opened:
            array: NDArray[np.generic] = np.lib.format.read_array(opened, allow_pickle=False)
            return array

    with _archive(file) as archive, archive.open(f"{member}.npy") as opened:
        try:
            shape, _, dtype = npy_header(opened)
        except Exception as error:
            raise ValueError(f"{where}: {one_line(error)}") from None
    return Loaded(require_features(shape, dtype, where), dtype, whole)


class _archive:  # noqa: N801 - used as a function
    """A zip archive, opened; what is wrong with it names the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> zipfile.ZipFile:
        try:
            regular(self.file)
            self._archive = zipfile.ZipFile(self.file)
        except OSError as error:
            raise unopened(self.file, error) from error
        except Exception as error:  # zipfile's parser, on whatever bytes
            raise ValueError(f"{self.file}: not a readable .npz file: {one_line(error)}") from None
        return self._archive

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self._archive.close()
        if isinstance(error, KeyError):
            raise FileNotFoundError(f"{self.file}: no such array in it: {one_line(error)}") from None
        if isinstance(error, Exception) and str(self.file) not in str(error):
            raise ValueError(f"{self.file}: not a readable .npz file: {one_line(error)}") from None


def npy_header(opened: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype of a `.npy` file, which is then where its content begins."""
    version = np.lib.format.read_magic(opened)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(opened)
    return shape, by_column, dtype


def csv_table(file: Path) -> Loaded:
    """A table of numbers, a row a snippet, with commas between.

    The first line is a header if it holds anything but numbers, or counts 0, 1, 2 and so on.

    Raises:
        OSError: it is not there, is no file, or cannot be opened.
        ValueError: it has no row.
    """

    def text() -> list[str]:
        try:
            regular(file)
            return [line for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        except OSError as error:
            raise unopened(file, error) from error
        except ValueError as error:
            raise ValueError(f"{file}: not a readable .csv file: {one_line(error)}") from None

    def whole() -> NDArray[np.float32]:
        try:
            return np.loadtxt(text()[header:], np.float32, delimiter=",", comments=None, ndmin=2).reshape(shape)
        except ValueError as error:
            if str(file) in str(error):
                raise
            raise ValueError(f"{file}: not a table of numbers: {one_line(error)}") from None

    lines = text()
    if not lines:
        raise ValueError(f"{file}: an empty file, and no table of numbers")
    first = lines[0].split(",")
    header = int(_is_header(first))
    shape = (len(lines) - header, len(first))
    return Loaded(shape, np.dtype(np.float32), whole)


def _is_header(cells: list[str]) -> bool:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return True
    return len(cells) > 1 and numbers == list(range(len(cells)))


@dataclass(frozen=True)
class Hdf5Array:
    """A dataset of an HDF5 file."""

    file: h5py.File
    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The array, or some of its rows."""
        dataset = self.file[self.place]
        lead = (0,) * (len(dataset.shape) - 2)
        try:
            if rows is None:
                return np.asarray(dataset[(*lead, slice(None))])
            # HDF5 selects rows in increasing order without repeats.
            unique, inverse = np.unique(np.asarray(rows, np.int64), return_inverse=True)
            return np.asarray(dataset[(*lead, unique)])[inverse]
        except OSError as error:
            name = self.file.filename
            raise ValueError(f"{name}: cannot read dataset '/{self.place}': {one_line(error)}") from error

    def plain(self) -> PlainArray | None:
        """The array without HDF5, whose way to select rows takes several times as long, where it lies in one piece."""
        dataset = self.file[self.place]
        made = dataset.id.get_create_plist()
        in_one_piece = made.get_layout() == h5py.h5d.CONTIGUOUS and not made.get_external_count()
        written = dataset.id.get_storage_size() > 0  # an offset says nothing of it, behind a user block
        if not (in_one_piece and written and dataset.id.get_type() == h5py.h5t.py_create(self.dtype)):
            return None
        file = Path(dataset.file.filename)  # behind a link, another one
        return PlainArray(file, self.shape, self.dtype, dataset.id.get_offset(), False, file.stat().st_size)

    def verify(self) -> None:
        """Hold the array against its digest, if it has one.

        Raises:
            ValueError: it is another.
        """
        expected = self.file[self.place].attrs.get(DIGEST)
        if expected is not None and expected != digest(self.file[self.place][()]):
            where = f"{self.file.filename}: dataset '/{self.place}'"
            raise ValueError(f"{where}: its content is not what was written, by its {DIGEST}; convert it again")


@dataclass(frozen=True)
class View:
    """An array turned, (D, T) to (T, D), or the columns of it that are one stream's."""

    array: StoredArray
    turned: bool
    columns: slice

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, D)."""
        length, width = self.array.shape[::-1] if self.turned else self.array.shape
        return length, len(range(width)[self.columns])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        return self.array.dtype

    def read(self, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The array, or some of its rows."""
        if not self.turned:
            return self.array.read(rows)[:, self.columns]
        array = self.array.read().T[:, self.columns]
        return array if rows is None else array[rows]


def require_features(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> tuple[int, ...]:
    """The shape (T, D) of an array of features, of which a leading axis of one is no part.

    Raises:
        ValueError: it is none.
    """
    if dtype.kind not in "fiu" and len(shape) in (2, 3):
        raise ValueError(f"{where}: expected numbers, got dtype {dtype}")
    if len(shape) == 3 and shape[0] == 1:
        return tuple(shape[1:])
    if len(shape) != 2:
        raise ValueError(f"{where}: expected features of shape (T, D), got shape {tuple(shape)}")
    return tuple(shape)


def regular(file: Path) -> os.stat_result:
    """What the system says of a file; to open a pipe would wait for ever."""
    about = file.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("not a file")
    return about


def unopened(path: Path, error: OSError) -> OSError:
    """The error that says which file cannot be opened, and why."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{path}: no such feature file")
    return OSError(f"{path}: cannot be opened: {error.strerror}")
