"""A decoder: it turns one stream's features into assemblies and class scores, and says what it learns from.

B videos, T snippets, D features, C classes, S assemblies (here one).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Decoding(NamedTuple):
    """What activations and the loss read; the graph from the patterns to the logits is kept."""

    attention: Tensor  # (B, S, T) in [0, 1], zero on padding
    patterns: Tensor  # (B, S, D), the pooled features
    logits: Tensor  # (B, S, C), computed from the patterns
    class_scores: Tensor  # (B, C) in [0, 1]
    head_weight: Tensor | None  # (C, D) if the logits are linear in the patterns, else None


class PlaceholderClass(nn.Module):
    """A linear attention over the snippets, and a linear classifier of what an aggregator pools under it.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: pools features (B, T, D) under attention (B, T) and mask (B, T) to (B, D); the experiment names it.
        sparsity: weight of the mean attention in the loss, 0 or more.

    Raises:
        ValueError: sparsity is negative.
    """

    def __init__(
        self, feature_dim: int, num_classes: int, aggregator: Callable[..., Tensor], *, sparsity: float = 0.0
    ) -> None:
        super().__init__()
        if not sparsity >= 0:
            raise ValueError(f"sparsity must be 0 or more, got {sparsity}")
        self.scorer = nn.Linear(feature_dim, 1)
        self.head = nn.Linear(feature_dim, num_classes, bias=False)
        self.aggregator = aggregator
        self.sparsity = sparsity

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Any = None) -> Decoding:
        """Decode features (B, T, D) under mask (B, T), True on real snippets; targets serve teacher forcing alone."""
        attention = torch.sigmoid(self.scorer(features).squeeze(-1))
        if mask is not None:
            attention = attention.masked_fill(~mask, 0)
        patterns = self.aggregator(features, attention, mask).unsqueeze(1)
        logits = self.head(patterns)
        class_scores = logits.squeeze(1).sigmoid()
        return Decoding(attention.unsqueeze(1), patterns, logits, class_scores, self.head.weight)

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """Binary cross-entropy between the logits and `targets.labels` (B, C), and the weighted mean attention."""
        return {
            "classification": F.binary_cross_entropy_with_logits(decoding.logits.squeeze(1), targets.labels),
            "sparsity": self.sparsity * decoding.attention.mean(),
        }
