"""Feature readers: where the snippet features of a data set lie on disk."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wtal_core import answers, binding
from wtal_core.answers import require
from wtal_core.binding import blaming
from wtal_core.contracts import FloatArray, IntArray
from wtal_core.data.names import by_normal_form
from wtal_core.discovery import Component
from wtal_core.errors import one_line
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Trial, clause


class FeatureStore(Protocol):
    """Snippet features of a data set, read lazily.

    It may also have `layout(stream)`: in a few words, what was found of a stream and how it is read; and
    `verify(name, stream)`, which raises a `ValueError` if an array is not what a checksum of the layout says.
    """

    def names(self, stream: str) -> Sequence[str]:
        """The videos that have features of this stream, sorted."""

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D), without reading the array where the layout allows it."""

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or only the given rows of them (any order, repeats allowed)."""


class FeatureReader(Protocol):
    """Opens a feature store.

    Raises `OSError` for what is missing or unreadable and `ValueError` for what has the wrong form; both give the path
    of the file, or of the folder where it should be. So do the methods of the store.
    """

    def __call__(self, path: Path) -> FeatureStore:
        """Open the store under `path`."""


class Bound(binding.Bound):
    """A feature store whose answers are held against the contract.

    `OSError` and `ValueError` pass, by which it says what is wrong with a file. Videos are asked for by the normal form
    of their names, and the store by the names that it gave.
    """

    refusals = (OSError, ValueError)

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        super().__init__(made, component, given)
        self._shapes: dict[tuple[str, str], tuple[int, int]] = {}
        self._spelt: dict[str, Mapping[str, str]] = {}  # per stream, the store's names by normal form

    def names(self, stream: str) -> list[str]:
        """The videos that have features of this stream."""
        with blaming(self.component, self.refusals, f"fails on stream {stream!r}"):
            names = list(self.made.names(stream))
            if not all(isinstance(name, str) for name in names):
                raise TypeError(f"names must be strings, got {names!r}")
        self._spelt[stream] = by_normal_form(names)
        return sorted(self._spelt[stream])

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D), asked for once."""
        if (name, stream) not in self._shapes:
            with blaming(self.component, self.refusals, f"fails on video {name!r}, stream {stream!r}"):
                length, width = self.made.shape(self._spelling(name, stream), stream)
                self._shapes[name, stream] = operator.index(length), operator.index(width)
        return self._shapes[name, stream]

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or some of their rows."""
        length, width = self.shape(name, stream)
        expected = (length if rows is None else len(rows), width)
        with blaming(self.component, self.refusals, f"fails on video {name!r}, stream {stream!r}"):
            features: NDArray[np.generic] = self.made.read(self._spelling(name, stream), stream, rows)
            if not isinstance(features, np.ndarray) or features.shape != expected or features.dtype.kind not in "fiub":
                raise TypeError(f"features must be an array {expected} of numbers, got {answers.form(features)}")
        return features

    def layout(self, stream: str) -> str:
        """What was found of a stream, as far as the store says it."""
        ask = getattr(self.made, "layout", None)
        with blaming(self.component, self.refusals, f"fails on stream {stream!r}"):
            return f"reader {self.component.name!r}" if ask is None else one_line(ask(stream))

    def verify(self, name: str, stream: str) -> None:
        """Hold an array against the checksum of its layout, if it has one."""
        ask = getattr(self.made, "verify", None)
        if ask is not None:
            with blaming(self.component, self.refusals, f"fails on video {name!r}, stream {stream!r}"):
                ask(self._spelling(name, stream), stream)

    def meet(self, stream: str, met: Mapping[str, str]) -> None:
        """Take the names of videos for those of their features, all in normal form."""
        spelt = self._spelt[stream]
        self._spelt[stream] = {**spelt, **{name: spelt[other] for name, other in met.items()}}

    def _spelling(self, name: str, stream: str) -> str:
        return self._spelt.get(stream, {}).get(name, name)


# Clauses of the kit

#: What is written and read back: features (T, D) by video and stream. One video lacks a stream.
FEATURES: Mapping[tuple[str, str], FloatArray] = {
    ("b", "rgb"): np.array([[0.25]]),
    ("a", "rgb"): np.arange(6.0).reshape(3, 2) / 4,
    ("a", "flow"): np.arange(4.0).reshape(2, 2) / 4,
}

promise = partial(clause, "feature reader", inputs.once)


@promise("names(stream) are the videos that have features of the stream, sorted")
def _names(trial: Trial) -> None:
    with trial.reader(FEATURES) as store:
        for stream, expected in (("flow", ["a"]), ("rgb", ["a", "b"])):
            got = trial.call(store.names, stream=stream)
            require(list(got) == expected, f"Of {sorted(FEATURES)} it lists {got!r}.")


@promise("shape(name, stream) is (T, D)")
def _shape(trial: Trial) -> None:
    with trial.reader(FEATURES) as store:
        for (name, stream), array in FEATURES.items():
            got = trial.call(store.shape, name=name, stream=stream)
            require(got == array.shape, f"Of an array {array.shape} it says {got!r}.")


@promise("read(name, stream) gives the features (T, D), again and again")
def _read(trial: Trial) -> None:
    with trial.reader(FEATURES) as store:
        for (name, stream), array in [*FEATURES.items(), *FEATURES.items()]:
            _equal(trial.call(store.read, name=name, stream=stream), array)


@promise("read(name, stream, rows) gives the rows in any order, repeated if asked to")
def _rows(trial: Trial) -> None:
    with trial.reader(FEATURES) as store:
        for (name, stream), array in FEATURES.items():
            for rows in (np.array([0]), np.array([len(array) - 1, 0, 0])):
                _equal(trial.call(store.read, name=name, stream=stream, rows=rows), array[rows])


@promise("what is missing raises an OSError that names the file")
def _missing(trial: Trial) -> None:
    with trial.written(FEATURES) as path:
        store, nowhere = trial.build(path=path), path.with_name("nowhere")
        demands.refused(trial, nowhere, OSError, lambda path: trial.make(path=path), path=nowhere)
        demands.refused(trial, path, OSError, store.read, name="zebra", stream="rgb")
        demands.refused(trial, path, OSError, store.shape, name="b", stream="flow")


@promise("what is malformed raises an OSError or a ValueError that names the file")
def _malformed(trial: Trial) -> None:
    with trial.written(FEATURES) as path:
        demands.spoil(path)
        for name, stream in FEATURES:
            for ask in (
                lambda name, stream: trial.make(path=path).read(name, stream),
                lambda name, stream: trial.make(path=path).shape(name, stream),
            ):
                demands.refused(trial, path, (OSError, ValueError), ask, name=name, stream=stream)


def _equal(got: Any, expected: FloatArray) -> None:
    require(isinstance(got, np.ndarray), f"It gave a {type(got).__name__}.")
    require(
        got.shape == expected.shape and bool(np.allclose(got, expected)),
        f"It gave {got.tolist()} for {expected.tolist()}.",
    )
