"""Samplers, sound and broken."""

import random

import numpy as np
from wtal_core.builtin.epochs import Epochs

KIND = "sampler"


def sampling(call, base=object):
    return type("Broken", (base,), {"__call__": call})


def drawn(self, labels, batch_size, seed, iteration):
    return np.random.default_rng([seed, iteration]).integers(len(labels), size=batch_size)


SOUND = [Epochs, sampling(drawn)]


def changed(change):
    return sampling(lambda self, *given: change(drawn(self, *given), *given))


class Counting:
    """Its batches follow from how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, labels, batch_size, seed, iteration):
        self.calls += 1
        return drawn(self, labels, batch_size, seed, self.calls)


class OneGenerator:
    """Draws from a generator that it keeps."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __call__(self, labels, batch_size, seed, iteration):
        return self.generator.integers(len(labels), size=batch_size)


def erases_labels(videos, labels, *_):
    labels[:] = 0
    return videos


BROKEN = {
    "form": [
        changed(lambda videos, *_: videos.tolist()),
        changed(lambda videos, *_: videos.astype(float)),
        changed(lambda videos, *_: videos.astype(np.int32)),
        changed(lambda videos, *_: videos + 1),
        changed(lambda videos, *_: videos - 1),
        changed(lambda videos, labels, size, *_: np.unique(videos)),
        changed(lambda videos, *_: videos[:, None]),
        changed(lambda videos, labels, size, *_: np.random.default_rng(0).choice(len(labels), size, replace=False)),
    ],
    "untouched": [changed(erases_labels)],
    "pure": [
        Counting,
        OneGenerator,
        changed(lambda videos, labels, size, *_: np.random.randint(len(labels), size=size)),  # noqa: NPY002
        changed(lambda videos, labels, size, *_: np.array([random.randrange(len(labels)) for _ in videos])),
    ],
    "varies": [
        sampling(lambda self, labels, size, seed, iteration: drawn(self, labels, size, 0, iteration)),
        sampling(lambda self, labels, size, seed, iteration: drawn(self, labels, size, seed, 0)),
        sampling(lambda self, labels, size, seed, iteration: drawn(self, labels, size, seed, iteration % 8)),
        sampling(lambda self, labels, size, seed, iteration: drawn(self, labels[1:], size, seed, iteration)),
    ],
}
