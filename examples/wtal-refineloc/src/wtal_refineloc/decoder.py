"""RefineLoc's model: class scores and a background-foreground attention of every snippet."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Decoding(NamedTuple):
    """Scores of every snippet; nothing is pooled but probabilities."""

    features: Tensor  # (B, T, E), what the last class layer reads
    attention: Tensor  # (B, 1, T), how probable the foreground is; zero where hidden
    snippet_logits: Tensor  # (B, T, C), whose sigmoid is the softmax over the classes
    class_scores: Tensor  # (B, C), the snippets' softmax, averaged under the attention's softmax over time
    log_scores: Tensor  # (B, C), the same average of the logarithms, from which the video label is learnt


class BackgroundForeground(nn.Module):
    """Two stacks of linear layers, one for the classes and one for the attention, on every snippet by itself.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: not used: probabilities are averaged, not features.
        layers: of each stack; each but the last halves the width (not below the width of the last) and has a ReLU.

    Raises:
        ValueError: layers is below 1.
    """

    context = 0

    def __init__(self, feature_dim: int, num_classes: int, aggregator: object = None, *, layers: int = 2) -> None:  # noqa: ARG002
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be 1 or more, got {layers}")
        self.embedding, self.classifier = _stack(feature_dim, num_classes, layers)
        self.attention = nn.Sequential(*_stack(feature_dim, 1, layers))

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Any = None) -> Decoding:  # noqa: ARG002
        """Decode features (B, T, D) under mask (B, T), True on what is seen."""
        seen = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device) if mask is None else mask
        embedded = self.embedding(features)
        log_classes = self.classifier(embedded).log_softmax(2)
        foreground = self.attention(features).squeeze(2)
        over_time = foreground.masked_fill(~seen, torch.finfo(foreground.dtype).min).softmax(1)
        over_time = over_time.masked_fill(~seen, 0).unsqueeze(1)  # (B, 1, T)
        return Decoding(
            embedded,
            (foreground.sigmoid() * seen).unsqueeze(1),
            log_classes.exp().logit(1e-6),
            (over_time @ log_classes.exp()).squeeze(1).clamp(max=1),
            (over_time @ log_classes).squeeze(1),
        )

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """Cross-entropy of the video's classes, which share 1 evenly; the paper's videos have one each."""
        shares = targets.labels / targets.labels.sum(1, keepdim=True).clamp(min=1)
        return {"classification": -(shares * decoding.log_scores).sum(1).mean()}


def _stack(width: int, outputs: int, layers: int) -> tuple[nn.Sequential, nn.Linear]:
    """All layers but the last, and the last."""
    widths = [width]
    for _ in range(layers - 1):
        widths.append(max(widths[-1] // 2, outputs))
    hidden = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden), nn.Linear(widths[-1], outputs)
