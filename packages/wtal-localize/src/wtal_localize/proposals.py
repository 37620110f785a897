"""Cutting activations into scored intervals by thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wtal_localize.arguments import choice, explained_as, in_range, is_number, real_array, refuse
from wtal_localize.classes import passing_classes
from wtal_localize.detections import Detections, FloatArray, IntArray
from wtal_localize.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

Rule = Literal["maximum", "range", "absolute"]
Score = Literal["mean", "max", "outer-inner-contrast"]
ClassScore = Literal["ignore", "multiply", "add"]

ROUNDING = 1e-9  # relative; a gap of exactly `bridge` seconds is bridged however its edges were rounded, and so on
BLOCK = 2**20  # snippets thresholded at once: enough to vectorise, few enough to stay in cache


def propose(
    activation: ArrayLike,
    class_scores: ArrayLike,
    edges: ArrayLike,
    *,
    threshold: float | Sequence[float] = 0.2,
    rule: Rule = "maximum",
    class_threshold: float = 0.1,
    score: Score = "mean",
    class_score: ClassScore = "ignore",
    class_weight: float = 0.2,
    upsampling: int = 1,
    bridge: float = 0.0,
    minimum_length: float = 0.0,
    attention: ArrayLike | None = None,
    attention_threshold: float | Sequence[float] = (),
) -> Detections:
    """The runs of snippets whose activation reaches a level (MAAN 3.1), scored.

    Classes whose video-level score is below `class_threshold` are left out; if that leaves none, the class with the
    highest score stays (the first of equals). A snippet of activation 0 is below every level: a class that is zero
    throughout gives no interval. Under the rules `maximum` and `range` any other constant class gives one, the whole
    video; under `absolute` it does if it reaches the level.

    Args:
        activation: (C, T), finite and not negative.
        class_scores: (C,), video-level probabilities.
        edges: (T + 1,) seconds, increasing; snippet t stands for [edges[t], edges[t + 1]).
        threshold: this and what follows as of `Threshold`.
        rule: what the threshold is a fraction of.
        class_threshold: which classes are localized.
        score: how an interval is scored.
        class_score: how the class's score joins in.
        class_weight: its weight.
        upsampling: values a snippet.
        bridge: seconds.
        minimum_length: seconds.
        attention: (C, T) in [0, 1], needed by `attention_threshold` alone.
        attention_threshold: as of `MultiThreshold`.

    Returns:
        Intervals sorted by label, start, end.

    Raises:
        ValueError: an array of wrong shape or value, an option out of range.
    """
    levels = _fractions("threshold", threshold, math.inf if rule == "absolute" else 1.0)
    attention_levels = _fractions("attention_threshold", attention_threshold, 1.0)
    if not levels.size + attention_levels.size:
        raise ValueError("threshold must name at least one level")
    choice("rule", rule, Rule)
    choice("score", score, Score)
    choice("class_score", class_score, ClassScore)
    in_range("class_threshold", class_threshold, 1.0)
    in_range("class_weight", class_weight)
    in_range("bridge", bridge)
    in_range("minimum_length", minimum_length)
    if not (is_number(upsampling) and isinstance(upsampling, (int, np.integer)) and upsampling >= 1):
        raise ValueError(f"upsampling must be an integer of 1 or more, got {upsampling!r}")
    if attention_levels.size and attention is None:
        raise ValueError("attention_threshold needs attention (C, T) beside the activation, and none was given")
    a, video_level, t = _checked(activation, class_scores, edges)
    attended = _attention(attention, a.shape) if attention_levels.size else None

    classes = passing_classes(video_level, class_threshold)
    if not a.shape[1] or not classes.size:
        return Detections(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))
    a = _upsampled(a[classes], upsampling)
    t = np.interp(np.arange(a.shape[1] + 1) / upsampling, np.arange(len(t)), t)
    runs = [*_runs(a, _levels(a, levels, rule), t, bridge, minimum_length)]
    if attended is not None:
        attended = _upsampled(attended[classes], upsampling)
        runs += _runs(attended, _levels(attended, attention_levels, "absolute"), t, bridge, minimum_length)
    row, first, last = _distinct(a.shape[1], *(np.concatenate(parts) for parts in zip(*runs, strict=True)))

    value = _reduce(np.maximum, a, row, first, last) if score == "max" else _mean(a, row, first, last)
    if score == "outer-inner-contrast":
        value = value - _margin_mean(a, row, first, last)
    if class_score == "multiply":
        value = value * video_level[classes[row]]
    elif class_score == "add":
        value = value + class_weight * video_level[classes[row]]
    return Detections(classes[row], t[first], t[last], value)


@dataclass(frozen=True)
class Threshold:
    """Cuts each class's activation at a fraction of its maximum, or at several, into scored runs (MAAN 3.1).

    `propose` is the same on arrays, and says which snippets a run takes in.

    Args:
        threshold: one, or several whose intervals are joined, each given once. MAAN takes 0.2 for THUMOS14 and
            (0.2, 0.15, 0.1, 0.05) for ActivityNet1.3.
        rule: the level is `threshold` times the class's maximum (`maximum`, threshold in [0, 1]); that fraction of the
            way from its minimum to its maximum (`range`; 0.5 is the mid-range); or `threshold` itself (`absolute`).
        class_threshold: the video-level score in [0, 1] from which a class is localized (MAAN: 0.1).
        score: of an interval, from its snippets: their `mean` (STAR eq. 14), their `max`, or `outer-inner-contrast`,
            the mean less the mean over a margin of a quarter of the length on both sides, as far as the video goes
            (0 where there is no margin). Every snippet counts the same, a partly covered one in part.
        class_score: `ignore` the class's video-level score, `multiply` by it, or `add` it times `class_weight`.
        class_weight: see `class_score`; outer-inner contrast is usually taken with `add` and 0.2.
        upsampling: cut the activation after interpolating it linearly to so many values a snippet.
        bridge: join the runs of one level across gaps of up to so many seconds.
        minimum_length: then drop runs shorter than so many seconds.
    """

    threshold: float | Sequence[float] = 0.2
    rule: Rule = "maximum"
    class_threshold: float = 0.1
    score: Score = "mean"
    class_score: ClassScore = "ignore"
    class_weight: float = 0.2
    upsampling: int = 1
    bridge: float = 0.0
    minimum_length: float = 0.0

    def __call__(self, prediction: Prediction, edges: FloatArray) -> Detections:
        """Map a prediction of C classes over T snippets, and their edges (T + 1,) in seconds, to detections."""
        return propose(prediction.activation, prediction.class_scores, edges, **vars(self))


@explained_as(Threshold)
@dataclass(frozen=True)
class MultiThreshold(Threshold):
    """Cuts the activation at a grid of fractions, and attention at a grid of levels if asked to, into scored runs.

    The grid and the score are this project's choice of what public codes do: a score that only looks inside would
    prefer the shortest of nested intervals. Attention is not cut unless `attention_threshold` says where, because its
    levels are absolute and how high it rises differs between decoders (a sigmoid's to 1, a softmax's to some 1 / T): no
    grid suits them all.

    Args:
        attention_threshold: levels in [0, 1] at which attention is cut as well; the intervals are scored by the
            activation. None by default.
    """

    threshold: float | Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    score: Score = "outer-inner-contrast"
    class_score: ClassScore = "add"
    attention_threshold: float | Sequence[float] = ()

    def __call__(self, prediction: Prediction, edges: FloatArray) -> Detections:
        """As `Threshold`; the prediction's attention is read too, if `attention_threshold` names levels."""
        return propose(
            prediction.activation, prediction.class_scores, edges, attention=prediction.attention, **vars(self)
        )


