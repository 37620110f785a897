"""A proposer: it cuts predictions into scored intervals. C classes, T snippets, N intervals, times in seconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Detections(NamedTuple):
    """The intervals found in one video."""

    label: NDArray[np.int64]  # (N,) class index
    start: NDArray[np.float64]  # (N,) seconds
    end: NDArray[np.float64]  # (N,) seconds
    score: NDArray[np.float64]  # (N,)


class PlaceholderClass:
    """Each longest run of snippets whose activation exceeds a level; its score is the run's maximum.

    Args:
        level: in [0, 1).

    Raises:
        ValueError: level is out of its range.
    """

    def __init__(self, *, level: float = 0.5) -> None:
        if not 0 <= level < 1:
            raise ValueError(f"level must be in [0, 1), got {level}")
        self.level = level

    def __call__(self, prediction: Any, edges: NDArray[np.float64]) -> Detections:
        """Cut the prediction's activation (C, T) and score with its class_scores (C,).

        It also has attention (C, T), and intervals (label, start, end, score) in snippets if the decoder proposes its
        own, else None. Snippet t lasts from edges[t] to edges[t + 1], seconds.
        """
        found: list[tuple[int, float, float, float]] = []
        for label, row in enumerate(prediction.activation):
            above = np.concatenate([[False], row > self.level, [False]])
            first, last = np.flatnonzero(np.diff(above.astype(np.int8))).reshape(-1, 2).T
            for i, j in zip(first, last, strict=True):
                found.append((label, edges[i], edges[j], row[i:j].max() * prediction.class_scores[label]))
        labels, starts, ends, scores = np.array(found, np.float64).reshape(-1, 4).T
        return Detections(labels.astype(np.int64), starts, ends, scores)
