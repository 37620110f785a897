"""From trained models to detections: activations per stream, their fusion, proposals, suppression."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from wtal_core import answers, config
from wtal_core.annotations import Video
from wtal_core.contracts import Activation, ActivationMaps, Detections, FloatArray, IntArray, Proposer, Suppressor
from wtal_core.dataset import Dataset
from wtal_core.errors import PluginError, one_line
from wtal_core.model import StreamModel
from wtal_core.plugins import Component, Registry, blaming


class VideoDetections(NamedTuple):
    """The detected intervals of one video (`contracts.Detections`), best first."""

    label: IntArray  # (N,)
    start: FloatArray  # (N,) seconds
    end: FloatArray  # (N,) seconds
    score: FloatArray  # (N,)


class Reading(NamedTuple):
    """What one stream's model says of one video."""

    maps: ActivationMaps  # (C, T) each
    class_scores: FloatArray  # (C,)


class Localized(NamedTuple):
    """What all streams together say of one video."""

    detections: VideoDetections
    class_scores: FloatArray  # (C,)


def read_videos(
    dataset: Dataset,
    videos: Sequence[Video],
    models: Mapping[str, StreamModel],
    experiment: config.Experiment,
    registry: Registry,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Reading]]:
    """Run every stream's trained model over all snippets of each video; `report` hears of each finished video.

    Raises:
        PluginError: a component fails on a video, or what it answers breaks its contract.
    """
    name, options = config.component(experiment.localization.activation)
    activation, component = registry.build("activation", name, options), registry.find("activation", name)
    readings = {}
    for video in videos:
        readings[video.name] = [
            read_stream(dataset, video, stream, model, activation, component) for stream, model in models.items()
        ]
        report(video.name)
    return readings


def localize(
    dataset: Dataset,
    videos: Sequence[Video],
    readings: Mapping[str, Sequence[Reading]],
    settings: config.Localization,
    registry: Registry,
) -> dict[str, Localized]:
    """Cut and suppress: from the streams' readings of each video to its detections. Needs no model.

    Raises:
        PluginError: as `read_videos`.
    """
    chosen = {kind: config.component(getattr(settings, kind)) for kind in ("proposer", "suppressor")}
    built = {kind: registry.build(kind, name, options) for kind, (name, options) in chosen.items()}
    components = {kind: registry.find(kind, name) for kind, (name, _) in chosen.items()}
    results = {}
    for video in videos:
        streams = readings[video.name]
        weights = np.array(settings.stream_weights or [1.0] * len(streams))
        what = f"fails on video {video.name!r}"
        try:
            results[video.name] = detect(
                streams,
                weights / weights.sum(),
                settings.fusion,
                partial(_propose, built["proposer"], components["proposer"], what),
                partial(_suppress, built["suppressor"], components["suppressor"], what, len(dataset.classes)),
                partial(dataset.edges, video),
                video.duration,
            )
        except ValueError as error:  # what the proposer has against the activation
            raise PluginError(f"video {video.name!r}: {one_line(error)}") from error
    return results


def read_stream(
    dataset: Dataset, video: Video, stream: str, model: StreamModel, activation: Activation, component: Component
) -> Reading:
    """Run one stream's model over all snippets of a video; `component` is where the activation comes from."""
    features = torch.from_numpy(dataset.read(video, stream)).unsqueeze(0).to(model.mean.device)
    # The graph is kept: gradient maps differentiate the logits with respect to the patterns.
    prepared = model.prepare(features)
    what = f"fails on video {video.name!r}, stream {stream!r}"
    with model.blaming(what):
        decoding = model.decoder(prepared, None)
        answers.decoding(decoding, prepared, None, len(dataset.classes))
    with blaming(component, what):
        maps = activation(decoding, prepared)
        answers.maps(maps, len(dataset.classes), prepared.shape[1])
    attention, response = maps
    scores = decoding.class_scores[0].detach().cpu().numpy()
    return Reading(ActivationMaps(_stored(attention), _stored(response)), _stored(scores))


