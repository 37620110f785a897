"""Is one set of detections better than another, or only lucky with the videos? A paired bootstrap over videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .evaluation import counted, mean_over_classes
from .intervals import FloatArray, InputError, IntArray
from .protocols import Matching

WEIGHTS_AT_ONCE = 1 << 22
"""Pairs of a resample and a detection examined in one step, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The difference of two mAPs (first minus second) and its 95 % interval.

    Attributes:
        tiou_thresholds: (K,).
        difference: (K,) of the mAP.
        low: (K,) the 2.5th percentile of the resampled differences.
        high: (K,) the 97.5th percentile.
        average: Of the mean over the thresholds, the difference, its low and its high.
        resamples: How often the videos were drawn, with an instance among them.
    """

    tiou_thresholds: FloatArray
    difference: FloatArray
    low: FloatArray
    high: FloatArray
    average: tuple[float, float, float]
    resamples: int


def compare(first: Matching, second: Matching, resamples: int = 1000, seed: int = 0) -> Comparison:
    """Compare two sets of detections of the same ground truth under one protocol (Efron, 1979).

    Each resample draws as many videos as there are, with replacement, the same for both. A video drawn n times counts n
    times, its instances and its detections alike. A class that no drawn video shows leaves the mean; a resample that
    shows no instance at all is left out. The interval holds the middle 95 % of the resampled differences.

    Args:
        first: Matched with the same ground truth, classes, protocol and thresholds as `second`.
        second: The other one.
        resamples: Number of resamples.
        seed: Of the random generator; the same seed gives the same interval.

    Raises:
        InputError: If no resample shows an instance.
        ValueError: If the two were matched with different ground truth, protocols or thresholds.
    """
    same = (
        first.protocol == second.protocol
        and first.classes == second.classes
        and np.array_equal(first.tiou_thresholds, second.tiou_thresholds)
        and _ground_truth(first) == _ground_truth(second)
    )
    if not same:
        raise ValueError("both need the same ground truth, classes, protocol and thresholds")
    videos = sorted({*first.videos, *second.videos})
    weights = np.random.default_rng(seed).multinomial(len(videos), np.full(len(videos), 1 / len(videos)), resamples)
    place = {name: i for i, name in enumerate(videos)}
    annotated = [place[first.videos[i]] for i in np.unique(first.instances.video)]
    weights = weights[weights[:, annotated].any(axis=1)]
    if not len(weights):
        raise InputError(f"none of {counted(resamples, 'resample')} shows an instance: draw more")
    resampled = [
        resampled_map(matching, weights[:, [place[name] for name in matching.videos]]) for matching in (first, second)
    ]
    apart = resampled[0] - resampled[1]
    low, high = np.percentile(apart, (2.5, 97.5), axis=0)
    average_low, average_high = np.percentile(apart.mean(axis=1), (2.5, 97.5))
    difference = first.evaluate().mean_ap - second.evaluate().mean_ap
    average = (float(difference.mean()), float(average_low), float(average_high))
    return Comparison(first.tiou_thresholds, difference, low, high, average, len(weights))


def _ground_truth(matching: Matching) -> list[tuple[str, int, float, float]]:
    rows = matching.instances
    names = [matching.videos[i] for i in rows.video]
    return list(zip(names, rows.label.tolist(), rows.start.tolist(), rows.end.tolist(), strict=True))


def resampled_map(matching: Matching, weights: IntArray) -> FloatArray:
    """The mAP (R, K) when each video counts as often as its weight (R, V) says.

    Matching happens inside a video, so it need not be repeated. The copies of a detection stand next to each other in
    the ranking; precision is read after the last of them.
    """
    largest = int(np.diff(matching.class_bounds).max(initial=1))
    step = max(1, WEIGHTS_AT_ONCE // largest)
    parts = [_resampled_map(matching, weights[i : i + step]) for i in range(0, len(weights), step)]
    return np.concatenate(parts)


def _resampled_map(matching: Matching, weights: IntArray) -> FloatArray:
    thresholds = len(matching.tiou_thresholds)
    average_precision = np.full((thresholds, len(weights), len(matching.classes)), np.nan)
    starts = matching.class_bounds
    for c in np.flatnonzero(matching.instances_per_class):
        mine = slice(starts[c], starts[c + 1])
        instances = weights[:, matching.instances.video[matching.instances.label == c]].sum(axis=1)
        weight = weights[:, matching.detections.video[mine]]
        ranks = np.cumsum(weight, axis=1)
        for k in range(thresholds):
            hits = np.flatnonzero(matching.found[k, mine] >= 0)
            dropped = matching.dropped(k)[mine]
            counting = ranks - np.cumsum(weight * dropped, axis=1) if dropped.any() else ranks
            true = weight[:, hits]
            with np.errstate(divide="ignore", invalid="ignore"):  # nothing drawn: nothing above, or no instance
                precision = np.nan_to_num(np.cumsum(true, axis=1) / counting[:, hits])
                average_precision[k, :, c] = matching.protocol.average_precision(precision, true, instances)
            average_precision[k, instances == 0, c] = np.nan
    return mean_over_classes(average_precision).T
