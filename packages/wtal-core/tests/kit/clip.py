"""Clips, sound and broken."""

import random

import numpy as np
import torch
from wtal_core.builtin.clips import Crop, Segments, Uniform, Whole

KIND = "clip"


class Hiding(Whole):
    """Hides every other snippet, and shows at least one."""

    def __call__(self, length, generator):
        rows = super().__call__(length, generator)
        rows[1::2] = -1
        return rows


SOUND = [Crop, Segments, Uniform, Whole, Hiding]


def clipping(change, base=Whole, **members):
    """A clip whose rows are changed by `change(rows, length, generator)`."""

    def call(self, length, generator):
        return change(base.__call__(self, length, generator), length, generator)

    return type("Broken", (base,), {"__call__": call, **members})


def hides_at_random(rows, length, generator):
    return np.where(generator.random(length) < 0.5, rows, -1)


class Counting(Whole):
    """Starts later each time."""

    def __init__(self):
        self.calls = 0

    def __call__(self, length, generator):
        self.calls += 1
        return super().__call__(length, generator)[self.calls % length :]


BROKEN = {
    "form": [
        clipping(lambda rows, *_: rows.tolist()),
        clipping(lambda rows, *_: rows.astype(np.int32)),
        clipping(lambda rows, *_: rows[:, None]),
        clipping(lambda rows, *_: rows[:0]),
        clipping(lambda rows, *_: np.full_like(rows, -1)),
        clipping(hides_at_random),
        clipping(lambda rows, *_: rows + 1),
        clipping(lambda rows, *_: rows - 2),
        clipping(lambda rows, *_: rows[::-1].copy()),
        clipping(lambda rows, *_: rows[::2]),
        clipping(lambda rows, *_: np.repeat(rows, 2)),
        clipping(lambda rows, *_: rows[rows % 3 != 1]),
        clipping(lambda rows, *_: rows, Segments, contiguous=True),
    ],
    "draws": [
        Counting,
        clipping(lambda rows, *_: rows[np.random.randint(len(rows)) :]),  # noqa: NPY002
        clipping(lambda rows, *_: rows[random.randrange(len(rows)) :]),
        clipping(lambda rows, *_: rows[int(torch.randint(len(rows), ())) :]),
        clipping(lambda rows, *_: rows[int(np.random.default_rng().integers(len(rows))) :]),
    ],
}
