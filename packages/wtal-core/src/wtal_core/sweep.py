"""Searching localization settings: many of them on one set of predictions, in seconds, because no network runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from wtal_core import config
from wtal_core import grid as grids
from wtal_core.data.dataset import Dataset, Dimensions, segment_problems
from wtal_core.errors import ConfigError, DataError, PluginError
from wtal_core.grid import Point, Points, configured, try_components
from wtal_core.prediction.detect import localize
from wtal_core.prediction.predict import StreamPrediction
from wtal_core.prediction.score import score
from wtal_core.progress import Progress, Silent
from wtal_core.registry import Registry


class Outcome(NamedTuple):
    """One point of the grid: its settings as `key=value`, and the content of evaluation.json."""

    settings: tuple[str, ...]
    content: dict[str, Any]

    @property
    def mean_ap(self) -> float:
        """The mAP averaged over the tIoU thresholds."""
        values = self.content["localization"]["mean_ap"]
        return float(sum(values) / len(values))


def sweep(
    dataset: Dataset,
    predictions: Mapping[str, Sequence[StreamPrediction]],
    points: Mapping[tuple[str, ...], config.Experiment],
    registry: Registry,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Localize and evaluate the data set's test videos at every point of a grid; the best first.

    Args:
        dataset: its test videos are those that `predictions` covers.
        predictions: per video, one per stream.
        points: what `experiments_of` made of the grid; ties stay in its order.
        registry: where components are found.
        progress: shows a bar.

    Raises:
        PluginError: a component fails on a video; the message begins with the combination.
    """
    advance = (progress or Silent()).stage("sweep", len(points))
    outcomes = []
    for done, (settings, changed) in enumerate(points.items(), start=1):
        try:
            settings_of_last = config.stages(changed)[-1].localization
            localized = localize(dataset, dataset.test, predictions, settings_of_last, registry)
        except PluginError as error:
            raise PluginError(f"{' '.join(settings)}: {error}") from error
        outcomes.append(Outcome(settings, score(dataset, localized, changed, registry)))
        advance(done, " ".join(settings))
    return sorted(outcomes, key=lambda outcome: -outcome.mean_ap)


def on_training_subset(dataset: Dataset) -> Dataset:
    """The data set with its training subset in the place of the test subset.

    Raises:
        DataError: instances of the training subset have no segments.
    """
    data = msgspec.structs.replace(dataset.data, test_subset=dataset.data.training_subset)
    moved = dataclasses.replace(dataset, data=data, test=dataset.training)
    if any(segment_problems(moved)):
        raise DataError(
            f"{data.annotations}: a sweep needs segments in the training subset {data.training_subset!r}, and not all "
            "of its instances have one; annotate them, or give --on-test-subset, which searches on the test subset, "
            "whose figures are then no longer a test"
        )
    return moved


def experiments_of(grid: Sequence[str], experiment: config.Experiment, registry: Registry, sizes: Dimensions) -> Points:
    """The experiment at every combination of a grid, its components tried on a small example.

    A mistake in the last combination is so found before the first one costs anything.

    Raises:
        ConfigError: as `combinations`.
        Problems: what is wrong with settings, each with the first combination that has it.
    """
    points = configured(combinations(grid), experiment)
    try_components(points, registry, sizes)
    return points


def combinations(grid: Sequence[str]) -> Iterator[Point]:
    """Every combination of a grid's values, as `key=value` settings; the last key varies fastest.

    Raises:
        ConfigError: a key does not lie below `localization`, or as `grid.axes_of`.
    """
    for line in grid:
        parts = [part.strip() for part in line.partition("=")[0].split(".")]
        if parts[0] != "localization" or len(parts) < 2 or parts[1] in ("activation", "clip"):
            raise ConfigError(
                f"--grid {line}: a sweep changes how stored activations become detections, so keys begin with "
                "localization. and are not localization.activation or localization.clip"
            )
    return grids.combinations(grids.axes_of(grid))
