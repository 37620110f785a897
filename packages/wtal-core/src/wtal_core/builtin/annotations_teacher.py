"""Full supervision, as a teacher: what the annotated segments say of each snippet."""

from __future__ import annotations

import numpy as np

from wtal_core.contracts import Detections, FloatArray, Prediction, TrainingVideo


class AnnotationsTeacher:
    """One where an instance of the class covers the middle of the snippet, zero elsewhere, NaN in ambiguous intervals.

    It reads segments, which is more than video-level supervision: for bounds, not for a method's figures.
    """

    full_supervision = True

    def __call__(
        self,
        prediction: Prediction | None,  # noqa: ARG002
        detections: Detections | None,  # noqa: ARG002
        edges: FloatArray,
        video: TrainingVideo,
    ) -> FloatArray:
        """Targets (C, T) of a video whose snippets lie between the edges (T + 1,), in seconds.

        Raises:
            ValueError: the video's segments are not known.
        """
        if video.segments is None:
            raise ValueError("its segments are not annotated")
        middle = (edges[:-1] + edges[1:]) / 2
        targets = np.zeros((len(video.labels), len(middle)))
        label, start, end = video.segments.label, video.segments.start, video.segments.end
        for n in np.argsort(label, kind="stable"):  # ambiguous intervals first, so that an instance within one counts
            inside = (start[n] <= middle) & (middle < end[n])
            targets[slice(None) if label[n] < 0 else label[n], inside] = np.nan if label[n] < 0 else 1
        return targets
