"""Average precision from the precisions at the true positives, in the three ways that the protocols use.

Precision falls between two true positives, so every maximum that interpolation asks for stands at a true positive, and
nothing else is needed. Each function takes the precision (M,) at the true positives of one class by falling score, and
the number of its instances (at least M, at least 1).
"""

from __future__ import annotations

import numpy as np

from .intervals import FloatArray


def interpolated(precision: FloatArray, instances: int) -> float:
    """Precision made monotone from the right, summed over the steps of recall (PASCAL VOC since 2010)."""
    return float(_monotone(precision).sum()) / instances


def at_true_positives(precision: FloatArray, instances: int) -> float:
    """The sum of the precisions at the true positives over the number of instances (THUMOS 2015 kit)."""
    return float(precision.sum()) / instances


def eleven_point(precision: FloatArray, instances: int) -> float:
    """The mean of the best precision at recall >= 0, 0.1, ... 1 (PASCAL VOC 2007, THUMOS 2014 kit).

    Recall is compared exactly, as a ratio of integers.
    """
    monotone = _monotone(precision)
    tenths = np.arange(11)
    needed = np.maximum(-(-tenths * instances // 10), 1)  # true positives for a recall of at least tenths / 10
    reached = needed <= precision.size
    return float(monotone[needed[reached] - 1].sum()) / 11


def _monotone(precision: FloatArray) -> FloatArray:
    return np.maximum.accumulate(precision[::-1])[::-1]
