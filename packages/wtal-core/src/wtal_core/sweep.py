"""Searching localization settings: many of them on one set of readings, in seconds, because no network runs."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wtal_core import config, evaluation, localization
from wtal_core.dataset import Dataset
from wtal_core.errors import ConfigError
from wtal_core.localization import Reading
from wtal_core.plugins import Registry
from wtal_core.progress import Progress, Silent


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
    readings: Mapping[str, Sequence[Reading]],
    experiment: config.Experiment,
    registry: Registry,
    grid: Sequence[str],
    progress: Progress | None = None,
) -> list[Outcome]:
    """Localize and evaluate the data set's test videos with every combination of a grid; the best first.

    Ties stay in the grid's order.

    Args:
        dataset: its test videos are those that `readings` covers.
        readings: per video, one per stream.
        experiment: what the settings change.
        registry: where components are found.
        grid: `key=[value, ...]` each, with keys below `localization`.
        progress: shows a bar.

    Raises:
        ConfigError: a key lies elsewhere, a value is no list, or a setting is wrong.
    """
    points = list(combinations(grid))
    advance = (progress or Silent()).stage("sweep", len(points))
    outcomes = []
    for done, settings in enumerate(points, start=1):
        changed = config.configure(experiment, settings)
        results = localization.localize(dataset, dataset.test, readings, changed.localization, registry)
        outcomes.append(Outcome(settings, evaluation.evaluate_localized(dataset, results, changed, registry)))
        advance(done, " ".join(settings))
    return sorted(outcomes, key=lambda outcome: -outcome.mean_ap)


def combinations(grid: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every combination of a grid's values, as `key=value` settings; the last key varies fastest.

    Example:
        combinations(["localization.proposer.threshold=[0.1, 0.2]"])

    Raises:
        ConfigError: as `sweep`.
    """
    axes = []
    for line in grid:
        key, _, text = line.partition("=")
        if not key.startswith("localization.") or key.startswith("localization.activation"):
            raise ConfigError(
                f"--grid {line}: a sweep changes how stored activations become detections, so keys begin with "
                "localization. and are not localization.activation"
            )
        try:
            values = tomllib.loads(f"values = {text}")["values"]
        except tomllib.TOMLDecodeError:
            values = None
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"--grid {line}: expected key=[value, ...], such as localization.proposer.threshold=[0.1,0.2]"
            )
        axes.append([f"{key}={_toml(value)}" for value in values])
    yield from itertools.product(*axes)


def _toml(value: Any) -> str:
    """A value as TOML writes it inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return repr(value)
