"""What kind of errors cost how much.

After DETAD (Alwassel et al., Diagnosing Error in Temporal Action Detectors, ECCV 2018), at one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .evaluation import mean_over_classes
from .intervals import BoolArray, FloatArray, InputError, IntArray
from .matching import pairs_of_any_class
from .protocols import Matching

BACKGROUND_TIOU = 0.1
"""A detection that overlaps no instance this much shows background."""

KINDS = (
    "true positive",
    "double detection",
    "wrong label",
    "localization error",
    "confusion",
    "background",
)
SIZES = ("XS", "S", "M", "L", "XL")


@dataclass(frozen=True)
class Bucket:
    """Instances that are alike, and how well they are found.

    Attributes:
        name: Which they are.
        instances: Their number.
        mean_ap: mAP when only they are to be found, at the precision of as many instances as the class has in all.
        missed: The share of them that no detection found. Both are NaN where there are none.
    """

    name: str
    instances: int
    mean_ap: float
    missed: float


@dataclass(frozen=True)
class Diagnosis:
    """The errors of a set of detections at one tIoU threshold.

    Attributes:
        tiou: The threshold.
        mean_ap: mAP at it.
        counts: Number of detections of each of `KINDS`.
        top_counts: Likewise per slice of the ranking: of each class, as many best detections as it has instances, then
            as many again, ten times.
        gains: What the mAP would gain if the errors of one kind were removed; by kind, true positives not included.
        by_length: Sensitivity to the length of the instance: five buckets with an equal share of the instances.
        by_count: Sensitivity to the number of instances of the class in the video.
    """

    tiou: float
    mean_ap: float
    counts: dict[str, int]
    top_counts: tuple[dict[str, int], ...]
    gains: dict[str, float]
    by_length: tuple[Bucket, ...]
    by_count: tuple[Bucket, ...]


def diagnose(matching: Matching, tiou: float = 0.5) -> Diagnosis:
    """Sort detections into kinds of errors, and see what each kind costs.

    Detections that an ambiguous interval forgives belong to no kind.

    Args:
        matching: Detections matched with ground truth.
        tiou: One of the thresholds of `matching`.

    Raises:
        InputError: If that threshold was not matched.
    """
    at = np.flatnonzero(np.isclose(matching.tiou_thresholds, tiou, rtol=0, atol=1e-9))
    if not at.size:
        raise InputError(
            f"the diagnosis needs tIoU {tiou:g}, but only {', '.join(f'{t:g}' for t in matching.tiou_thresholds)} "
            "were evaluated"
        )
    k = int(at[0])
    kind = kinds(matching, k)
    slices = _slices(matching, k)
    mean_ap = float(matching.evaluate().mean_ap[k])
    gains = {}
    for i, name in enumerate(KINDS[1:], 1):
        gains[name] = float(matching.without(kind == i).evaluate().mean_ap[k]) - mean_ap
    return Diagnosis(
        float(matching.tiou_thresholds[k]),
        mean_ap,
        _count(kind),
        tuple(_count(kind[slices == i]) for i in range(10)),
        gains,
        _by_length(matching, k),
        _by_count(matching, k),
    )


def kinds(matching: Matching, k: int) -> IntArray:
    """The kind (N,) of each detection at threshold k as an index of `KINDS`, or -1 where it is forgiven."""
    rows, instances = matching.detections, matching.instances
    pairs = pairs_of_any_class(rows, instances, BACKGROUND_TIOU, matching.protocol.tiou)
    same = rows.label[pairs.detection] == instances.label[pairs.instance]
    threshold = matching.tiou_thresholds[k]
    reached = pairs.tiou > threshold if matching.protocol.strict else pairs.tiou >= threshold

    def any_pair(chosen: BoolArray) -> BoolArray:
        found = np.zeros(rows.label.size, bool)
        found[pairs.detection[chosen]] = True
        return found

    return np.select(
        [
            matching.dropped(k),
            matching.found[k] >= 0,
            any_pair(reached & same),
            any_pair(reached & ~same),
            any_pair(same),
            any_pair(~same),
        ],
        [-1, 0, 1, 2, 3, 4],
        5,
    )


def _count(kind: IntArray) -> dict[str, int]:
    return {name: int((kind == i).sum()) for i, name in enumerate(KINDS)}


def _slices(matching: Matching, k: int) -> IntArray:
    """How many times the number of instances of its class fits above the rank (N,) of each detection."""
    label = matching.detections.label
    counting = np.cumsum(~matching.dropped(k))
    before = np.concatenate(([0], counting))[matching.class_bounds]
    return (counting - before[label] - 1) // matching.instances_per_class[label]


def _by_length(matching: Matching, k: int) -> tuple[Bucket, ...]:
    length = matching.instances.end - matching.instances.start
    if not length.size:
        return ()
    edges = np.quantile(length, (0.2, 0.4, 0.6, 0.8))
    member = np.searchsorted(edges, length)
    limits = [f"<= {edge:.3g}" for edge in edges] + [f"> {edges[-1]:.3g}"]
    return tuple(
        _bucket(f"{size} ({limit})", matching, k, member == i)
        for i, (size, limit) in enumerate(zip(SIZES, limits, strict=True))
    )


def _by_count(matching: Matching, k: int) -> tuple[Bucket, ...]:
    instances = matching.instances
    group = instances.video * len(matching.classes) + instances.label
    _, place, count = np.unique(group, return_inverse=True, return_counts=True)
    member = np.searchsorted((1, 3, 7, 15), count[place])
    limits = ("1", "2-3", "4-7", "8-15", "16 and more")
    return tuple(
        _bucket(f"{size} ({limit})", matching, k, member == i)
        for i, (size, limit) in enumerate(zip(SIZES, limits, strict=True))
    )


def _bucket(name: str, matching: Matching, k: int, members: BoolArray) -> Bucket:
    found = matching.found[k]
    hit = np.zeros(members.size, bool)
    hit[found[found >= 0]] = True
    if not members.any():
        return Bucket(name, 0, float("nan"), float("nan"))
    return Bucket(name, int(members.sum()), _mean_ap_of(matching, k, members), float(1 - hit[members].mean()))


def _mean_ap_of(matching: Matching, k: int, members: BoolArray) -> float:
    """The mAP of a part of the instances, normalised after Hoiem et al. (ECCV 2012).

    Few instances among as many false detections would have a low precision for no other reason; so each
    counts as if the part were as large as the whole.
    """
    found = matching.found[k]
    true = found >= 0
    true[true] = members[found[true]]
    false = np.concatenate(([0], np.cumsum((found < 0) & ~matching.dropped(k))))
    wanted = np.bincount(matching.instances.label[members], minlength=len(matching.classes))
    usual = matching.instances_per_class
    starts = matching.class_bounds
    average_precision: FloatArray = np.full(len(matching.classes), np.nan)
    for c in np.flatnonzero(wanted):
        hits = starts[c] + np.flatnonzero(true[starts[c] : starts[c + 1]])
        one = np.ones(hits.size, np.int64)
        as_usual = np.cumsum(one) / wanted[c] * usual[c]
        precision = as_usual / (as_usual + false[hits] - false[starts[c]])
        average_precision[c] = matching.protocol.average_precision(precision, one, wanted[c])
    return float(mean_over_classes(average_precision))
