"""Intervals that a decoder proposes itself, in seconds (AutoLoc)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wtal_localize.arguments import in_range
from wtal_localize.classes import passing_classes
from wtal_localize.detections import Detections

if TYPE_CHECKING:
    from wtal_localize.detections import FloatArray
    from wtal_localize.prediction import Prediction


@dataclass(frozen=True)
class OwnIntervals:
    """The intervals that the decoder itself gives, as detections.

    Args:
        class_threshold: the video-level score in [0, 1] from which a class is localized; if that leaves none, the class
            with the highest score stays (the first of equals).
    """

    class_threshold: float = 0.1

    def __post_init__(self) -> None:
        in_range("class_threshold", self.class_threshold, 1)

    def __call__(self, prediction: Prediction, edges: FloatArray) -> Detections:
        """Map the intervals of a prediction, and snippet edges (T + 1,) in seconds, to detections.

        Raises:
            ValueError: the decoder gives no intervals.
        """
        own = prediction.intervals
        if own is None:
            raise ValueError(
                "the proposer 'intervals' needs a decoder that proposes intervals itself, and this one gives none; "
                "use 'threshold' or 'multi-threshold'"
            )
        snippets = np.arange(len(edges))
        start, end = np.interp(own.start, snippets, edges), np.interp(own.end, snippets, edges)
        kept = np.isin(own.label, passing_classes(prediction.class_scores, self.class_threshold)) & (start < end)
        return Detections(own.label[kept], start[kept], end[kept], own.score[kept])