def _fractions(name: str, values: float | Sequence[float], highest: float) -> FloatArray:
    """Thresholds as an array (K,)."""
    try:
        array = np.atleast_1d(np.asarray(values))
    except ValueError:  # ragged
        array = np.empty(0, np.object_)
    numbers = array.dtype.kind in "iuf" and array.ndim == 1
    if not numbers or not ((array >= 0) & (array <= highest) & np.isfinite(array)).all():
        bounds = "0 or more" if highest == math.inf else f"in [0, {highest:g}]"
        raise ValueError(f"{name} must be one or more numbers {bounds}, got {values!r}")
    return array.astype(np.float64)


def _checked(
    activation: ArrayLike, class_scores: ArrayLike, edges: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    a = _maps("activation", activation)
    scores, t = real_array("class_scores", class_scores), real_array("edges", edges)
    C, T = a.shape
    if scores.shape != (C,):
        raise ValueError(f"class_scores must have shape (C,) = ({C},) as activation has, got {scores.shape}")
    if not np.isfinite(scores).all():
        c = int(np.argmax(~np.isfinite(scores)))
        raise ValueError(f"class_scores must be finite, got {scores[c]} for class {c}")
    if t.shape != (T + 1,):
        raise ValueError(f"edges must have shape (T + 1,) = ({T + 1},) for activation {a.shape}, got {t.shape}")
    if not np.isfinite(t).all():
        raise ValueError(f"edges must be finite, got {t[~np.isfinite(t)][0]}")
    if (np.diff(t) <= 0).any():
        i = int(np.argmax(np.diff(t) <= 0))
        raise ValueError(f"edges must increase, got {t[i]} before {t[i + 1]} at snippet {i}")
    return a, scores, t


def _maps(name: str, value: ArrayLike | None) -> FloatArray:
    """Finite, non-negative values (C, T)."""
    maps = real_array(name, value)
    if maps.ndim != 2:
        raise ValueError(f"{name} must have shape (C, T), got {maps.shape}")
    for bad, what in ((~np.isfinite(maps), "finite"), (maps < 0, "zero or more")):
        refuse(name, maps, bad, what, "for class {} at snippet {}")
    return maps


def _attention(value: ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
    """Values (C, T) in [0, 1], or above it by what the weighted mean of several streams may round up."""
    maps = real_array("attention", value)
    if maps.shape != shape:
        raise ValueError(f"attention must have shape (C, T) = {shape} as activation has, got {maps.shape}")
    outside = ~((maps >= 0) & (maps <= 1 + ROUNDING))
    refuse("attention", maps, outside, "in [0, 1]", "for class {} at snippet {}")
    return maps


def _upsampled(values: FloatArray, factor: int) -> FloatArray:
    """Values (R, T) of snippet centres, interpolated linearly to (R, T * factor); constant beyond the outer centres."""
    if factor == 1:
        return values
    T = values.shape[1]
    centre = np.clip((np.arange(T * factor) + 0.5) / factor - 0.5, 0, T - 1)
    left = centre.astype(np.int64)
    rise = np.diff(values, axis=1, append=values[:, -1:])
    # From the left value, so that what is constant stays constant to the bit.
    result: FloatArray = values[:, left] + rise[:, left] * (centre - left)
    return result


def _levels(values: FloatArray, thresholds: FloatArray, rule: Rule) -> FloatArray:
    """Levels (K, R) for K thresholds of values (R, T)."""
    fractions = np.repeat(thresholds[:, None], len(values), axis=1)
    if rule == "absolute":
        return fractions
    high = values.max(axis=1)
    low = values.min(axis=1) if rule == "range" else np.zeros_like(high)
    levels: FloatArray = np.minimum(low + fractions * (high - low), high)  # never above the maximum by rounding
    return levels


def _runs(
    values: FloatArray, levels: FloatArray, edges: FloatArray, bridge: float, minimum_length: float
) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Runs of values (R, T) at or above each of the levels (K, R): row, first snippet, snippet after the last."""
    R, T = values.shape
    levels = np.maximum(levels, np.nextafter(0, 1))[..., None]  # 0 is below every level
    step = max(1, BLOCK // values.size)
    for k in range(0, len(levels), step):
        block = levels[k : k + step]
        flat = np.zeros(1 + len(block) * R * (T + 1), np.bool_)  # a False before all and after each row
        np.greater_equal(values, block, out=flat[1:].reshape(-1, R, T + 1)[..., :T])
        bounds = np.flatnonzero(flat[1:] != flat[:-1])
        line, first = np.divmod(bounds[::2], T + 1)
        last = first + bounds[1::2] - bounds[::2]
        if bridge and line.size:
            gap = edges[first[1:]] - edges[last[:-1]]
            apart = (line[1:] != line[:-1]) | (gap > bridge * (1 + ROUNDING))
            begins, ends = np.append(True, apart), np.append(apart, True)
            line, first, last = line[begins], first[begins], last[ends]
        if minimum_length:
            long = edges[last] - edges[first] >= minimum_length * (1 - ROUNDING)
            line, first, last = line[long], first[long], last[long]
        yield line % R, first, last


def _distinct(T: int, row: IntArray, first: IntArray, last: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Each run once, sorted by row, first, last."""
    key = np.unique((row * (T + 1) + first) * (T + 1) + last)
    return key // (T + 1) ** 2, key // (T + 1) % (T + 1), key % (T + 1)


def _reduce(ufunc: np.ufunc, values: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
    """`ufunc` over values[row, first:last] for each of N runs; of an empty one anything."""
    T = values.shape[1]
    bounds: IntArray = np.column_stack([row * T + first, row * T + last]).ravel()
    padded = np.append(values, 0.0)  # so that a run may end with the last row
    result: FloatArray = ufunc.reduceat(padded, bounds)[::2] if bounds.size else np.empty(0)
    return result


def _mean(values: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
    return _reduce(np.add, values, row, first, last) / (last - first)


def _margin_mean(values: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
    """Mean over the quarter of a run's length before it and after it, within the video; 0 where that is nothing.

    Only what lies in the margins is summed, as differences of running totals would lose small values to large ones.
    """
    T = values.shape[1]
    margin = (last - first) / 4
    before, after = np.maximum(first - margin, 0), np.minimum(last + margin, T)
    size = (first - before) + (after - last)
    low, high = np.ceil(before).astype(np.int64), after.astype(np.int64)  # between them snippets count whole
    outer = np.where(low < first, _reduce(np.add, values, row, low, first), 0)
    outer += np.where(last < high, _reduce(np.add, values, row, last, high), 0)
    # Beside them in part, or not at all, and then whatever the index hits counts 0 times.
    outer += (low - before) * values[row, low - 1] + (after - high) * values[row, np.minimum(high, T - 1)]
    return np.divide(outer, size, out=np.zeros_like(outer), where=size > 0)
