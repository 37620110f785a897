"""A decoder: it turns one stream's features into assemblies and class scores, and says what it learns from.

B videos, T snippets, D features, E features as pooled (here D), C classes, S assemblies (here one).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Decoding(NamedTuple):
    """What activations and the loss read; the graph from what was pooled to the logits is kept."""

    features: Tensor  # (B, T, E), what was pooled
    attention: Tensor  # (B, S, T) in [0, 1], zero where hidden
    pooled: Tensor  # (B, S, E)
    logits: Tensor  # (B, S, C), computed from what was pooled
    class_scores: Tensor  # (B, C) in [0, 1]
    head_weight: Tensor | None  # (C, E) if the logits are linear in what was pooled, else None


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
        """Decode features (B, T, D) under mask (B, T), True on what is seen; targets serve teacher forcing alone."""
        attention = torch.sigmoid(self.scorer(features).squeeze(-1))
        if mask is not None:
            attention = attention.masked_fill(~mask, 0)
        pooled = self.aggregator(features, attention, mask).unsqueeze(1)
        logits = self.head(pooled)
        class_scores = logits.squeeze(1).sigmoid()
        return Decoding(features, attention.unsqueeze(1), pooled, logits, class_scores, self.head.weight)

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """Binary cross-entropy between the logits and `targets.labels` (B, C), and the weighted mean attention."""
        return {
            "classification": F.binary_cross_entropy_with_logits(decoding.logits.squeeze(1), targets.labels),
            "sparsity": self.sparsity * decoding.attention.mean(),
        }
