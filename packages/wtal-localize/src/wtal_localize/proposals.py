"""Cutting activations into scored intervals by thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from wtal_localize.classes import passing_classes
from wtal_localize.detections import REAL, Detections, FloatArray, IntArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

Rule = Literal["maximum", "range", "absolute"]
Score = Literal["mean", "max", "outer-inner-contrast"]
ClassScore = Literal["ignore", "multiply", "add"]

ROUNDING = 1e-9  # relative; a gap of exactly `bridge` seconds is bridged however its edges were rounded
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
        attention: (C, T) in [0, 1], needed by `attention_threshold` alone.
        attention_threshold: levels at which attention is cut as well; the intervals are scored by the activation.

    Returns:
        Intervals sorted by label, start, end.

    Raises:
        ValueError: an array of wrong shape or value, an option out of range.
    """
    levels = _fractions("threshold", threshold, math.inf if rule == "absolute" else 1.0)
    attention_levels = _fractions("attention_threshold", attention_threshold, 1.0)
    if not levels.size + attention_levels.size:
        raise ValueError("threshold must name at least one level")
    _choice("rule", rule, Rule)
    _choice("score", score, Score)
    _choice("class_score", class_score, ClassScore)
    _in_range("class_threshold", class_threshold, 1.0)
    _in_range("class_weight", class_weight)
    _in_range("bridge", bridge)
    _in_range("minimum_length", minimum_length)
    if not isinstance(upsampling, (int, np.integer)) or upsampling < 1:
        raise ValueError(f"upsampling must be an integer of 1 or more, got {upsampling}")
    if attention_levels.size and attention is None:
        raise ValueError("attention_threshold needs attention (C, T) beside the activation, and none was given")
    a, video_level, t = _checked(activation, class_scores, edges)

    classes = passing_classes(video_level, class_threshold)
    if not a.shape[1] or not classes.size:
        return Detections(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))
    a = _upsampled(a[classes], upsampling)
    t = np.interp(np.arange(a.shape[1] + 1) / upsampling, np.arange(len(t)), t)
    runs = [*_runs(a, _levels(a, levels, rule), t, bridge, minimum_length)]
    if attention_levels.size:
        attended = _upsampled(_maps("attention", attention, np.shape(activation))[classes], upsampling)
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
    """The proposer `threshold`: cuts the activation; see `propose` for the options."""

    threshold: float | Sequence[float] = 0.2
    rule: Rule = "maximum"
    class_threshold: float = 0.1
    score: Score = "mean"
    class_score: ClassScore = "ignore"
    class_weight: float = 0.2
    upsampling: int = 1
    bridge: float = 0.0
    minimum_length: float = 0.0

    def __call__(self, activation: FloatArray, class_scores: FloatArray, edges: FloatArray) -> Detections:
        """Map activation (C, T), class scores (C,) and snippet edges (T + 1,) in seconds to detections."""
        return propose(activation, class_scores, edges, **vars(self))


@dataclass(frozen=True)
class MultiThreshold(Threshold):
    """The proposer `multi-threshold`: cuts the activation, and attention if asked to, at a grid of levels.

    See `propose` for the options. The grid and the score are this project's choice of what public codes do: a score
    that only looks inside would prefer the shortest of nested intervals.
    """

    threshold: float | Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    score: Score = "outer-inner-contrast"
    class_score: ClassScore = "add"
    attention_threshold: float | Sequence[float] = ()

    def __call__(
        self,
        activation: FloatArray,
        class_scores: FloatArray,
        edges: FloatArray,
        attention: FloatArray | None = None,
    ) -> Detections:
        """As `Threshold`; attention (C, T) is needed if `attention_threshold` names levels."""
        return propose(activation, class_scores, edges, attention=attention, **vars(self))


def _fractions(name: str, values: float | Sequence[float], highest: float) -> FloatArray:
    """Thresholds as an array (K,)."""
    array = np.atleast_1d(np.asarray(values))
    if array.dtype.kind not in "iuf":
        array = np.array([np.nan])  # no numbers: refused below
    array = array.astype(np.float64)
    if array.ndim != 1 or not ((array >= 0) & (array <= highest) & np.isfinite(array)).all():
        bounds = "0 or more" if highest == math.inf else f"in [0, {highest:g}]"
        raise ValueError(f"{name} must be one or more numbers {bounds}, got {values}")
    return array


def _choice(name: str, value: str, choices: object) -> None:
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, got {value!r}")


def _in_range(name: str, value: float, highest: float = math.inf) -> None:
    if not (isinstance(value, REAL) and 0 <= value <= highest and value < math.inf):
        bounds = "0 or more" if highest == math.inf else f"in [0, {highest:g}]"
        raise ValueError(f"{name} must be {bounds}, got {value}")


def _checked(
    activation: ArrayLike, class_scores: ArrayLike, edges: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    a = _maps("activation", activation)
    scores, t = np.asarray(class_scores, np.float64), np.asarray(edges, np.float64)
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


def _maps(name: str, value: ArrayLike | None, shape: tuple[int, ...] | None = None) -> FloatArray:
    """Finite, non-negative values (C, T)."""
    maps = np.asarray(value, np.float64)
    if maps.ndim != 2 or (shape is not None and maps.shape != shape):
        expected = "(C, T)" if shape is None else f"(C, T) = {shape} as activation has"
        raise ValueError(f"{name} must have shape {expected}, got {maps.shape}")
    for bad, what in ((~np.isfinite(maps), "finite"), (maps < 0, "zero or more")):
        if bad.any():
            c, i = np.argwhere(bad)[0]
            raise ValueError(f"{name} must be {what}, got {maps[c, i]} for class {c} at snippet {i}")
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
    """`ufunc` over values[row, first:last] for each of N runs, none of them empty."""
    T = values.shape[1]
    bounds: IntArray = np.column_stack([row * T + first, row * T + last]).ravel()
    padded = np.append(values, 0.0)  # so that a run may end with the last row
    result: FloatArray = ufunc.reduceat(padded, bounds)[::2] if bounds.size else np.empty(0)
    return result


def _mean(values: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
    return _reduce(np.add, values, row, first, last) / (last - first)


def _margin_mean(values: FloatArray, row: IntArray, first: IntArray, last: IntArray) -> FloatArray:
    """Mean over the quarter of a run's length before it and after it, within the video; 0 where that is nothing."""
    T = values.shape[1]
    total = np.zeros((len(values), T + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])

    def up_to(x: FloatArray) -> FloatArray:
        whole = np.minimum(x.astype(np.int64), T - 1)
        result: FloatArray = total[row, whole] + (x - whole) * values[row, whole]
        return result

    margin = (last - first) / 4
    before, after = np.maximum(first - margin, 0), np.minimum(last + margin, T)
    size = (first - before) + (after - last)
    outer = (total[row, first] - up_to(before)) + (up_to(after) - total[row, last])
    return np.divide(outer, size, out=np.zeros_like(outer), where=size > 0)
