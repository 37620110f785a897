"""A suppressor: it drops detections that repeat a better one. N intervals of one video, times in seconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Detections(NamedTuple):
    """The intervals that are kept."""

    label: NDArray[np.int64]  # (N,) class index
    start: NDArray[np.float64]  # (N,) seconds
    end: NDArray[np.float64]  # (N,) seconds
    score: NDArray[np.float64]  # (N,)


class PlaceholderClass:
    """Keep, best first, what no kept detection of its class covers to more than a share of its own length.

    Args:
        share: in [0, 1].

    Raises:
        ValueError: share is out of its range.
    """

    def __init__(self, *, share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share}")
        self.share = share

    def __call__(self, detections: Any) -> Detections:
        """The kept ones of label, start, end, score (N,); of equal scores the longer wins, and then the earlier."""
        label, start, end, score = (getattr(detections, name) for name in Detections._fields)
        kept: list[int] = []
        for n in np.lexsort((start, start - end, -score)):
            overlap = np.minimum(end[n], end[kept]) - np.maximum(start[n], start[kept])
            if not ((overlap > self.share * (end[n] - start[n])) & (label[kept] == label[n])).any():
                kept.append(n)
        return Detections(label[kept], start[kept], end[kept], score[kept])
