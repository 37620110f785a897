"""A tracker: it is told how a run goes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


class PlaceholderClass:
    """A table of all that is told, `table.csv` in the run's directory: a line per value.

    Args:
        directory: the run's.
        evaluations_only: leave the loss terms of training out.
    """

    def __init__(self, directory: Path, *, evaluations_only: bool = False) -> None:
        self.evaluations_only = evaluations_only
        self._file = (directory / "table.csv").open("a", newline="", encoding="utf-8")
        self._table = csv.writer(self._file)

    def stage(self, name: str) -> None:
        """A model begins to be trained, such as "rgb"; a resumed run tells some of its iterations again."""

    def metrics(self, name: str, iteration: int, values: Mapping[str, float]) -> None:
        """The loss terms of an iteration, by name."""
        if not self.evaluations_only:
            self._write(name, iteration, values)

    def evaluation(self, values: Mapping[str, float]) -> None:
        """What the evaluators say of the test subset, such as "localization/mAP@0.5"."""
        self._write("evaluation", "", values)

    def close(self) -> None:
        """Nothing more will come."""
        self._file.close()

    def _write(self, name: str, iteration: int | str, values: Mapping[str, float]) -> None:
        self._table.writerows([name, iteration, term, value] for term, value in values.items())
        self._file.flush()
