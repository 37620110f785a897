"""Time: where the snippets of a video lie in seconds."""

from __future__ import annotations

import numpy as np

from wtal_core import config
from wtal_core.contracts import FloatArray


def snippet_edges(grid: config.SnippetGrid | str, length: int, duration: float | None) -> FloatArray:
    """The times in seconds between which `length` snippets lie, strictly increasing, shape (length + 1,).

    Snippet t stands for [edges[t], edges[t + 1]). On a frame grid that is the `stride` frames around the middle of
    its window, so that snippets tile the video whatever the window; with "duration" the snippets share the video
    evenly.
    """
    steps = np.arange(length + 1, dtype=np.float64)
    if isinstance(grid, config.SnippetGrid):
        first = ((grid.window or grid.stride) - grid.stride) / 2
        return (first + steps * grid.stride) / grid.frames_per_second
    if duration is None:
        raise ValueError("the grid is 'duration', but the video has none")
    return steps * (duration / max(length, 1))


def misfit(grid: config.SnippetGrid | str, length: int, duration: float | None) -> str | None:
    """Why a number of snippets does not fit the grid and the duration of its video, if it does not."""
    if length == 0:
        return "no snippets (T = 0)"
    if not isinstance(grid, config.SnippetGrid):
        return "data.grid is 'duration', but the annotation has no duration" if duration is None else None
    if duration is None:
        return None
    expected = (duration * grid.frames_per_second - (grid.window or grid.stride)) / grid.stride + 1
    if abs(length - expected) <= 1 + 1e-6:
        return None
    return (
        f"T = {length} snippets, but {duration:g} s at {grid.frames_per_second:g} frames per second and stride "
        f"{grid.stride} make {expected:.1f}; correct data.grid, the duration or the features"
    )