def detect(
    readings: Sequence[Reading],
    weights: FloatArray,
    fusion: str,
    propose: Callable[[FloatArray, FloatArray, FloatArray, FloatArray], Detections],
    suppress: Suppressor,
    edges: Callable[[int], FloatArray],
    duration: float | None,
) -> Localized:
    """Fuse the streams of one video, propose intervals, clip them to the video and suppress repetitions.

    `propose` is called as `call_proposer` is, without the proposer. Streams may differ by one snippet at the end; they
    are fused over the snippets that all have.
    """
    scores: FloatArray = sum(w * r.class_scores for w, r in zip(weights, readings, strict=True))
    length = min(reading.maps.attention.shape[1] for reading in readings)
    maps = [ActivationMaps(*(m[:, :length] for m in reading.maps)) for reading in readings]
    attention, activations = fuse(maps, weights, fusion)
    proposals = [propose(activation, scores, edges(length), attention) for activation in activations]
    return Localized(_best_first(suppress(_clip(_join(proposals), duration))), scores)


def fuse(maps: Sequence[ActivationMaps], weights: FloatArray, fusion: str) -> tuple[FloatArray, list[FloatArray]]:
    """Fuse the streams' maps into one attention (C, T), and the activations (C, T) from which intervals are proposed.

    The attention is the weighted mean of the streams' attentions. "activations": the weighted mean of the streams'
    activations, one map (MAAN 3.1, at equal weights). "attention": the fused attention times each stream's own
    response, one map per stream (STAR 14).
    """
    attention: FloatArray = sum(w * m.attention for w, m in zip(weights, maps, strict=True))
    if fusion == "activations":
        return attention, [sum(w * m.attention * m.response for w, m in zip(weights, maps, strict=True))]
    return attention, [attention * m.response for m in maps]


def call_proposer(
    proposer: Proposer, activation: FloatArray, class_scores: FloatArray, edges: FloatArray, attention: FloatArray
) -> Detections:
    """Propose from an activation, and give the attention to a proposer whose call names it."""
    try:
        wanted = "attention" in inspect.signature(proposer).parameters
    except ValueError:  # compiled code that does not say what it takes
        wanted = False
    return proposer(activation, class_scores, edges, **({"attention": attention} if wanted else {}))


def _propose(
    proposer: Proposer,
    component: Component,
    what: str,
    activation: FloatArray,
    class_scores: FloatArray,
    edges: FloatArray,
    attention: FloatArray,
) -> Detections:
    with blaming(component, what, refusals=(ValueError,)):
        found = call_proposer(proposer, activation, class_scores, edges, attention)
        answers.detections(found, len(activation), edges[0], edges[-1])
    return found


def _suppress(
    suppressor: Suppressor, component: Component, what: str, num_classes: int, detections: Detections
) -> Detections:
    with blaming(component, what):
        kept = suppressor(detections)
        answers.detections(kept, num_classes, detections.start.min(initial=0.0), detections.end.max(initial=0.0))
    return kept


def _stored(array: NDArray[np.floating]) -> FloatArray:
    """Rounded to float32, in which models compute and readings are kept, so that a stored one gives the same bytes."""
    return array.astype(np.float32).astype(np.float64)


def _join(several: Sequence[Detections]) -> VideoDetections:
    return VideoDetections(
        np.concatenate([detections.label for detections in several]),
        np.concatenate([detections.start for detections in several]),
        np.concatenate([detections.end for detections in several]),
        np.concatenate([detections.score for detections in several]),
    )


def _clip(detections: VideoDetections, duration: float | None) -> VideoDetections:
    """Cut intervals to the video, which the outer snippets may overrun; drop those that lie outside it."""
    last = np.inf if duration is None else duration
    kept = _take(detections, (detections.start < last) & (detections.end > 0))
    return kept._replace(start=np.maximum(kept.start, 0.0), end=np.minimum(kept.end, last))


def _best_first(detections: Detections) -> VideoDetections:
    """Sort by score, ties by start, end and label, so that files do not depend on how a plugin orders its output."""
    order = np.lexsort((detections.label, detections.end, detections.start, -detections.score))
    return _take(detections, order)


def _take(detections: Detections, which: NDArray[np.bool_] | IntArray) -> VideoDetections:
    return VideoDetections(
        detections.label[which], detections.start[which], detections.end[which], detections.score[which]
    )
