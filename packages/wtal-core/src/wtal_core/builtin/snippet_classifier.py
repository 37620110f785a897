"""A classifier of single snippets: it learns from a teacher, or from the best snippet of a video."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_core.contracts import Targets


class SnippetDecoding(NamedTuple):
    """Logits of every snippet; nothing is pooled."""

    features: Tensor  # (B, T, H), the hidden layer
    attention: Tensor  # (B, 1, T), one on what is seen
    snippet_logits: Tensor  # (B, T, C)
    class_scores: Tensor  # (B, C), the highest probability of a snippet
    head_weight: Tensor  # (C, H)
    class_logits: Tensor  # (B, C)


class SnippetClassifier(nn.Module):
    """FC D-H, LeakyReLU, FC H-C, and a sigmoid for each class of each snippet.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: not used, as a video is scored by its best snippet.
        hidden: H.
        classification: weight of the binary cross-entropy between a video's best snippets and its labels; 0 leaves
            learning to the losses of the experiment, such as `snippet-targets`.

    Raises:
        ValueError: an option is out of its range.
    """

    context = 0

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: nn.Module,  # noqa: ARG002
        *,
        hidden: int = 256,
        classification: float = 1.0,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {hidden}")
        if not classification >= 0:
            raise ValueError(f"classification must be 0 or more, got {classification}")
        self.embedding = nn.Sequential(nn.Linear(feature_dim, hidden), nn.LeakyReLU())
        self.head = nn.Linear(hidden, num_classes)
        self.classification = classification

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        targets: Targets | None = None,  # noqa: ARG002
    ) -> SnippetDecoding:
        """Classify the snippets of features (B, T, D) under mask (B, T)."""
        embedded = self.embedding(features)
        logits = self.head(embedded)
        seen = torch.ones_like(logits[..., 0], dtype=torch.bool) if mask is None else mask
        lowest = torch.finfo(logits.dtype).min
        best = logits.masked_fill(~seen.unsqueeze(2), lowest).amax(1)
        attention = seen.to(features.dtype).unsqueeze(1)
        return SnippetDecoding(embedded, attention, logits, best.sigmoid(), self.head.weight, best)

    def loss(self, decoding: SnippetDecoding, targets: Targets) -> dict[str, Tensor]:
        """Binary cross-entropy of the best snippets, if it has a weight."""
        if not self.classification:
            return {}
        video = F.binary_cross_entropy_with_logits(decoding.class_logits, targets.labels)
        return {"classification": self.classification * video}
