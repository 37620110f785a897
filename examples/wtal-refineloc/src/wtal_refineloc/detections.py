"""Detections by two thresholds, and the pseudo ground truth that they give the next stage."""

from __future__ import annotations

import zlib
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Detections = namedtuple("Detections", "label start end score")  # (N,) each, of one video; times in seconds


@dataclass(frozen=True)
class ClassAndForeground:
    """Runs of snippets that are of a class and foreground, dilated by one snippet, scored, and then padded.

    The score is the run's mean class score, plus its mean attention, plus the video's class score.

    Args:
        class_threshold: above which a snippet is of a class, in [0, 1].
        attention_threshold: above which it is foreground, in [0, 1].
        classes: how many of a video's classes are localized, the best first.
        padding: snippets that a detection gets on each side.
    """

    class_threshold: float = 0.1
    attention_threshold: float = 0.5
    classes: int = 2
    padding: int = 2

    def __post_init__(self) -> None:
        if not (0 <= self.class_threshold <= 1 and 0 <= self.attention_threshold <= 1):
            raise ValueError(f"thresholds must be in [0, 1], got {self.class_threshold} and {self.attention_threshold}")
        if self.classes < 1 or self.padding < 0:
            raise ValueError(f"classes must be 1 or more and padding 0, got {self.classes} and {self.padding}")

    def __call__(self, prediction: Any, edges: FloatArray) -> Detections:
        """Map a prediction of C classes over T snippets, and their edges (T + 1,) in seconds, to detections."""
        attention, activation = prediction.attention, prediction.activation
        # The activation is attention times class score, averaged over streams, which leaves the attended mean score.
        scores = np.divide(activation, attention, out=np.zeros_like(activation), where=attention > 0)
        both = np.pad((scores > self.class_threshold) & (attention > self.attention_threshold), ((0, 0), (2, 2)))
        wide = both[:, :-2] | both[:, 1:-1] | both[:, 2:]  # (C, T + 2): beyond the ends comes nothing
        wide[:, [0, -1]] = False
        found = []
        for c in np.argsort(-prediction.class_scores, kind="stable")[: self.classes]:
            for first, last in np.flatnonzero(np.diff(wide[c])).reshape(-1, 2):
                score = (scores + attention)[c, first:last].mean() + prediction.class_scores[c]
                start, end = max(first - self.padding, 0), min(last + self.padding, attention.shape[1])
                found.append((c, edges[start], edges[end], score))
        label, *rest = np.array(found, np.float64).reshape(-1, 4).T.copy()
        return Detections(label.astype(np.int64), *rest)


@dataclass(frozen=True)
class OwnDetections:
    """A snippet is foreground if a detection of the stage before covers its middle, else background.

    Args:
        dropout: share of a video's snippets, in [0, 1], of which nothing is said; drawn once for each video.
    """

    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must be in [0, 1], got {self.dropout}")

    def __call__(self, prediction: Any, detections: Any, edges: FloatArray, video: Any) -> FloatArray:  # noqa: ARG002
        """Targets (C, T) of a video whose snippets lie between the edges (T + 1,): row c is what class c covers."""
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
