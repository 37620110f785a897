"""The intervals that proposers make and suppressors thin out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
REAL = (int, float, np.integer, np.floating)  # what an option that is a number may be


class Detections(NamedTuple):
    """Scored intervals [start, end) of one video. All arrays have shape (N,)."""

    label: IntArray  # class index
    start: FloatArray  # seconds
    end: FloatArray  # seconds, after start
    score: FloatArray  # higher is surer; may be negative

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Detections:
        """The detections at an index or mask, in its order."""
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
        ValueError: unequal shapes, a value that is not finite, or an interval that does not end after its start.
        TypeError: labels that are not integers.
    """
    label = np.asarray(detections.label)
    if label.size and label.dtype.kind not in "iu":
        raise TypeError(f"detections.label must hold integer class indices, got dtype {label.dtype}")
    label = label.astype(np.int64, copy=False)
    times = [np.asarray(getattr(detections, name), np.float64) for name in ("start", "end", "score")]
    start, end, score = times
    if label.ndim != 1 or any(array.shape != label.shape for array in times):
        shapes = ", ".join(str(array.shape) for array in (label, *times))
        raise ValueError(f"detections: label, start, end and score must have one shape (N,), got {shapes}")
    length = end - start
    # Two sums and a minimum, for this runs once a video: what is not finite makes a sum so.
    if not (length.min(initial=np.inf) > 0 and np.isfinite(length.sum() + score.sum())):
        _explain(label, start, end, score)
    return Detections(label, start, end, score)


def _explain(label: IntArray, start: FloatArray, end: FloatArray, score: FloatArray) -> None:
    """Raise for the first value that is not finite or interval that does not end after its start."""
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
