"""From predictions to detections: proposals, suppression, and the video's own limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wtal_core import config
from wtal_core.binding import during
from wtal_core.contracts import Detections, FloatArray, Video
from wtal_core.data.dataset import Dataset
from wtal_core.errors import PluginError, one_line
from wtal_core.kinds.suppressor import VideoDetections, parts, take
from wtal_core.prediction.fuse import fuse
from wtal_core.prediction.predict import StreamPrediction
from wtal_core.registry import Registry


class Localized(NamedTuple):
    """What all streams together say of some videos, by name."""

    detections: dict[str, VideoDetections]  # the best first
    class_scores: dict[str, FloatArray]  # (C,)


def localize(
    dataset: Dataset,
    videos: Sequence[Video],
    predictions: Mapping[str, Sequence[StreamPrediction]],
    settings: config.Localization,
    registry: Registry,
) -> Localized:
    """Fuse the streams of each video, propose intervals, cut them to the video, suppress repetitions; without a model.

    Raises:
        PluginError: a component fails on a video, or what it answers breaks its contract.
    """
    propose = registry.build("proposer", settings.proposer)
    suppress = registry.build("suppressor", settings.suppressor)
    detections, scores = {}, {}
    for video in videos:
        fused = fuse(predictions[video.name], settings)
        edges = dataset.edges(video, fused[0].attention.shape[1])
        try:
            with during(f"fails on video {video.name!r}"):
                proposals = [propose(prediction, edges) for prediction in fused]
                detections[video.name] = best_first(suppress(cut(join(proposals), video.duration)))
        except ValueError as error:  # what the proposer has against the prediction
            raise PluginError(f"video {video.name!r}: {one_line(error)}") from error
        scores[video.name] = fused[0].class_scores
    return Localized(detections, scores)


def join(several: Sequence[Detections]) -> VideoDetections:
    """Detections of one video side by side."""
    return VideoDetections(*map(np.concatenate, zip(*map(parts, several), strict=True)))


def cut(detections: VideoDetections, duration: float | None) -> VideoDetections:
    """Cut intervals to the video, which the outer snippets may overrun; drop those that lie outside it."""
    last = np.inf if duration is None else duration
    kept = take(detections, (detections.start < last) & (detections.end > 0))
    return kept._replace(start=np.maximum(kept.start, 0.0), end=np.minimum(kept.end, last))


def best_first(detections: Detections) -> VideoDetections:
    """Sort by score, ties by start, end and label, so that files do not depend on how a plugin orders its output."""
    order = np.lexsort((detections.label, detections.end, detections.start, -detections.score))
    return take(detections, order)
