"""Clips: which snippets of a video one step sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from wtal_core import answers, binding
from wtal_core.answers import require
from wtal_core.contracts import IntArray
from wtal_core.discovery import Component
from wtal_core.testing.trial import Example, Trial, clause


class Clip(Protocol):
    """Chooses the rows of a video that one step sees.

    It says by `contiguous` (False if it does not say) whether neighbours in the clip are neighbours in time, which a
    decoder with context needs.
    """

    def __call__(self, length: int, generator: np.random.Generator) -> IntArray:
        """Map the number of a video's snippets, 1 or more, to the rows of a step (T,), in order; -1 hides one.

        A hidden row keeps its place, so that its neighbours stay where they are. At least one row is shown. Randomness
        comes from the generator alone.
        """


class Bound(binding.Bound):
    """A clip in its wrapper."""

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        super().__init__(made, component, given)
        self.contiguous = bool(getattr(made, "contiguous", False))

    def check(self, answer: Any, length: int, _generator: Any) -> None:
        """Rows in order, without gaps if it says that it is contiguous."""
        require(
            isinstance(answer, np.ndarray) and answer.ndim == 1 and answer.dtype == np.int64,
            f"a clip must be an array (T,) of int64, got {answers.form(answer)}",
        )
        if (answer < -1).any() or (answer >= length).any():
            raise answers.ContractError(
                f"the rows of a video of {length} snippets must lie below it, got {answer.tolist()}"
            )
        shown = answer[answer >= 0]
        require(shown.size > 0, "a clip must show at least one row")
        if (np.diff(shown) < 0).any():
            raise answers.ContractError(f"the rows of a clip must be in order, got {answer.tolist()}")
        if self.contiguous and (np.diff(shown) != np.diff(np.flatnonzero(answer >= 0))).any():
            raise answers.ContractError(f"the rows of a contiguous clip must follow each other, got {answer.tolist()}")

    def rehearse(self, num_classes: int) -> None:  # noqa: ARG002
        """Try it on short and long videos."""
        for length in (1, 2, 50):
            self(length, np.random.default_rng(0))


# Clauses of the kit


def examples() -> Iterator[Example]:
    """Lengths of a video, the smallest first."""
    for length in (1, 2, 3, 20, 400, 1001):
        yield {"length": length}


promise = partial(clause, "clip", examples)


@promise(
    "it gives rows (T,) of int64 in order, -1 where one is hidden, and shows at least one; neighbours if contiguous"
)
def _form(trial: Trial, length: int) -> None:
    clip = trial.build()
    for seed in range(20):
        generator = np.random.default_rng(seed)
        trial.bound.check(trial.call(clip, length=length, generator=generator), length, generator)


@promise("what it draws comes from the generator alone, whatever it was asked before")
def _draws(trial: Trial, length: int) -> None:
    clip = trial.build()
    for seed in range(3):
        first = clip(length, np.random.default_rng(seed))
        clip(7, np.random.default_rng(8))
        for other in (clip, trial.build()):
            again = trial.call(other, length=length, generator=np.random.default_rng(seed))
            told = f"At the same state it gave {first.tolist()}, then {again.tolist()}."
            require(np.array_equal(first, again), told)
