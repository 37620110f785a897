"""The clauses of `contracts.FeatureReader` and of the stores that it opens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wtal_core.contracts import FeatureStore, FloatArray
from wtal_core.testing.answers import require
from wtal_core.testing.trial import Trial, check, clause, shown

#: What is written and read back: features (T, D) by video and stream. One video lacks a stream.
FEATURES: Mapping[tuple[str, str], FloatArray] = {
    ("b", "rgb"): np.array([[0.25]]),
    ("a", "rgb"): np.arange(6.0).reshape(3, 2) / 4,
    ("a", "flow"): np.arange(4.0).reshape(2, 2) / 4,
}
Write = Callable[[Path, Mapping[tuple[str, str], FloatArray]], object]


def check_feature_reader(make: Callable[..., FeatureStore], write: Write) -> None:
    """Check a feature reader, given by its class or by whatever takes a path and opens a store.

    Args:
        make: the reader, built as `make(path=...)`.
        write: `write(path, features)` writes arrays (T, D), given by (video, stream), in the reader's layout: a file or
            a folder at `path`, where there is nothing yet.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("feature reader", make, write)


@contextmanager
def _store(trial: Trial) -> Iterator[Any]:
    assert trial.write is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features"
        trial.write(path, FEATURES)
        yield trial.build(path=path)


@clause("feature reader", "names(stream) are the videos that have features of the stream, sorted")
def _names(trial: Trial) -> None:
    with _store(trial) as store:
        for stream, expected in (("flow", ["a"]), ("rgb", ["a", "b"])):
            got = trial.call(store.names, stream=stream)
            require(list(got) == expected, f"Of {sorted(FEATURES)} it lists {got!r}.")


@clause("feature reader", "shape(name, stream) is (T, D)")
def _shape(trial: Trial) -> None:
    with _store(trial) as store:
        for (name, stream), array in FEATURES.items():
            got = trial.call(store.shape, name=name, stream=stream)
            require(tuple(got) == array.shape, f"Of an array {array.shape} it says {got!r}.")


@clause("feature reader", "read(name, stream) gives the features (T, D), again and again")
def _read(trial: Trial) -> None:
    with _store(trial) as store:
        for (name, stream), array in [*FEATURES.items(), *FEATURES.items()]:
            _equal(trial.call(store.read, name=name, stream=stream), array)


@clause("feature reader", "read(name, stream, rows) gives the rows in any order, repeated if asked to")
def _rows(trial: Trial) -> None:
    with _store(trial) as store:
        for (name, stream), array in FEATURES.items():
            for rows in (np.array([0]), np.array([len(array) - 1, 0, 0])):
                _equal(trial.call(store.read, name=name, stream=stream, rows=rows), array[rows])


@clause("feature reader", "what is missing raises an OSError that names the file")
def _missing(trial: Trial) -> None:
    with _store(trial) as store, tempfile.TemporaryDirectory() as folder:
        calls: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
            (trial.make, {"path": Path(folder) / "nowhere"}, str(Path(folder) / "nowhere")),
            (store.read, {"name": "zebra", "stream": "rgb"}, "features"),
            (store.shape, {"name": "b", "stream": "flow"}, "features"),
        ]
        for function, given, file in calls:
            trial.given = {name: shown(value) for name, value in given.items()}
            try:
                answer = function(**given)
            except OSError as error:
                require(file in str(error), f"{str(error)!r} does not name the file.")
            except Exception as error:
                require(False, f"It raised {type(error).__name__}.")
            else:
                require(False, f"It gave {answer!r}.")


def _equal(got: Any, expected: FloatArray) -> None:
    require(isinstance(got, np.ndarray), f"It gave a {type(got).__name__}.")
    require(
        got.shape == expected.shape and bool(np.allclose(got, expected)),
        f"It gave {got.tolist()} for {expected.tolist()}.",
    )
