"""The batch of one iteration: which videos, which of their snippets, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from wtal_core.contracts import Batch, FloatArray, IntArray, Targets, Video
from wtal_core.data.dataset import Dataset
from wtal_core.kinds.clip import Bound as Clip
from wtal_core.model import StreamModel


def clip_rows(
    dataset: Dataset, videos: Sequence[Video], stream: str, clip: Clip, generator: np.random.Generator
) -> IntArray:
    """The rows (B, T) of each video that this step sees, -1 where a snippet is hidden and beyond the end of a clip."""
    clips = [clip(dataset.length(video, stream), generator) for video in videos]
    rows = np.full((len(videos), max(map(len, clips))), -1)
    for row, chosen in zip(rows, clips, strict=True):
        row[: len(chosen)] = chosen
    return rows


def read_rows(dataset: Dataset, videos: Sequence[Video], stream: str, rows: IntArray) -> NDArray[np.float32]:
    """The features (B, T, D) of rows (B, T), zero where a row is -1."""
    features = np.zeros((*rows.shape, dataset.feature_dims[stream]), np.float32)
    for batch, video, wanted in zip(features, videos, rows, strict=True):
        batch[wanted >= 0] = dataset.read(video, stream, wanted[wanted >= 0])
    return features


def snippet_targets(lessons: Sequence[FloatArray], rows: IntArray) -> NDArray[np.float32]:
    """Lessons (C, length) at rows (B, T), as (B, C, T): NaN where a row is -1 or beyond what the teacher spoke of."""
    targets = np.full((len(rows), len(lessons[0]), rows.shape[1]), np.nan, np.float32)
    for target, lesson, row in zip(targets, lessons, rows, strict=True):
        known = (row >= 0) & (row < lesson.shape[1])
        target[:, known] = lesson[:, row[known]]
    return targets


def make_batch(
    dataset: Dataset,
    stream: str,
    chosen: IntArray,
    rows: IntArray,
    model: StreamModel,
    instances: FloatArray,
    lessons: Mapping[str, FloatArray] | None,
) -> Batch:
    """The batch of the chosen training videos (B,) at rows (B, T), standardised by the model and on its device.

    Of all training videos it is given `instances` per class, (N, C), and what the teacher says, (C, length) by name.
    """
    device = model.mean.device
    videos = [dataset.training[i] for i in chosen]
    features = torch.from_numpy(read_rows(dataset, videos, stream, rows)).to(device)
    shown = rows >= 0
    mask = None if shown.all() else torch.from_numpy(shown).to(device)
    standardized = model.standardized(features)
    if mask is not None:
        standardized = standardized * mask.unsqueeze(2)
    taught = None if lessons is None else snippet_targets([lessons[video.name] for video in videos], rows)
    targets = targets_of(instances[chosen], dataset.data.counts, device, taught)
    return Batch(standardized, mask, targets, torch.from_numpy(rows).to(device))


def targets_of(
    instances: FloatArray, counts: bool, device: torch.device, snippets: NDArray[np.float32] | None = None
) -> Targets:
    """What a model may learn from, of instances (B, C) per class."""
    tensor = torch.from_numpy(instances).float().to(device)
    taught = None if snippets is None else torch.from_numpy(snippets).to(device)
    return Targets((tensor > 0).float(), tensor if counts else None, taught)
