"""A feature reader: it opens a layout of feature files as a store. T snippets, D features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class PlaceholderClass:
    """Comma-separated text: a file `STREAM/VIDEO.csv` under the folder, a line per snippet.

    Args:
        path: the folder.

    Raises:
        OSError: it is missing, or no folder; later: a file is missing or unreadable.
        ValueError: a file holds anything but lines of equally many numbers.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise NotADirectoryError(f"{path}: expected a folder with STREAM/VIDEO.csv in it")
        self.path = path

    def names(self, stream: str) -> Sequence[str]:
        """The videos that have features of this stream, sorted."""
        return sorted(file.stem for file in (self.path / stream).glob("*.csv"))

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D)."""
        T, D = self.read(name, stream).shape
        return T, D

    def read(self, name: str, stream: str, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The features (T, D), or the given rows of them, in any order and repeated if asked to."""
        file = self.path / stream / f"{name}.csv"
        try:
            features = np.loadtxt(file, np.float32, delimiter=",", ndmin=2)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        return features if rows is None else features[rows]
