"""Which classes of a video are worth localizing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wtal_localize.detections import FloatArray, IntArray


def passing_classes(class_scores: FloatArray, class_threshold: float) -> IntArray:
    """The classes whose score reaches the threshold (MAAN 3.1), or the first of the highest score if none does."""
    passing = np.flatnonzero(class_scores >= class_threshold)
    if not passing.size and class_scores.size:
        passing = np.array([np.argmax(class_scores)])
    return passing.astype(np.int64)
