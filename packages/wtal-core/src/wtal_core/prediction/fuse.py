"""Late fusion: one prediction of a video, of what its streams' models say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wtal_core import config
from wtal_core.contracts import FloatArray, Intervals, Prediction
from wtal_core.prediction.predict import StreamPrediction, joined


def fuse(streams: Sequence[StreamPrediction], settings: config.Localization) -> list[Prediction]:
    """Fuse the streams of one video; intervals are proposed from each of the predictions.

    Attention and class scores are the weighted means of the streams'. Fusion "activations": the weighted mean of the
    streams' activations, one prediction (MAAN 3.1, at equal weights). "attention": the fused attention times each
    stream's own response, one prediction a stream (STAR 14). Streams may differ by one snippet at the end; they are
    fused over the snippets that all have.
    """
    given = np.array(settings.stream_weights or [1.0] * len(streams))
    weights = given / given.sum()
    length = min(one.attention.shape[1] for one in streams)
    attentions = [one.attention[:, :length] for one in streams]
    responses = [one.response[:, :length] for one in streams]
    attention: FloatArray = sum(w * a for w, a in zip(weights, attentions, strict=True))
    own = [_within(one.intervals, length) for one in streams]
    scores: FloatArray = sum(w * one.class_scores for w, one in zip(weights, streams, strict=True))
    if settings.fusion == "activations":
        products = zip(weights, attentions, responses, strict=True)
        intervals = joined(own, weights.tolist())
        return [Prediction(attention, sum(w * a * r for w, a, r in products), scores, intervals)]
    return [
        Prediction(attention, attention * response, scores, joined([intervals], [weight]))
        for response, intervals, weight in zip(responses, own, weights.tolist(), strict=True)
    ]


def _within(own: Intervals | None, length: int) -> Intervals | None:
    """Intervals cut to the first `length` snippets; those beyond them go."""
    if own is None:
        return None
    kept = own.start < length
    return Intervals(own.label[kept], own.start[kept], np.minimum(own.end[kept], float(length)), own.score[kept])


def mean(predictions: Sequence[Prediction]) -> Prediction:
    """One prediction for a teacher, where there is one a stream."""
    if len(predictions) == 1:
        return predictions[0]
    first = predictions[0]
    activation = np.mean([one.activation for one in predictions], axis=0)
    return first._replace(
        activation=activation, intervals=joined([one.intervals for one in predictions], [1.0] * len(predictions))
    )
