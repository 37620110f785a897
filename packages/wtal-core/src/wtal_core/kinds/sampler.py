"""Samplers: which videos make up the batch of an iteration."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wtal_core import answers, binding
from wtal_core.answers import require
from wtal_core.contracts import FloatArray, IntArray
from wtal_core.testing import demands
from wtal_core.testing.trial import Example, Trial, clause


class Sampler(Protocol):
    """Chooses the videos of an iteration; a pure function, so that a resumed run needs no state of it."""

    def __call__(self, labels: FloatArray, batch_size: int, seed: int, iteration: int) -> IntArray:
        """Map the labels (N, C) of all training videos, multi-hot, to the indices of this iteration's (batch_size,).

        A video may come several times. A `ValueError` says what cannot be drawn from such labels; it is asked for
        iteration 0 before training.
        """


class Bound(binding.Bound):
    """A sampler in its wrapper; what it cannot draw passes as a `ValueError`."""

    refusals = (ValueError,)

    def check(self, answer: Any, labels: FloatArray, batch_size: int, *_: int) -> None:
        """Indices of videos."""
        answers.array("the videos of a batch", answer, (batch_size,), np.int64)
        if ((answer < 0) | (answer >= len(labels))).any():
            raise answers.ContractError(
                f"the videos of a batch must lie in 0 to {len(labels) - 1}, got {answer.tolist()}"
            )


# Clauses of the kit


def examples() -> Iterator[Example]:
    """Labels (N, C) of few and many videos, two or more of each class; batches smaller and larger than their number."""
    for N, C, size in ((2, 1, 1), (2, 1, 5), (6, 2, 4), (30, 3, 10)):
        labels: NDArray[np.float64] = np.eye(C)[np.arange(N) % C]
        for iteration in (0, 1, 7):
            yield {"labels": labels, "batch_size": size, "seed": 3, "iteration": iteration}


promise = partial(clause, "sampler", examples)


promise("it gives batch_size indices of videos, int64, below N")(demands.form)
promise("its arguments stay as they are")(demands.untouched)


@promise("it is pure: the same arguments give the same videos, in whatever order it is asked")
def _pure(trial: Trial, **given: Any) -> None:
    np.random.seed(0)  # noqa: NPY002 - the global generator, which it must not draw from
    demands.repeated(trial, lambda answer: [answer], given, given)
    one = trial.build()(*given.values())
    np.random.seed(1)  # noqa: NPY002
    other = trial.call(trial.build(), **given)
    require(bool((one == other).all()), f"It gave {one.tolist()}, then {other.tolist()}.")


@promise("another seed, or another iteration, gives other videos in the long run")
def _varies(trial: Trial, **given: Any) -> None:
    if len(given["labels"]) < 6:
        return

    def row(seed: int, first: int) -> list[int]:
        ask = trial.build()
        return [int(v) for i in range(first, first + 8) for v in ask(given["labels"], given["batch_size"], seed, i)]

    require(row(0, 0) != row(1, 0), "Seeds 0 and 1 give the same.")
    require(row(0, 0) != row(0, 8), "Iterations 0 to 7 and 8 to 15 give the same.")
    missed = set(range(len(given["labels"]))) - set(row(0, 0) + row(0, 8) + row(0, 16) + row(0, 24) + row(0, 32))
    require(not missed, f"In 40 iterations it never chose the videos {sorted(missed)}.")
