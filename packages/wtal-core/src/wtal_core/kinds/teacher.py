"""Teachers: they say of each snippet of a training video what the next stage shall learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from wtal_core import answers, binding
from wtal_core.contracts import Detections, FloatArray, Prediction, TrainingVideo
from wtal_core.discovery import Component
from wtal_core.kinds.evaluator import Instances
from wtal_core.kinds.suppressor import VideoDetections
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Example, Trial, clause


class Teacher(Protocol):
    """Turns what is known of a training video into targets of its snippets.

    One that reads annotated segments says so by `full_supervision = True`; only then is it given them, and the run says
    that it was.
    """

    def __call__(
        self, prediction: Prediction | None, detections: Detections | None, edges: FloatArray, video: TrainingVideo
    ) -> FloatArray:
        """Map the word of the stage before on a video to targets (C, T) in [0, 1], NaN where it says nothing.

        Prediction and detections are None before the first stage; edges (T + 1,) are seconds. A `ValueError` says that
        it cannot teach without them.
        """


class Bound(binding.Bound):
    """A teacher in its wrapper; that it cannot teach passes as a `ValueError`."""

    refusals = (ValueError,)

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        super().__init__(made, component, given)
        self.full_supervision = bool(getattr(made, "full_supervision", False))

    def check(self, answer: Any, _prediction: Any, _detections: Any, edges: FloatArray, video: TrainingVideo) -> None:
        """Targets of every class and snippet, in [0, 1] or NaN."""
        answers.array("targets", answer, (len(video.labels), len(edges) - 1), np.float64, finite=False)
        answers.unit("targets", answer[~np.isnan(answer)])

    def rehearse(self, num_classes: int, first: bool = False) -> None:
        """Try it on a small example, of the first stage or of a later one."""
        example = _example(num_classes, 6)
        if first:
            example |= NO_STAGE_BEFORE
        if not self.full_supervision:
            example["video"] = example["video"]._replace(segments=None)
        self(*example.values())


NO_STAGE_BEFORE = {"prediction": None, "detections": None}


# Clauses of the kit


def _example(C: int, T: int) -> dict[str, Any]:
    maps = inputs.eighths(C, T)
    labels = (np.arange(C) % 2 == 0).astype(np.float64)
    label = np.flatnonzero(labels)
    start, end = np.zeros(len(label)), np.full(len(label), T / 2)
    return {
        "prediction": Prediction(maps[:, ::-1].copy(), maps, 1 - np.arange(C) / 4),
        "detections": VideoDetections(label, start, end, np.full(len(label), 0.5)),
        "edges": np.arange(T + 1.0),
        "video": TrainingVideo("a", labels, Instances(label, start, end)),
    }


def examples() -> Iterator[Example]:
    """What a teacher may read of a video of C classes over T snippets, the smallest first."""
    for C, T in ((1, 1), (2, 3), (3, 100)):
        yield _example(C, T)


promise = partial(clause, "teacher", examples)

promise("targets are (C, T) in [0, 1], or NaN")(demands.form)
promise("its arguments stay as they are")(demands.untouched)
promise("the same arguments give the same targets")(demands.repeats(lambda answer: [answer]))


@promise("without a stage before it teaches the same form, or refuses by a ValueError")
def _first(trial: Trial, **given: Any) -> None:
    demands.form_or_refusal(trial, **{**given, **NO_STAGE_BEFORE})


@promise("segments are read only by one that declares full_supervision, and one of label -1 teaches no class")
def _segments(trial: Trial, **given: Any) -> None:
    teacher, video, T = trial.build(), given["video"], len(given["edges"]) - 1.0
    expected = teacher(*given.values())
    full = getattr(teacher, "full_supervision", False)
    unsure = Instances(*map(np.append, video.segments, (-1, T / 2, T)))  # after all the instances
    given["video"] = video._replace(segments=unsure if full else None)
    got = trial.call(trial.build(), **given)
    agree = (got == expected) | (np.isnan(got) & (full | np.isnan(expected)))
    told = f"With segments {given['video'].segments} it teaches {got.tolist()}, and before {expected.tolist()}."
    answers.require(bool(agree.all()), told)
