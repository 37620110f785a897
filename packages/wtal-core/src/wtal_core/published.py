"""What papers report of an experiment, beside which its own figures are read."""

from __future__ import annotations

from collections.abc import Iterator

from wtal_core import config
from wtal_core.data.dataset import Dataset


def lines(experiment: config.Experiment, dataset: Dataset) -> list[str]:
    """A line for each published row, which says of how many videos and classes it is, and where this test differs."""
    said = []
    for table in experiment.published:
        here = ", ".join(_differences(table, experiment, dataset))
        size = f"{_count(table.videos, 'video')}, {_count(table.classes, 'class')}"
        about = f"{table.source}, {size}{here and f'; here {here}'}"
        for name, row in table.rows.items():
            figures = ", ".join(f"{column}: {value:.1f}" for column, value in zip(table.columns, row, strict=True))
            said.append(f"published ({about}): {name} {figures}")
    return said


def _differences(table: config.Published, experiment: config.Experiment, dataset: Dataset) -> Iterator[str]:
    """What makes this test another one than the published."""
    if len(dataset.test) != table.videos:
        yield _count(len(dataset.test), "video")
    if len(dataset.classes) != table.classes:
        yield _count(len(dataset.classes), "class")
    evaluator = config.name_of(experiment.evaluation.evaluator)
    if evaluator != table.evaluator:
        yield f"evaluator {evaluator}"


def _count(number: int, what: str) -> str:
    plural = "es" if what.endswith("s") else "s"
    return f"{number} {what}{plural * (number != 1)}"
