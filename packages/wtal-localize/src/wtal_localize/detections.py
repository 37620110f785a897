"""The intervals that proposers make and suppressors thin out."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wtal_localize.arguments import real_array

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Detections(NamedTuple):
    """Scored intervals [start, end) of one video. All arrays have shape (N,)."""

    label: IntArray  # class index
    start: FloatArray  # seconds
    end: FloatArray  # seconds, after start
    score: FloatArray  # higher is surer; may be negative

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Detections:
        """The detections at an index, mask or slice, in its order."""
        return Detections(self.label[index], self.start[index], self.end[index], self.score[index])


class DetectionsLike(Protocol):
    """Anything with the four arrays of `Detections`."""

    @property
    def label(self) -> IntArray:
        """Shape (N,), class index."""

    @property
    def start(self) -> FloatArray:
        """Shape (N,), seconds."""

    @property
    def end(self) -> FloatArray:
        """Shape (N,), seconds, after start."""

    @property
    def score(self) -> FloatArray:
        """Shape (N,), higher is surer."""


def checked(detections: DetectionsLike) -> Detections:
    """The same detections as int64 and float64 arrays.

    Raises:
        ValueError: unequal shapes, a value that is not finite, an interval that does not end after its start, or a
            negative label.
        TypeError: labels that are not integers.
    """
    label = np.asarray(detections.label)
    if label.size and label.dtype.kind not in "iu":
        raise TypeError(f"detections.label must hold integer class indices, got dtype {label.dtype}")
    label = label.astype(np.int64, copy=False)
    times = [real_array(f"detections.{name}", getattr(detections, name)) for name in ("start", "end", "score")]
    start, end, score = times
    if label.ndim != 1 or any(array.shape != label.shape for array in times):
        shapes = ", ".join(str(array.shape) for array in (label, *times))
        raise ValueError(f"detections: label, start, end and score must have one shape (N,), got {shapes}")
    length = end - start
    # As few passes as can be, for this runs once a video: what is not finite makes the product so.
    if not (length.min(initial=np.inf) > 0 and math.isfinite(length @ score) and label.min(initial=0) >= 0):
        _explain(label, start, end, score)
    return Detections(label, start, end, score)


def _explain(label: IntArray, start: FloatArray, end: FloatArray, score: FloatArray) -> None:
    """Raise for the first wrong value, if there is one."""
    if label.min(initial=0) < 0:
        n = int(np.argmax(label < 0))
        raise ValueError(f"detections.label must hold class indices of 0 or more, got {label[n]} at {n}")
    for name, array in (("start", start), ("end", end), ("score", score)):
        bad = ~np.isfinite(array)
        if bad.any():
            n = int(np.argmax(bad))
            raise ValueError(f"detections.{name} must be finite, got {array[n]} at {n} (class {label[n]})")
    bad = end <= start
    if bad.any():
        n = int(np.argmax(bad))
        raise ValueError(
            f"detections must end after they start, got [{start[n]}, {end[n]}) at {n} (class {label[n]}); "
            "drop zero-length intervals first"
        )
