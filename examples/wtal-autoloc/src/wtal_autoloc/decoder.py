"""AutoLoc's model: the head of the stage before, which gives the heat, and three convolutions, which give boxes."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_autoloc.contrast import kept

SIZES = (1, 2, 4, 8, 16, 32)
Intervals = namedtuple("Intervals", "label start end score")  # (N,) each, in snippets; the score is one less the loss


class Decoding(NamedTuple):
    """One assembly per video, pooled as in the stage before, and the boxes."""

    features: Tensor  # (B, T, D), the input
    attention: Tensor  # (B, 1, T), zero where hidden
    pooled: Tensor  # (B, 1, D)
    logits: Tensor  # (B, 1, C)
    snippet_logits: Tensor  # (B, T, C)
    class_scores: Tensor  # (B, C)
    head_weight: Tensor  # (C, D)
    heat: Tensor  # (B, C, T), attention times the sigmoid of the snippet logits; without a graph
    boxes: Tensor  # (B, 2, A, T), start and end
    length: list[int]  # (B,), the snippet after the last that is seen
    intervals: Intervals | None  # of one video, in testing


class Convolution(nn.Module):
    """Temporal convolution of width 3, batch normalisation over what is seen, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, features: Tensor, seen: Tensor) -> Tensor:
        """Map features (B, T, D), zero where hidden as `seen` (B, T) says, to the like."""
        answer = self.convolution(features.transpose(1, 2)).transpose(1, 2)
        rows = answer[seen]
        if len(rows) > 1 or not self.training:  # one row has no deviation
            rows = self.norm(rows)
        return torch.zeros_like(answer).masked_scatter(seen.unsqueeze(2), F.leaky_relu(rows, 0.1))


class AutoLoc(nn.Module):
    """Boxes regressed from anchors at every snippet: centre t + w dx, width w exp(dw).

    `attention` and `classifier` are those of `attention-pooling`, so that a stage that continues takes them over; the
    loss never moves them.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: pools to the video's class scores, as in the stage before.
        anchors: widths in snippets, not fitted to annotations.
        classes: how many of a video's classes get boxes in testing, the best first.
    """

    context = 3

    def __init__(
        self, feature_dim: int, num_classes: int, aggregator: Any, *, anchors: Sequence[float] = SIZES, classes: int = 2
    ) -> None:
        super().__init__()
        if not anchors or not min(anchors) > 0:
            raise ValueError(f"anchors must be one or more widths above 0, got {list(anchors)}")
        if classes < 1:
            raise ValueError(f"classes must be 1 or more, got {classes}")
        self.attention = nn.Sequential(nn.Linear(feature_dim, 256), nn.LeakyReLU(), nn.Linear(256, 1), nn.Sigmoid())
        self.aggregator = aggregator
        self.classifier = nn.Linear(feature_dim, num_classes, bias=False)
        self.convolutions = nn.ModuleList(Convolution(width, 128) for width in (feature_dim, 128, 128))
        self.offsets = nn.Linear(128, 2 * len(anchors))
        nn.init.normal_(self.offsets.weight, std=0.01)
        nn.init.zeros_(self.offsets.bias)
        self.register_buffer("anchors", torch.tensor(anchors, dtype=torch.get_default_dtype()))
        self.classes = classes

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Any = None) -> Decoding:  # noqa: ARG002
        """Decode features (B, T, D) under mask (B, T), True on what is seen."""
        seen = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device) if mask is None else mask
        attention = self.attention(features).squeeze(2) * seen
        pooled = self.aggregator(features, attention, mask).unsqueeze(1)
        logits, each = self.classifier(pooled), self.classifier(features)
        scores = logits.squeeze(1).sigmoid()
        heat = (attention.unsqueeze(2) * each.sigmoid()).detach().transpose(1, 2)
        boxes = self._boxes(features, seen)
        length = (seen * torch.arange(1, seen.shape[1] + 1, device=seen.device)).amax(1).tolist()
        own = None if self.training or len(features) != 1 else self._intervals(heat[0], boxes[0], scores[0])
        head, attention = self.classifier.weight, attention.unsqueeze(1)
        return Decoding(features, attention, pooled, logits, each, scores, head, heat, boxes, length, own)

    def _boxes(self, features: Tensor, seen: Tensor) -> Tensor:
        hidden = features * seen.unsqueeze(2)
        for convolution in self.convolutions:
            hidden = convolution(hidden, seen)
        dx, dw = self.offsets(hidden).transpose(1, 2).chunk(2, 1)  # (B, A, T) each
        width = self.anchors.unsqueeze(1)
        centre = torch.arange(dx.shape[2], device=dx.device) + 0.5 + width * dx
        half = width * dw.clamp(max=8).exp() / 2  # no video is so long, and no infinity reaches the loss
        return torch.stack([centre - half, centre + half], 1)

    def _intervals(self, heat: Tensor, boxes: Tensor, scores: Tensor) -> Intervals:
        found = []
        for c in scores.argsort(descending=True, stable=True)[: self.classes].tolist():
            start, end, loss = (part.detach().cpu().double().numpy() for part in kept(heat[c], boxes))
            found.append(Intervals(np.full(len(loss), c), start, end, 1 - loss))
        return Intervals(*map(np.concatenate, zip(*found, strict=True)))

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """The mean contrast of the boxes that are kept, over all labels of all videos; zero if none is."""
        losses = [decoding.boxes.flatten()[:0]]
        for b, c in targets.labels.nonzero().tolist():
            n = decoding.length[b]
            losses.append(kept(decoding.heat[b, c, :n], decoding.boxes[b, ..., :n])[2])
        together = torch.cat(losses)
        return {"contrast": together.sum() / max(len(together), 1)}
