"""RefineLoc's model, class scores and a background-foreground attention of every snippet, and its losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Decoding(NamedTuple):
    """Scores of every snippet; nothing is pooled but probabilities."""

    features: Tensor  # (B, T, E), the hidden layer of the classes
    attention: Tensor  # (B, 1, T), how probable the foreground is; zero where hidden
    snippet_logits: Tensor  # (B, T, C), whose sigmoid is the softmax over the classes
    class_scores: Tensor  # (B, C), the snippets' softmax, averaged under the attention's softmax over time
    log_scores: Tensor  # (B, C), the same average of the logarithms, from which the video label is learnt


class BackgroundForeground(nn.Module):
    """FC D-E, ReLU, FC E-C for the classes, E = max(D / 2, C), and FC D-D/2, ReLU, FC D/2-1 for the attention.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: not used: probabilities are averaged, not features.
    """

    context = 0

    def __init__(self, feature_dim: int, num_classes: int, aggregator: object = None) -> None:  # noqa: ARG002
        super().__init__()
        half = max(feature_dim // 2, 1)
        self.embedding = nn.Sequential(nn.Linear(feature_dim, max(half, num_classes)), nn.ReLU())
        self.classifier = nn.Linear(max(half, num_classes), num_classes)
        self.attention = nn.Sequential(nn.Linear(feature_dim, half), nn.ReLU(), nn.Linear(half, 1))

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


def foreground_loss(attention: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of attention (B, T) in [0, 1] against the foreground, the mean of the videos' means.

    Targets (B, C, T) in [0, 1] are NaN where the teacher says nothing. A snippet is as much foreground as the class
    that it shows most, and counts if the teacher speaks of every class. A video that has none such counts zero.
    """
    foreground = targets.amax(1)  # NaN stays NaN
    spoken = ~foreground.isnan()
    small = torch.finfo(attention.dtype).eps
    terms = F.binary_cross_entropy(attention.clamp(small, 1 - small), foreground.nan_to_num(0.0), reduction="none")
    return ((terms * spoken).sum(1) / spoken.sum(1).clamp(min=1)).mean()


class Foreground:
    """What the teacher calls foreground, learnt by the decoder's one attention; `weight` is the paper's beta."""

    needs = ("targets.snippets",)

    def __init__(self, *, weight: float = 2.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Any, batch: Any) -> dict[str, Tensor]:
        """The weighted term `foreground`."""
        if (S := decoding.attention.shape[1]) != 1:
            raise ValueError(f"the loss 'foreground' needs a decoder with one attention, got {S}")
        return {"foreground": self.weight * foreground_loss(decoding.attention[:, 0], batch.targets.snippets)}
