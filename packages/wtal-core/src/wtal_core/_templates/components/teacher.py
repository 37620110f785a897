"""A teacher: it says of each snippet of a training video what the next stage shall learn. C classes, T snippets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class PlaceholderClass:
    """Pseudo labels: of a video's own classes, snippets of high activation are one, of low activation zero.

    It says nothing of those between. A class that the video does not have is zero throughout.

    Args:
        low: share of the class's range of activation up to which a snippet is background, in [0, high].
        high: share from which on it is action, in [low, 1].

    Raises:
        ValueError: a share is out of its range; or there is no prediction to teach from, in a first stage.
    """

    #: Whether it reads annotated segments; only then is it given them, and the run says so.
    full_supervision = False

    def __init__(self, *, low: float = 0.2, high: float = 0.5) -> None:
        if not 0 <= low <= high <= 1:
            raise ValueError(f"low and high must have 0 <= low <= high <= 1, got {low} and {high}")
        self.low, self.high = low, high

    def __call__(self, prediction: Any, detections: Any, edges: NDArray[np.float64], video: Any) -> NDArray[np.float64]:
        """Targets (C, T) in [0, 1], NaN where it says nothing, from what the stage before says of the video.

        Args:
            prediction: attention and activation (C, T), class_scores (C,); None before the first stage.
            detections: label, start, end, score (N,), in seconds; None before the first stage.
            edges: of the snippets, (T + 1,), in seconds.
            video: its name, its multi-hot labels (C,), and its segments, which are None here.
        """
        if prediction is None:
            raise ValueError("it teaches from the predictions of an earlier stage, and there is none")
        lowest = prediction.activation.min(1, keepdims=True)
        span = prediction.activation.max(1, keepdims=True) - lowest
        share = (prediction.activation - lowest) / np.where(span > 0, span, 1)
        targets = np.where(share >= self.high, 1.0, np.where(share <= self.low, 0.0, np.nan))
        targets[video.labels == 0] = 0
        return targets
