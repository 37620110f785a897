"""Label sets: a snippet of a video shows one of that video's labels, or background.

Known from set-supervised segmentation (Richard, Kuehne, Gall, CVPR 2018; Fayyaz, Gall, CVPR 2020); here as a loss on
snippets, and as the teacher of the next stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_core.contracts import Batch, Decoding, Detections, FloatArray, Prediction, TrainingVideo


def label_set(logits: Tensor, background: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """Mean over visible snippets of -log(probability of the video's labels and the background), a scalar.

    Args:
        logits: (B, T, C) of the snippets.
        background: (B, T).
        labels: (B, C), multi-hot.
        seen: (B, T) bool.
    """
    forbidden = torch.cat([labels <= 0, torch.zeros_like(labels[:, :1], dtype=torch.bool)], 1).unsqueeze(1)
    everything = torch.cat([logits, background.unsqueeze(2)], 2)
    lowest = torch.finfo(logits.dtype).min / 2
    outside = everything.masked_fill(~forbidden, lowest).logsumexp(2)
    within = everything.masked_fill(forbidden, lowest).logsumexp(2)
    # -log(within / (within + outside)), which is exactly 0 where every class is allowed.
    return (F.softplus(outside - within) * seen).sum() / seen.sum().clamp(min=1)


class LabelSet:
    """The penalty of probability outside a video's labels and the background.

    Args:
        weight: of the term.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("snippet_logits", "background_logits")

    def __init__(self, *, weight: float = 1.0) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `label_set`."""
        logits, background = decoding.snippet_logits, decoding.background_logits
        assert logits is not None  # `needs` says so
        assert background is not None
        return {"label_set": self.weight * label_set(logits, background, batch.targets.labels, batch.rows >= 0)}


class LabelSetTeacher:
    """The stage before's probabilities of each snippet, restricted to the video's labels and the background, smoothed.

    What it says is soft, and nothing is added for a label that no snippet shows best: it keeps the small share that it
    has, and is not taught where it has none. The video's label itself, in the decoder's own loss, holds on to it.

    Args:
        smoothing: the width of a moving mean over time, in seconds; or "neighbours", two snippets to each side however
            long they are; 0 for none.
        sharpening: the power to which the probabilities are raised, before they are made to sum to 1 again; 1 for none.
        widening: the root that is drawn of the odds of all labels together against the background, whose shares among
            each other stay; 1 for none. A model that learns from video labels is sure of the most telling part of an
            action and in doubt about the rest of it, which a root above 1 lifts.

    Raises:
        ValueError: an option is out of its range; or there is no stage before.
    """

    def __init__(
        self, *, smoothing: float | Literal["neighbours"] = 0.0, sharpening: float = 1.0, widening: float = 1.0
    ) -> None:
        if smoothing != "neighbours" and not 0 <= smoothing < float("inf"):
            raise ValueError(f"smoothing must be 0 s or more, got {smoothing}")
        for name, value in (("sharpening", sharpening), ("widening", widening)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0, got {value}")
        self.smoothing = smoothing
        self.sharpening = sharpening
        self.widening = widening

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
        shares = widened(restricted(prediction.activation, video.labels, self.sharpening), self.widening)
        width = 5 if self.smoothing == "neighbours" else round(self.smoothing / np.diff(edges).mean())
        return moving_mean(shares, width)


def restricted(activation: FloatArray, labels: FloatArray, sharpening: float = 1.0) -> FloatArray:
    """Shares (C, T) of activation (C, T) that labels (C,) allow; the background has what they leave of 1.

    Where the activation leaves nothing to labels and background, all is background.
    """
    activation = np.minimum(activation, 1)
    background = np.clip(1 - activation.sum(0), 0, 1)
    shares = np.vstack([activation * labels[:, None], background])
    highest = shares.max(0)  # first, because a power of small numbers is 0
    shares = np.divide(shares, highest, out=np.zeros_like(shares), where=highest > 0) ** sharpening
    allowed: FloatArray = shares[:-1] / np.maximum(shares.sum(0), 1)
    return allowed


def widened(shares: FloatArray, root: float) -> FloatArray:
    """Shares (C, T) after the root of the odds of their sum, in [0, 1], against what it leaves of 1."""
    total = np.minimum(shares.sum(0), 1)
    foreground, background = total ** (1 / root), (1 - total) ** (1 / root)
    factor = np.divide(foreground / (foreground + background), total, out=np.zeros_like(total), where=total > 0)
    lifted: FloatArray = np.clip(shares * factor, 0, 1)
    return lifted


def moving_mean(rows: FloatArray, width: int) -> FloatArray:
    """The mean over a centred window of `width` columns, made odd; fewer at the ends."""
    reach, T = width // 2, rows.shape[1]
    if reach == 0:
        return rows
    sums = np.concatenate([np.zeros((len(rows), 1)), rows.cumsum(1)], 1)
    first, last = np.maximum(np.arange(T) - reach, 0), np.minimum(np.arange(T) + reach + 1, T)
    # Of shares; a difference of sums may round beyond them.
    means: FloatArray = np.clip((sums[:, last] - sums[:, first]) / (last - first), 0, 1)
    return means
