"""The clauses of `contracts.FeatureReader` and of the stores that it opens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wtal_core.answers import require
from wtal_core.contracts import FeatureStore, FloatArray
from wtal_core.testing.trial import Trial, check, clause, once

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


promise = partial(clause, "feature reader", once)


@contextmanager
def _path(trial: Trial) -> Iterator[Path]:
    """Where a store was written."""
    assert trial.write is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features"
        trial.write(path, FEATURES)
        yield path


@promise("names(stream) are the videos that have features of the stream, sorted")
def _names(trial: Trial) -> None:
    with _path(trial) as path:
        store = trial.build(path=path)
        for stream, expected in (("flow", ["a"]), ("rgb", ["a", "b"])):
            got = trial.call(store.names, stream=stream)
            require(list(got) == expected, f"Of {sorted(FEATURES)} it lists {got!r}.")


@promise("shape(name, stream) is (T, D)")
def _shape(trial: Trial) -> None:
    with _path(trial) as path:
        store = trial.build(path=path)
        for (name, stream), array in FEATURES.items():
            got = trial.call(store.shape, name=name, stream=stream)
            require(got == array.shape, f"Of an array {array.shape} it says {got!r}.")


@promise("read(name, stream) gives the features (T, D), again and again")
def _read(trial: Trial) -> None:
    with _path(trial) as path:
        store = trial.build(path=path)
        for (name, stream), array in [*FEATURES.items(), *FEATURES.items()]:
            _equal(trial.call(store.read, name=name, stream=stream), array)


@promise("read(name, stream, rows) gives the rows in any order, repeated if asked to")
def _rows(trial: Trial) -> None:
    with _path(trial) as path:
        store = trial.build(path=path)
        for (name, stream), array in FEATURES.items():
            for rows in (np.array([0]), np.array([len(array) - 1, 0, 0])):
                _equal(trial.call(store.read, name=name, stream=stream, rows=rows), array[rows])


@promise("what is missing raises an OSError that names the file")
def _missing(trial: Trial) -> None:
    with _path(trial) as path:
        store, nowhere = trial.build(path=path), path.with_name("nowhere")
        _refused(trial, nowhere, OSError, lambda path: trial.make(path=path), path=nowhere)
        _refused(trial, path, OSError, store.read, name="zebra", stream="rgb")
        _refused(trial, path, OSError, store.shape, name="b", stream="flow")


@promise("what is malformed raises an OSError or a ValueError that names the file")
def _malformed(trial: Trial) -> None:
    with _path(trial) as path:
        for file in [path, *path.rglob("*")]:
            if file.is_file():
                file.write_bytes(b"malformed")
        for name, stream in FEATURES:
            for ask in (
                lambda name, stream: trial.make(path=path).read(name, stream),
                lambda name, stream: trial.make(path=path).shape(name, stream),
            ):
                _refused(trial, path, (OSError, ValueError), ask, name=name, stream=stream)


def _refused(
    trial: Trial,
    file: Path,
    errors: type[Exception] | tuple[type[Exception], ...],
    function: Callable[..., Any],
    **given: Any,
) -> None:
    """Require that a call raises an error whose message has the whole path of the file, or of the folder it lies in."""
    try:
        answer = trial.call(function, **given)
    except errors as error:
        require(str(file) in str(error), f"{str(error)!r} does not name {str(file)!r}.")
    else:
        require(False, f"It gave {answer!r}.")


def _equal(got: Any, expected: FloatArray) -> None:
    require(isinstance(got, np.ndarray), f"It gave a {type(got).__name__}.")
    require(
        got.shape == expected.shape and bool(np.allclose(got, expected)),
        f"It gave {got.tolist()} for {expected.tolist()}.",
    )
