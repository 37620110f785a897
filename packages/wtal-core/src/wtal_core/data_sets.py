"""Public data sets that this package makes ready to run, from files that an installed package has brought.

Nothing is downloaded here: what is missing is installed by the user, and looked at byte by byte before it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from wtal_core.demo import recordings
from wtal_core.demo.sessions import compose, write_dataset
from wtal_core.errors import DataError, RunError, did_you_mean


class DataSet(NamedTuple):
    """A public data set."""

    what: str
    licence: str
    source: str  #: whom to cite
    install: str  #: what brings its files
    sha256: str  #: of the file that is read
    locate: Callable[[], Path]  #: its file; raises DataError if that is not installed
    write: Callable[[Path, Path], None]  #: from the file, `annotations.json` and `features/` into a folder


def _exercises(file: Path, folder: Path) -> None:
    write_dataset(list(compose(recordings.read_recordings(file))), folder)


DATA_SETS: Mapping[str, DataSet] = {
    "exercises": DataSet(
        "160 composed sessions of 7 shoulder exercises by 10 people, accelerometer and gyroscope of one wrist at 50 Hz",
        "BSD-3-Clause",
        "Burns et al., Physiological Measurement 39, 2018; shipped by seglearn 1.2.5",
        "pip install 'wtal-core[demo]'",
        recordings.SHA256,
        recordings.locate,
        _exercises,
    )
}


def find(name: str) -> DataSet:
    """A data set by its name.

    Raises:
        DataError: there is none of that name.
    """
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}; {did_you_mean(name, list(DATA_SETS))}")
    return DATA_SETS[name]


def get(name: str, folder: Path) -> None:
    """Write a data set's `annotations.json` and `features/` into a new or empty folder.

    Raises:
        DataError: there is none of that name; its files are not installed, or not the known ones.
        RunError: the folder holds something, or cannot be written.
    """
    data_set = find(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: not an empty folder; choose another --to")
    data_set.write(data_set.locate(), folder)
