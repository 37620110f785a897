"""Trackers: they are told how a run goes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from wtal_core import binding
from wtal_core.binding import blaming
from wtal_core.testing import inputs
from wtal_core.testing.trial import Trial, clause


class Tracker(Protocol):
    """Hears of a run; built as `cls(directory=..., **options)`, where it may write into the directory.

    A resumed run tells some iterations again.
    """

    def stage(self, name: str) -> None:
        """A model begins to be trained, such as "rgb" or "stage-1/model-0/rgb"."""

    def metrics(self, name: str, iteration: int, values: Mapping[str, float]) -> None:
        """Loss terms of an iteration, by name."""

    def evaluation(self, values: Mapping[str, float]) -> None:
        """What the evaluators say of the test subset, such as "localization/mAP@0.5"."""

    def close(self) -> None:
        """Nothing more will come."""


class Bound(binding.Bound):
    """A tracker in its wrapper."""

    def stage(self, name: str) -> None:
        """A model begins to be trained."""
        with blaming(self.component, doing=f"fails when model {name!r} begins"):
            self.made.stage(name)

    def metrics(self, name: str, iteration: int, values: Mapping[str, float]) -> None:
        """Loss terms of an iteration."""
        with blaming(self.component, doing=f"fails in iteration {iteration} of model {name!r}"):
            self.made.metrics(name, iteration, values)

    def evaluation(self, values: Mapping[str, float]) -> None:
        """What the evaluators say."""
        with blaming(self.component, doing="fails on the evaluation"):
            self.made.evaluation(values)

    def close(self) -> None:
        """Nothing more will come."""
        with blaming(self.component, doing="fails when it is closed"):
            self.made.close()


# Clauses of the kit


@clause("tracker", inputs.once, "it hears of stages, metrics and evaluations, of the same again, and is closed")
def _hears(trial: Trial) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tracker: Any = trial.build(directory=Path(folder))
        for _ in range(2):
            trial.call(tracker.stage, name="stage-0/rgb")
            for iteration in (10, 20):
                values = {"classification": 0.5, "loss": 0.5}
                trial.call(tracker.metrics, name="stage-0/rgb", iteration=iteration, values=values)
                trial.unchanged(values=values)
        values = {"localization/mAP@0.5": 0.25}
        trial.call(tracker.evaluation, values=values)
        trial.unchanged(values=values)
        tracker.close()


@clause("tracker", inputs.once, "built again in the directory of a run, it goes on")
def _reopened(trial: Trial) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            tracker: Any = trial.build(directory=Path(folder))
            trial.call(tracker.metrics, name="rgb", iteration=10, values={"loss": 0.5})
            tracker.close()
