"""Proposers: they cut a prediction into scored intervals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np

from wtal_core import answers, binding
from wtal_core.answers import require
from wtal_core.contracts import Detections, FloatArray, Intervals, Prediction
from wtal_core.kinds.suppressor import parts, rows
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Example, Trial, clause


class Proposer(Protocol):
    """Cuts what a model says of a video into scored intervals."""

    def __call__(self, prediction: Prediction, edges: FloatArray) -> Detections:
        """Map a prediction of C classes over T snippets, and snippet edges (T + 1,) in seconds, to detections.

        Snippet t stands for [edges[t], edges[t + 1]); an interval may reach beyond what is active. A prediction without
        a part that it reads, such as `intervals`, may be refused by a `ValueError`. Options may be in seconds: the kit
        moves the edges, and does not stretch them.
        """


class Bound(binding.Bound):
    """A proposer in its wrapper; what it has against a prediction passes as a `ValueError`."""

    refusals = (ValueError,)

    def check(self, answer: Any, prediction: Prediction, edges: FloatArray) -> None:
        """Intervals of known classes within the edges."""
        answers.intervals(answer, len(prediction.activation), edges[0], edges[-1], "lie within the video's")

    def rehearse(self, num_classes: int) -> None:
        """Try it on a small example."""
        maps = np.linspace(0.1, 1.0, num_classes * 6).reshape(num_classes, 6)
        self(*_arguments(maps, np.full(num_classes, 0.9), np.arange(7.0)).values())


# Clauses of the kit


def predictions() -> Iterator[Example]:
    """Predictions of C classes over T snippets, and edges (T + 1,), the smallest first."""
    for C, T in ((1, 1), (1, 2), (2, 3), (2, 6), (3, 100)):
        rising, edges, scores = inputs.eighths(C, T), np.arange(T + 1.0), 1 - np.arange(C) / 4
        for activation, class_scores, times in (
            (rising, scores, edges),
            (rising, scores, 0.5 + edges**2 / 4),  # uneven snippets, the first later than 0
            (0 * rising, scores, edges),
            (np.ones((C, T)), scores, edges),
            (rising, 0 * scores, edges),
        ):
            yield _arguments(activation.copy(), class_scores.copy(), times.copy())


def pulses() -> Iterator[Example]:
    """Activations of two classes that are 0 but in one snippet; the snippets are of very different lengths."""
    for T in (1, 2, 3, 4):
        for t in range(T):
            activation = np.zeros((2, T))
            activation[t % 2, t] = 1
            own = Intervals(np.array([t % 2]), np.array([t + 0.0]), np.array([t + 1.0]), np.ones(1))
            yield _arguments(activation, np.ones(2), np.cumsum([2.0, 5.0, 1.0, 0.25, 3.0][: T + 1]), own)


def _arguments(
    activation: FloatArray, class_scores: FloatArray, edges: FloatArray, own: Intervals | None = None
) -> Example:
    attention, (C, T) = (activation[:, ::-1] + activation) / 2, activation.shape
    own = own or Intervals(np.arange(C), np.zeros(C), np.full(C, T / 2), activation.mean(1))
    return {"prediction": Prediction(attention, activation, class_scores, own), "edges": edges}


proposing = partial(clause, "proposer", predictions)


proposing("detections are arrays (N,) of known classes, intervals within the edges, finite scores")(demands.form)


@proposing("a prediction without intervals gives the same form, or is refused by a ValueError")
def _without_intervals(trial: Trial, prediction: Prediction, edges: FloatArray) -> None:
    demands.form_or_refusal(trial, prediction=prediction._replace(intervals=None), edges=edges)


proposing("its arguments stay as they are")(demands.untouched)
proposing("the same arguments give the same detections")(demands.repeats(parts))


@proposing("time comes from the edges alone: later edges give later intervals, and nothing else changes")
def _time(trial: Trial, **given: Any) -> None:
    label, start, end, score = parts(trial.build()(*given.values()))
    late = trial.call(trial.build(), **{**given, "edges": given["edges"] + 8})
    demands.same_arrays([label, start + 8, end + 8, score], parts(late))


@clause(
    "proposer", pulses, "snippet t lasts from edges[t] to edges[t + 1]: if it alone is active, the best overlaps it"
)
def _place(trial: Trial, **given: Any) -> None:
    found = trial.call(trial.build(), **given)
    label, start, end, score = parts(found)
    (c,), (t,) = given["prediction"].activation.nonzero()
    first, last = given["edges"][t : t + 2]
    best = score == score.max(initial=-np.inf)
    right = (label == c) & (start < last) & (end > first)
    told = f"Class {c} is active in [{first}, {last}), and the answer is {rows(found)}."
    require(not len(label) or bool((best & right).any()), told)
