"""Detections by two thresholds, and the pseudo ground truth that they give the next stage."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Detections(NamedTuple):
    """Detected intervals of one video."""

    label: IntArray  # (N,)
    start: FloatArray  # (N,) seconds
    end: FloatArray  # (N,) seconds
    score: FloatArray  # (N,)


class ClassAndForeground:
    """Runs of snippets that are of a class and foreground, dilated by one snippet, and then padded.

    A run is scored before it is padded: its mean class score, plus its mean attention, plus the video's class score.

    Args:
        class_threshold: above which a snippet is of a class.
        attention_threshold: above which it is foreground.
        classes: how many of a video's classes are localized, the best first.
        padding: snippets that a detection gets on each side.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self, *, class_threshold: float = 0.1, attention_threshold: float = 0.5, classes: int = 2, padding: int = 2
    ) -> None:
        for name, value in (("class_threshold", class_threshold), ("attention_threshold", attention_threshold)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), got {value}")
        for name, count, least in (("classes", classes, 1), ("padding", padding, 0)):
            if count < least:
                raise ValueError(f"{name} must be {least} or more, got {count}")
        self.class_threshold = class_threshold
        self.attention_threshold = attention_threshold
        self.classes = classes
        self.padding = padding

    def __call__(self, prediction: Any, edges: FloatArray) -> Detections:
        """Map a prediction of C classes over T snippets, and their edges (T + 1,) in seconds, to detections."""
        attention, activation = prediction.attention, prediction.activation
        # The activation is attention times class score, averaged over streams, which leaves the attended mean score.
        scores = np.divide(activation, attention, out=np.zeros_like(activation), where=attention > 0)
        found = []
        for c in np.argsort(-prediction.class_scores, kind="stable")[: self.classes]:
            both = (scores[c] > self.class_threshold) & (attention[c] > self.attention_threshold)
            for first, last in runs(dilated(both)):
                score = scores[c, first:last].mean() + attention[c, first:last].mean() + prediction.class_scores[c]
                start, end = max(first - self.padding, 0), min(last + self.padding, len(both))
                found.append((c, edges[start], edges[end], score))
        label, *rest = np.array(found, np.float64).reshape(-1, 4).T.copy()
        return Detections(label.astype(np.int64), *rest)


def dilated(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is marked (T,), and its neighbours."""
    wide = np.pad(marked, 1)
    return marked | wide[:-2] | wide[2:]


def runs(marked: NDArray[np.bool_]) -> IntArray:
    """The runs of what is marked (T,): the first of each and the one after its last, (N, 2)."""
    bounds: IntArray = np.flatnonzero(np.diff(np.pad(marked, 1).astype(np.int8))).reshape(-1, 2)
    return bounds


class OwnDetections:
    """A snippet is foreground if a detection of the stage before covers its middle, else background.

    Row c holds what the detections of class c cover; the foreground is their union.

    Args:
        dropout: share of a video's snippets, drawn once for each video, of which nothing is said.

    Raises:
        ValueError: dropout is out of its range.
    """

    def __init__(self, *, dropout: float = 0.0) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.dropout = dropout

    def __call__(self, prediction: Any, detections: Any, edges: FloatArray, video: Any) -> FloatArray:  # noqa: ARG002
        """Targets (C, T) of a video whose snippets lie between the edges (T + 1,), in seconds.

        Raises:
            ValueError: there is no stage before.
        """
        if detections is None:
            raise ValueError("the teacher 'own-detections' needs a stage before; give the first stage no teacher")
        middle = (edges[:-1] + edges[1:]) / 2
        targets = np.zeros((len(video.labels), len(middle)))
        for label, start, end in zip(detections.label, detections.start, detections.end, strict=True):
            targets[label, (start <= middle) & (middle < end)] = 1
        # A function of the name, so that the same video is taught the same, in whatever order and run.
        order = np.random.default_rng(zlib.crc32(video.name.encode())).permutation(len(middle))
        targets[:, order[: int(self.dropout * len(middle))]] = np.nan
        return targets
