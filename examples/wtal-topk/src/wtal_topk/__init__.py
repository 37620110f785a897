"""Top-k mean pooling of class scores.

Paul, Roy and Roy-Chowdhury, "W-TALC: Weakly-supervised Temporal Activity Localization and Classification", ECCV 2018.
B videos, T snippets, D features, C classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Decoding(NamedTuple):
    """One assembly per class (S = C): the k snippets in which the class scores highest."""

    attention: Tensor  # (B, C, T), 1 on real snippets: the method has no attention, and localizes by class scores
    patterns: Tensor  # (B, C, D), the mean of the k snippets
    logits: Tensor  # (B, C, C); entry [b, c, c] is the top-k mean of class c
    class_scores: Tensor  # (B, C), their softmax
    head_weight: Tensor  # (C, D)
    probabilities: Tensor  # (B, C, C), the class scores on the diagonal: each class is read from its own assembly


class TopK(nn.Module):
    """Linear class scores per snippet, each class averaged over its k best snippets, k = max(1, ceil(T / ratio)).

    The head is linear, so the mean of the k best scores is the score of the mean of those snippets. The paper's hidden
    layer and its co-activity loss are left out. Localize with the activation `attended-st-gradcam`.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: not used; the k best snippets are the pooling.
        ratio: snippets of a video for one that is pooled; the paper's s = 8.

    Raises:
        ValueError: ratio is below 1.
    """

    def __init__(self, feature_dim: int, num_classes: int, aggregator: object = None, *, ratio: int = 8) -> None:  # noqa: ARG002
        super().__init__()
        if ratio < 1:
            raise ValueError(f"ratio must be 1 or more, got {ratio}")
        self.head = nn.Linear(feature_dim, num_classes, bias=False)
        self.ratio = ratio

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Any = None) -> Decoding:  # noqa: ARG002
        """Decode features (B, T, D) under mask (B, T), True on real snippets."""
        if mask is None:
            mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        scores = self.head(features).masked_fill(~mask.unsqueeze(-1), -torch.inf)
        k = (mask.sum(1) + self.ratio - 1).div(self.ratio, rounding_mode="floor").clamp(min=1)
        ranked = scores.argsort(dim=1, descending=True, stable=True)
        chosen = torch.zeros_like(scores).scatter(1, ranked, _first(k, scores))
        weights = (chosen * mask.unsqueeze(-1)).transpose(1, 2) / k[:, None, None]  # (B, C, T)
        patterns = weights @ features.masked_fill(~mask.unsqueeze(-1), 0)
        # The choice of snippets has no gradient, and activations differentiate the logits by the patterns.
        if not patterns.requires_grad:
            patterns.requires_grad_()
        logits = self.head(patterns)
        class_scores = logits.diagonal(dim1=1, dim2=2).softmax(1)
        attention = mask.to(features.dtype).unsqueeze(1).expand(-1, scores.shape[2], -1)
        return Decoding(attention, patterns, logits, class_scores, self.head.weight, torch.diag_embed(class_scores))

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """Cross-entropy between the softmax and the labels, which share 1 evenly (the paper's MILL)."""
        log_scores = decoding.logits.diagonal(dim1=1, dim2=2).log_softmax(1)
        shares = targets.labels / targets.labels.sum(1, keepdim=True).clamp(min=1)
        return {"classification": -(shares * log_scores).sum(1).mean()}


def _first(k: Tensor, like: Tensor) -> Tensor:
    """Ones in the first k (B,) of T places, as `like` (B, T, C)."""
    places = torch.arange(like.shape[1], device=like.device)[None, :, None]
    return (places < k[:, None, None]).to(like.dtype).expand_as(like)
