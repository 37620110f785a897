"""Time: where the snippets of a video lie in seconds."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from wtal_core import config
from wtal_core.contracts import FloatArray
from wtal_core.data.names import normal

#: Snippets by which a length may differ from what grid and duration make.
TOLERANCE = 1 + 1e-6

_Frames = TypeVar("_Frames", float, FloatArray)

#: A grid of which nothing is left to look up.
Settled = config.SnippetGrid | str


def grid_of(data: config.Data, video: str) -> config.Grid:
    """The grid of a video, by its name in normal form: its own, or that of the data set."""
    return next((grid for name, grid in data.video_grids.items() if normal(name) == video), data.grid)


def settled(grid: config.Grid, frames_per_second: float | None) -> Settled:
    """The grid of one video: what a name stands for, with the annotated rate of frames where the grid asks for it.

    Raises:
        ValueError: it does, and the annotations do not say.
    """
    named: Settled = config.GRIDS.get(grid, grid) if isinstance(grid, str) else grid
    if not isinstance(named, config.SnippetGrid) or named.frames_per_second != "annotated":
        return named
    if frames_per_second is None:
        raise ValueError(
            "data.grid wants the annotated frames per second, and the annotations have none for this video; give a "
            "number as data.grid.frames_per_second"
        )
    return config.SnippetGrid(frames_per_second, named.stride, named.window, named.offset)


def snippet_edges(
    grid: config.Grid, length: int, duration: float | None, frames_per_second: float | None = None
) -> FloatArray:
    """The times in seconds between which `length` snippets lie, strictly increasing, shape (length + 1,).

    Snippet t stands for [edges[t], edges[t + 1]). On a frame grid that is the `stride` frames around the middle of
    its window, so that snippets tile the video whatever the window; with "duration" the snippets share the video
    evenly. `frames_per_second` is what the annotations say of the video.
    """
    steps = np.arange(length + 1, dtype=np.float64)
    frames = settled(grid, frames_per_second)
    if isinstance(frames, config.SnippetGrid):
        first = frames.offset + ((frames.window or frames.stride) - frames.stride) / 2
        return (first + steps * frames.stride) / _rate(frames)
    if duration is None:
        raise ValueError("the grid is 'duration', but the video has none")
    return steps * (duration / max(length, 1))


def misfit(
    grid: config.Grid, length: int, duration: float | None, frames_per_second: float | None = None
) -> str | None:
    """Why a number of snippets does not fit the grid and the duration of its video, if it does not."""
    if length == 0:
        return "no snippets (T = 0)"
    try:
        frames = settled(grid, frames_per_second)
    except ValueError as error:
        return str(error)
    if not isinstance(frames, config.SnippetGrid):
        return "data.grid is 'duration', but the annotation has no duration" if duration is None else None
    if duration is None:
        return None
    expected = expected_length(frames, duration * _rate(frames))
    if abs(length - expected) <= TOLERANCE:
        return None
    return (
        f"T = {length} snippets, but {duration:g} s at {frames.frames_per_second:g} frames per second and stride "
        f"{frames.stride} make {expected:.1f}; correct data.grid, the duration or the features"
    )


def expected_length(grid: config.SnippetGrid, frames: _Frames) -> _Frames:
    """The number of windows that lie in so many frames, as if there were parts of them."""
    padding = -min(grid.offset, 0.0)  # of the end, where an offset below 0 says that of the beginning
    return (frames - grid.offset + padding - (grid.window or grid.stride)) / grid.stride + 1


def _rate(grid: config.SnippetGrid) -> float:
    assert not isinstance(grid.frames_per_second, str)  # it is settled
    return grid.frames_per_second
