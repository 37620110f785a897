"""Feature readers: where the snippet features of a data set lie on disk. Arrays are read when they are asked for.

A store answers `names`, `shape` and `read` (`contracts.FeatureStore`). What is missing raises `OSError` and what is
malformed `ValueError`, with the file in the message; the data set adds which video was wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from wtal_core.contracts import IntArray
from wtal_core.errors import one_line

_Array = TypeVar("_Array", NDArray[np.generic], h5py.Dataset)


class NpyFolder:
    """A folder per stream, a file per video: `PATH/STREAM/VIDEO.npy`, each an array (T, D).

    Files are memory-mapped, so reading twenty rows of a long video costs twenty rows. Pickled arrays are refused.
    """

    def __init__(self, path: Path) -> None:
        if path.is_file():
            raise OSError(f"{path}: a file, but this reader wants a folder; for an HDF5 file set data.reader = 'hdf5'")
        if not path.is_dir():
            raise OSError(f"{path}: no such folder of features")
        self.path = path
        self._maps: dict[tuple[str, str], NDArray[np.generic]] = {}

    def names(self, stream: str) -> list[str]:
        """The videos with a file in the stream's folder."""
        folder = self.path / stream
        if not folder.is_dir():
            raise OSError(
                f"{folder}: no such folder; this layout wants one folder per stream, with one .npy file per video"
            )
        return sorted(file.stem for file in folder.glob("*.npy"))

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D) from the file's header."""
        rows, columns = self._map(name, stream).shape
        return rows, columns

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or some of their rows."""
        array = self._map(name, stream)
        return np.asarray(array if rows is None else array[rows])

    def _map(self, name: str, stream: str) -> NDArray[np.generic]:
        array = self._maps.get((stream, name))
        if array is None:
            file = self.path / stream / f"{name}.npy"
            array = self._maps[stream, name] = _two_dimensional(self._open(file), str(file))
        return array

    @staticmethod
    def _open(file: Path) -> NDArray[np.generic]:
        try:
            array: NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise OSError(f"{file}: no such feature file") from None
        except (OSError, ValueError, EOFError) as error:
            if "pickle" in str(error) or "Python objects" in str(
                error
            ):  # numpy takes what it does not know for a pickle
                error = ValueError("not an array of numbers, and pickled objects are never loaded")
            raise ValueError(f"{file}: not a readable .npy file: {error}") from None
        return array


class Hdf5File:
    """One HDF5 file, a group per video, a dataset per stream: `/VIDEO/STREAM`, each (T, D)."""

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
        except OSError as error:
            raise OSError(f"{path}: not a readable HDF5 file: {one_line(error)}") from error

    def names(self, stream: str) -> list[str]:
        """The groups that have a dataset of this stream."""
        return sorted(name for name, group in self._file.items() if isinstance(group, h5py.Group) and stream in group)

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
            raise ValueError(f"{self.path}: cannot read dataset '/{name}/{stream}': {error}") from error

    def _dataset(self, name: str, stream: str) -> h5py.Dataset:
        dataset = self._file.get(f"{name}/{stream}")
        if not isinstance(dataset, h5py.Dataset):
            raise OSError(f"{self.path}: no dataset '/{name}/{stream}'")
        return _two_dimensional(dataset, f"{self.path}: dataset '/{name}/{stream}'")


def _two_dimensional(array: _Array, where: str) -> _Array:
    if array.ndim != 2:
        raise ValueError(f"{where}: expected features of shape (T, D), got shape {tuple(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where}: expected numbers, got dtype {array.dtype}")
    return array
