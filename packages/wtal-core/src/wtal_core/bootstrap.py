"""Is one method better than another, or only lucky with the videos? A paired bootstrap over videos (Efron, 1979).

It works with any evaluator: each resample is a subset of its own, in which a video that is drawn twice appears twice,
the second time under another name. R resamples, V videos, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from wtal_core import config
from wtal_core.binding import during
from wtal_core.contracts import FloatArray, IntArray, Segments
from wtal_core.data.dataset import examine
from wtal_core.errors import DataError
from wtal_core.prediction.detect import Localized
from wtal_core.registry import discover
from wtal_core.run.results import read_localized

_T = TypeVar("_T")

DRAWS = 1000  #: R, how often the videos are drawn
SEED = 0  #: of the draws


class Difference(NamedTuple):
    """Of two mAPs, each the mean over tIoU thresholds and seeds, as fractions; with its 95 % interval."""

    difference: float
    low: float
    high: float
    draws: int  #: those that show an instance


def times_drawn(videos: int, draws: int = DRAWS) -> IntArray:
    """How often each resample draws each video, (R, V): as many videos as there are, with replacement."""
    return np.random.default_rng(SEED).multinomial(videos, np.full(videos, 1 / videos), draws)


def drawn(by_video: Mapping[str, _T], times: Mapping[str, int]) -> dict[str, _T]:
    """What belongs to the drawn videos; the second copy of a video `v` is named `v#2`, with more `#` if needed."""
    mark = "#"
    while any(mark in name for name in by_video):
        mark += "#"
    return {
        name if copy == 1 else f"{name}{mark}{copy}": one
        for name, one in by_video.items()
        for copy in range(1, times[name] + 1)
    }


def resampled(
    evaluator: Any,
    truth: Mapping[str, Segments],
    localized: Localized,
    classes: Sequence[str],
    times: IntArray,
) -> FloatArray:
    """The mAP, the mean over tIoU thresholds, of each resample, (R,); NaN where no drawn video shows an instance.

    Args:
        evaluator: bound.
        truth: of all V videos, the order of which `times` counts in.
        localized: of the same videos.
        classes: their names.
        times: (R, V).

    Raises:
        PluginError: the evaluator fails.
    """
    shows = np.array([(np.asarray(one.label) >= 0).any() for one in truth.values()])
    values = np.full(len(times), np.nan)
    for number in np.flatnonzero(times[:, shows].any(axis=1)):
        counts = dict(zip(truth, times[number].tolist(), strict=True))
        with during("fails on test videos of which some are drawn several times"):
            verdict = evaluator(
                drawn(truth, counts),
                drawn(localized.detections, counts),
                classes,
                drawn(localized.class_scores, counts),
            )
        values[number] = verdict.mean_ap.mean()
    return values


def resampled_run(path: Path, experiment: config.Experiment, first: int, last: int) -> list[float]:
    """As `resampled`, of a finished run's detections: the draws from `first` to before `last`."""
    registry = discover(experiment.disable_plugins)
    dataset, problems = examine(experiment.data, registry)
    if problems:
        raise DataError(str(problems[0]))
    truth = dataset.ground_truth()
    localized = read_localized(path, list(truth), dataset.classes)
    evaluator = registry.build("evaluator", experiment.evaluation.evaluator)
    values: list[float] = resampled(
        evaluator, truth, localized, dataset.classes, times_drawn(len(truth))[first:last]
    ).tolist()
    return values


def parts(size: int = 250) -> Iterator[tuple[int, int]]:
    """All draws in parts, from and to: so that progress is seen, and several processors can share them."""
    for first in range(0, DRAWS, size):
        yield first, min(first + size, DRAWS)


def difference(one: FloatArray, other: FloatArray, means: tuple[float, float]) -> Difference:
    """How much better `one` is than `other`.

    Args:
        one: its mAPs (S, R), of the same resamples as the other's.
        other: (S', R).
        means: their mAPs in all videos.
    """
    apart = one.mean(axis=0) - other.mean(axis=0)
    apart = apart[np.isfinite(apart)]
    low, high = np.percentile(apart, (2.5, 97.5)) if len(apart) else (np.nan, np.nan)
    return Difference(means[0] - means[1], float(low), float(high), len(apart))
