"""The network and its multiple-instance loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Decoding(NamedTuple):
    """Class scores of every snippet, and of the video."""

    features: Tensor  # (B, T, D), the embedding, dropped out in training
    attention: Tensor  # (B, 1, T), 1 on visible snippets: the method has none, and localizes by class scores
    snippet_logits: Tensor  # (B, T, C)
    class_scores: Tensor  # (B, C), the softmax of the video's logits
    head_weight: Tensor  # (C, D)
    video_logits: Tensor  # (B, C), for the loss


def top_mean(scores: Tensor, mask: Tensor, ratio: int) -> Tensor:
    """The mean (B, C) of each class's ceil(length / ratio) highest scores (B, T, C) among the visible snippets."""
    k = (mask.sum(1) + ratio - 1).div(ratio, rounding_mode="floor")
    ranked = scores.masked_fill(~mask.unsqueeze(2), -torch.inf).sort(dim=1, descending=True).values
    chosen = torch.arange(scores.shape[1], device=scores.device) < k.unsqueeze(1)  # (B, T)
    return ranked.masked_fill(~chosen.unsqueeze(2), 0).sum(1) / k.unsqueeze(1)


class WTALC(nn.Module):
    """FC D-D, ReLU, dropout, FC D-C: class scores of every snippet, and their top-k mean as the video's.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: not used; the k best snippets of a class are its pooling.
        ratio: snippets of a video for one that is pooled, 1 or more; the paper's s = 8.
        dropout: of the embedding; the paper's 0.7.
        weight: of the loss, 0 or more; the paper's lambda = 0.5, which leaves 1 - lambda to the loss `co-activity`.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: object = None,  # noqa: ARG002
        *,
        ratio: int = 8,
        dropout: float = 0.7,
        weight: float = 0.5,
    ) -> None:
        super().__init__()
        if ratio < 1:
            raise ValueError(f"ratio must be 1 or more, got {ratio}")
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.embedding = nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(feature_dim, num_classes)
        self.ratio, self.weight = ratio, weight

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Any = None) -> Decoding:  # noqa: ARG002
        """Decode features (B, T, D) under mask (B, T)."""
        if mask is None:
            mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        embedded = self.embedding(features)
        scores = self.head(embedded)
        video = top_mean(scores, mask, self.ratio)
        shown = mask.to(features.dtype).unsqueeze(1)
        return Decoding(embedded, shown, scores, video.softmax(1), self.head.weight, video)

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """Cross-entropy between the softmax and the labels, which share 1 evenly (the paper's MILL)."""
        shares = targets.labels / targets.labels.sum(1, keepdim=True).clamp(min=1)
        entropy = -(shares * decoding.video_logits.log_softmax(1)).sum(1)
        return {"classification": self.weight * entropy.mean()}
