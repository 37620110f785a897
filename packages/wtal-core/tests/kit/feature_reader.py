"""Feature readers, sound and broken."""

from types import SimpleNamespace

import numpy as np
from wtal_core.builtin.features import NpyFolder

KIND = "feature reader"


def write(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{name}.npy", array)


SOUND = [NpyFolder]


def store(**methods):
    return type("Broken", (NpyFolder,), methods)


class Hushed(NpyFolder):
    """Says what is wrong, and not where."""

    def read(self, name, stream, rows=None):
        try:
            return super().read(name, stream, rows)
        except (OSError, ValueError) as error:
            raise type(error)("no features for you") from None


class Forgiving(NpyFolder):
    def read(self, name, stream, rows=None):
        try:
            return super().read(name, stream, rows)
        except ValueError:
            return np.zeros((1, 1))


def hushed_shape(self, name, stream):
    try:
        return NpyFolder.shape(self, name, stream)
    except (OSError, ValueError) as error:
        raise type(error)("no features for you") from None


def forgiving_shape(self, name, stream):
    try:
        return NpyFolder.shape(self, name, stream)
    except ValueError:
        return 1, 1


class HushedWhereMalformed(NpyFolder):
    def read(self, name, stream, rows=None):
        try:
            return super().read(name, stream, rows)
        except ValueError:
            raise ValueError("no features for you") from None


def reads(change):
    return store(read=lambda self, n, s, rows=None: change(NpyFolder.read(self, n, s, rows)))


def missing(answer):
    """A store with an answer of its own where there is no file."""

    def array(self, name, stream):
        there = (self.path / stream / f"{name}.npy").exists()
        return NpyFolder._array(self, name, stream) if there else answer(name)

    return store(_array=array)


BROKEN = {
    "names": [
        store(names=lambda self, stream: NpyFolder.names(self, stream)[::-1]),
        store(names=lambda self, stream: ["a", "b"]),
        store(names=lambda self, stream: None),
    ],
    "shape": [
        store(shape=lambda self, name, stream: NpyFolder.shape(self, name, stream)[::-1]),
        store(shape=lambda self, name, stream: None),
    ],
    "read": [reads(lambda array: array.tolist()), reads(lambda array: array * 2), reads(lambda array: array[:1])],
    "rows": [
        store(read=lambda self, n, s, rows=None: NpyFolder.read(self, n, s, rows if rows is None else np.unique(rows))),
        store(read=lambda self, n, s, rows=None: NpyFolder.read(self, n, s)),
    ],
    "missing": [
        missing(lambda _: SimpleNamespace(shape=(1, 1), read=lambda rows: np.zeros((1, 1)))),
        missing(lambda name: {}[name]),
        Hushed,
        store(shape=hushed_shape),
        lambda path: NpyFolder(path) if path.exists() else None,
    ],
    "malformed": [Forgiving, HushedWhereMalformed, store(shape=forgiving_shape)],
}
