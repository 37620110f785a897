"""Which grid would fit the lengths of features, where the one of the experiment does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wtal_core import config
from wtal_core.contracts import FloatArray
from wtal_core.data.timeline import TOLERANCE, expected_length


class Length(NamedTuple):
    """The number of snippets of a video of known duration, in seconds, and its frames per second if they are known."""

    video: str
    snippets: int
    duration: float
    frames_per_second: float | None


#: Rates and strides that extractions use, the usual ones first.
_RATES = (25.0, 30.0, 29.97, 15.0, 10.0, 24.0, 23.976, 5.0, 1.0, 50.0, 60.0)
_STRIDES = (16, 8, 4, 32, 15, 10, 5, 6, 12, 24, 64, 25, 30, 2, 1)
#: The share of videos that a grid must fit to be told of; and the one at which misfits are the fault of their videos.
_MOST, _ENOUGH = 0.9, 0.75


def fitting_grid(found: Sequence[Length], grid: config.Grid) -> str | None:
    """A sentence on the grid that fits most videos; None if `grid` fits enough of them, and the others are at fault."""
    if len(found) < 2:
        return None
    snippets = np.array([one.snippets for one in found])
    durations = np.array([one.duration for one in found])
    annotated = np.array([one.frames_per_second or np.nan for one in found])
    if _fits(grid, snippets, durations, annotated)[0].mean() >= _ENOUGH:
        return None
    if len(set(snippets.tolist())) == 1 and len({round(one.duration) for one in found}) > 1:
        return (
            f"T is {snippets[0]} in all {len(found)} videos, whatever their duration, as where features are resampled: "
            'set data.grid = "duration"'
        )
    tried = ((candidate, *_fits(candidate, snippets, durations, annotated)) for candidate in _candidates(found))
    best, fits, _ = max(tried, key=lambda one: (one[1].sum(), one[2].sum()))  # of equals the first
    if fits.mean() < _MOST:
        return _spread(found, snippets / durations)
    where = f"all {len(found)} videos"
    if not fits.all():
        where = f"{fits.sum()} of {len(found)} videos, not in {found[int(np.argmin(fits))].video!r}"
    return f"T is {_told(best)} in {where}: set data.grid = {_written(best)}"


def _candidates(found: Sequence[Length]) -> Iterator[config.Grid]:
    """Named grids, then usual rates and strides, then the rate that the lengths have."""
    yield from config.GRIDS  # type: ignore[misc]  # whose names they are
    for usual, stride in product(("annotated", *_RATES), _STRIDES):
        yield config.SnippetGrid(usual, stride)  # type: ignore[arg-type]  # a rate, or the word
        if stride < 16:
            yield config.SnippetGrid(usual, stride, 16)  # type: ignore[arg-type]
    rate = float(np.median([one.snippets / one.duration for one in found])) * 16
    yield config.SnippetGrid(float(f"{rate:.4g}"), 16)


def _fits(
    grid: config.Grid, snippets: NDArray[np.int64], durations: FloatArray, annotated: FloatArray
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each video, whether its length is the grid's to one snippet, as `timeline.misfit` asks; and to none."""
    if isinstance(grid, str):
        grid = config.GRIDS.get(grid, grid)
    if isinstance(grid, str):
        return (np.ones(len(snippets), bool),) * 2
    rate = annotated if isinstance(grid.frames_per_second, str) else grid.frames_per_second
    expected = expected_length(grid, durations * rate)
    return np.abs(snippets - expected) <= TOLERANCE, snippets == np.floor(expected + 1e-6)


def _spread(found: Sequence[Length], rates: FloatArray) -> str:
    low, high = int(np.argmin(rates)), int(np.argmax(rates))
    return (
        f"no one grid fits: T a second goes from {rates[low]:.4g} ({found[low].video!r}) to {rates[high]:.4g} "
        f'({found[high].video!r}); features of all of each video, evenly spaced, want data.grid = "duration"'
    )


def _told(grid: config.Grid) -> str:
    settled = config.GRIDS[grid] if isinstance(grid, str) else grid
    if isinstance(settled.frames_per_second, str):
        return f"the annotated frames a second by {settled.stride}"
    return f"{settled.frames_per_second / settled.stride:g} snippets a second"


def _written(grid: config.Grid) -> str:
    """A grid as TOML."""
    if isinstance(grid, str):
        return json.dumps(grid)
    rate = f'"{grid.frames_per_second}"' if isinstance(grid.frames_per_second, str) else f"{grid.frames_per_second:g}"
    window = "" if grid.window is None else f", window = {grid.window}"
    return f"{{ frames_per_second = {rate}, stride = {grid.stride}{window} }}"
