"""Prediction: what trained models say of a video, stream by stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from wtal_core import config
from wtal_core.binding import during
from wtal_core.contracts import Assemblies, FloatArray, IntArray, Intervals, Video
from wtal_core.data.dataset import Dataset
from wtal_core.errors import PluginError
from wtal_core.kinds.activation import Bound as Activation
from wtal_core.kinds.decoder import Decoding
from wtal_core.model import StreamModel
from wtal_core.registry import Registry


class StreamPrediction(NamedTuple):
    """What the models of one stream say of one video."""

    attention: FloatArray  # (C, T) in [0, 1]
    response: FloatArray  # (C, T) in [0, 1]
    class_scores: FloatArray  # (C,) in [0, 1]
    intervals: Intervals | None = None  # that decoders propose themselves
    assemblies: Assemblies | None = None  # of a decoder that has several


def predict_videos(
    dataset: Dataset,
    videos: Sequence[Video],
    models: Mapping[str, Sequence[StreamModel]],
    settings: config.Localization,
    registry: Registry,
) -> Iterator[tuple[str, list[StreamPrediction]]]:
    """Run every stream's trained models over each video, one after the other; gives its name and what they say.

    Args:
        dataset: where the features are.
        videos: which videos.
        models: of each stream, whose predictions are averaged.
        settings: say which activation, and which snippets are shown.
        registry: where components are found.

    Raises:
        PluginError: a component fails on a video, or what it answers breaks its contract.
    """
    activation, clip = registry.build("activation", settings.activation), registry.build("clip", settings.clip)
    for video in videos:
        of_video = []
        for stream, members in models.items():
            with during(f"fails on video {video.name!r}, stream {stream!r}"):
                rows = clip(dataset.length(video, stream), np.random.default_rng(0))
                require_even(rows, dataset.length(video, stream), clip.component.name)
                features = dataset.read(video, stream)
                shown = features if len(rows) == len(features) and (np.diff(rows) == 1).all() else features[rows]
                of_video.append(average([predict(model, activation, shown) for model in members]))
        yield video.name, of_video


def predict(model: StreamModel, activation: Activation, features: NDArray[np.float32]) -> StreamPrediction:
    """Run one model over the features (T, D) of a video and read its activations."""
    given = torch.from_numpy(features).unsqueeze(0).to(model.mean.device)
    # The graph is kept, from the input on, of which alone may be pooled: gradient maps differentiate the logits with
    # respect to what was pooled.
    decoding = model(model.standardized(given).requires_grad_())
    attention, response = activation(decoding)
    scores = decoding.class_scores[0].detach().cpu().numpy()
    return StreamPrediction(
        _stored(attention),
        _stored(response),
        _stored(scores),
        None if decoding.intervals is None else _rounded(decoding.intervals),
        _assemblies(decoding),
    )


def average(several: Sequence[StreamPrediction]) -> StreamPrediction:
    """The mean of several models' predictions; their intervals side by side, each with its share of the score."""
    if len(several) == 1:
        return several[0]
    attention, response, scores = (
        _stored(np.mean([getattr(one, name) for one in several], axis=0)) for name in StreamPrediction._fields[:3]
    )
    together = joined([one.intervals for one in several], [1 / len(several)] * len(several))
    assemblies = [one.assemblies for one in several if one.assemblies is not None]
    side_by_side = Assemblies(*map(np.concatenate, zip(*assemblies, strict=True))) if assemblies else None
    return StreamPrediction(attention, response, scores, None if together is None else _rounded(together), side_by_side)


def joined(several: Sequence[Intervals | None], weights: Sequence[float]) -> Intervals | None:
    """Intervals of several models or streams in one, their scores times the weights; None where there are none."""
    present = [
        one._replace(score=one.score * weight) for one, weight in zip(several, weights, strict=True) if one is not None
    ]
    return Intervals(*map(np.concatenate, zip(*present, strict=True))) if present else None


def _assemblies(decoding: Decoding) -> Assemblies | None:
    if decoding.attention.shape[1] == 1 or decoding.logits is None:
        return None
    probabilities = decoding.logits.softmax(2) if decoding.probabilities is None else decoding.probabilities
    return Assemblies(*(_stored(part[0].detach().cpu().numpy()) for part in (decoding.attention, probabilities)))


def _rounded(own: Intervals) -> Intervals:
    return Intervals(own.label, _stored(own.start), _stored(own.end), _stored(own.score))


def require_even(rows: IntArray, length: int, name: str) -> None:
    """Hold the rows of a clip in testing, which stand for equal parts of the video: else nobody knows when things are.

    Raises:
        PluginError: a row lies outside its part.
    """
    parts = np.arange(len(rows)) * length / len(rows)
    if (rows < 0).any() or (rows < np.floor(parts)).any() or (rows > parts + length / len(rows)).any():
        raise PluginError(
            f"clip {name!r} does not show the whole video evenly, so it cannot be localization.clip; use 'whole' or "
            "'uniform'"
        )


def _stored(array: NDArray[np.generic]) -> FloatArray:
    """Rounded to float32, in which models compute and predictions are kept: a stored one gives the same bytes."""
    return np.asarray(array).astype(np.float32).astype(np.float64)
