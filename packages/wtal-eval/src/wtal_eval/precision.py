"""Average precision from the precisions at the true positives, in the three ways that the protocols use.

Precision falls between two true positives, so every maximum that interpolation asks for stands at a true positive, and
nothing else is needed. All functions take, along the last axis, the true positives of one class by falling score:

    precision: (..., M) at each of them, false detections above it included.
    hits: (..., M) how many true positives stand there: 1, or how often a resample drew the video.
    instances: (...) the number of instances.
"""

from __future__ import annotations

import numpy as np

from .intervals import FloatArray, IntArray


def interpolated(precision: FloatArray, hits: IntArray, instances: IntArray) -> FloatArray:
    """Precision made monotone from the right, summed over the steps of recall (PASCAL VOC since 2010)."""
    area: FloatArray = np.sum(_monotone(precision) * hits, axis=-1) / instances
    return area


def at_true_positives(precision: FloatArray, hits: IntArray, instances: IntArray) -> FloatArray:
    """The sum of the precisions at the true positives over the number of instances (THUMOS 2015 kit)."""
    area: FloatArray = np.sum(precision * hits, axis=-1) / instances
    return area


def eleven_point(precision: FloatArray, hits: IntArray, instances: IntArray) -> FloatArray:
    """The mean of the best precision at recall >= 0, 0.1, ... 1 (PASCAL VOC 2007, THUMOS 2014 kit).

    Recall is compared exactly, as a ratio of integers.
    """
    found = np.cumsum(hits, axis=-1)
    needed = np.asarray(instances)[..., None]
    best = [np.max(precision, axis=-1, initial=0.0, where=10 * found >= tenth * needed) for tenth in range(11)]
    mean: FloatArray = np.sum(best, axis=0) / 11
    return mean


def _monotone(precision: FloatArray) -> FloatArray:
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
