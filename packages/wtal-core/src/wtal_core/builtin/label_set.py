"""Label sets: a snippet of a video shows one of that video's labels, or background.

Known from set-supervised segmentation (Richard, Kuehne, Gall, CVPR 2018; Fayyaz, Gall, CVPR 2020); here as a loss on
snippets, and as the teacher of the next stage.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from wtal_core.contracts import Batch, Decoding, Detections, FloatArray, Prediction, TrainingVideo


def label_set(logits: Tensor, background: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """Mean over visible snippets of -log(probability of the video's labels and the background), a scalar.

    Args:
        logits: (B, T, C) of the snippets.
        background: (B, T).
        labels: (B, C), multi-hot.
        seen: (B, T) bool.
    """
    everything = torch.cat([logits, background.unsqueeze(2)], 2)
    allowed = torch.cat([labels > 0, torch.ones_like(labels[:, :1], dtype=torch.bool)], 1).unsqueeze(1)
    lowest = torch.finfo(logits.dtype).min
    penalty = everything.logsumexp(2) - everything.masked_fill(~allowed, lowest).logsumexp(2)
    return (penalty * seen).sum() / seen.sum().clamp(min=1)


class LabelSet:
    """The penalty of probability outside a video's labels and the background.

    Args:
        weight: of the term.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("snippet_logits", "background_logits")

    def __init__(self, *, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `label_set`."""
        logits, background = decoding.snippet_logits, decoding.background_logits
        assert logits is not None  # `needs` says so
        assert background is not None
        seen = torch.ones_like(background, dtype=torch.bool) if batch.mask is None else batch.mask
        return {"label_set": self.weight * label_set(logits, background, batch.targets.labels, seen)}


class LabelSetTeacher:
    """The stage before's probabilities of each snippet, restricted to the video's labels and the background, smoothed.

    What it says is soft: a label that no snippet shows best still has its small share everywhere, and keeps it.

    Args:
        smoothing: the width of a moving mean over time, in seconds; 0 for none.
        sharpening: the power to which the probabilities are raised, before they are made to sum to 1 again; 1 for none.

    Raises:
        ValueError: an option is out of its range; or there is no stage before.
    """

    def __init__(self, *, smoothing: float = 0.0, sharpening: float = 1.0) -> None:
        if not 0 <= smoothing < float("inf"):
            raise ValueError(f"smoothing must be 0 s or more, got {smoothing}")
        if not 0 < sharpening < float("inf"):
            raise ValueError(f"sharpening must be above 0, got {sharpening}")
        self.smoothing = smoothing
        self.sharpening = sharpening

    def __call__(
        self,
        prediction: Prediction | None,
        detections: Detections | None,  # noqa: ARG002
        edges: FloatArray,
        video: TrainingVideo,
    ) -> FloatArray:
        """Targets (C, T) of a video whose snippets lie between the edges (T + 1,), in seconds."""
        if prediction is None:
            raise ValueError("it teaches what the stage before has learnt, and there is none")
        activation = np.minimum(prediction.activation, 1)
        background = np.clip(1 - activation.sum(0), 0, 1)
        shares = np.vstack([activation * video.labels[:, None], background]) ** self.sharpening
        total = shares.sum(0)
        shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        width = 0 if len(edges) < 2 else round(self.smoothing / np.diff(edges).mean())
        smooth: FloatArray = _moving_mean(shares[:-1], width)
        return np.clip(smooth, 0, 1)


def _moving_mean(rows: FloatArray, width: int) -> FloatArray:
    """The mean over a centred window of `width` columns, made odd; fewer at the ends."""
    reach = max(width - 1, 0) // 2 + (width > 1 and width % 2 == 0)
    if reach == 0:
        return rows
    T = rows.shape[1]
    sums = np.concatenate([np.zeros((len(rows), 1)), rows.cumsum(1)], 1)
    first, last = np.maximum(np.arange(T) - reach, 0), np.minimum(np.arange(T) + reach + 1, T)
    means: FloatArray = (sums[:, last] - sums[:, first]) / (last - first)
    return means
