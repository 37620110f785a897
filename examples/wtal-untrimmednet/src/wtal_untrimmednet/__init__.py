"""UntrimmedNet: a classification module and a selection module, on features.

Wang, Xiong, Lin and Van Gool, "UntrimmedNets for Weakly Supervised Action Recognition and Detection", CVPR 2017.
B videos, T snippets (the paper's clips), D features, C classes. `mask` (B, T) is True on visible snippets and may have
holes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

#: Probabilities nearer to 0 or 1 than this are read as being so near.
CERTAIN = 1e-6


class Decoding(NamedTuple):
    """Class probabilities of every snippet, and of the video."""

    features: Tensor  # (B, T, D), the input
    attention: Tensor  # (B, 1, T)
    snippet_logits: Tensor  # (B, T, C), whose sigmoid is the softmax over the classes
    class_scores: Tensor  # (B, C)
    log_scores: Tensor  # (B, C), their logarithm, for the loss


def hard_selection(scores: Tensor, mask: Tensor, k: int) -> Tensor:
    """Log probabilities (B, C) of videos: the softmax of each class's mean over its k best snippets.

    Args:
        scores: (B, T, C), of the classification module.
        mask: (B, T) bool. A video of fewer than k visible snippets is averaged over those that it has.
        k: how many snippets are selected for each class.
    """
    best = scores.masked_fill(~mask.unsqueeze(2), -torch.inf).topk(min(k, scores.shape[1]), dim=1).values
    found = best > -torch.inf
    return (best.masked_fill(~found, 0).sum(1) / found.sum(1)).log_softmax(1)


def soft_selection(scores: Tensor, selection: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities (B, C) of videos, the softmax of each snippet's classes averaged by attention.

    Args:
        scores: (B, T, C), of the classification module.
        selection: (B, T), of the selection module; attention is its softmax over the visible snippets.
        mask: (B, T) bool.

    Returns:
        The log probabilities, and the log attention (B, T), minus infinity where the mask is False.
    """
    log_attention = selection.masked_fill(~mask, -torch.inf).log_softmax(1)
    return (log_attention.unsqueeze(2) + scores.log_softmax(2)).logsumexp(1), log_attention


class UntrimmedNet(nn.Module):
    """Linear class scores of every snippet, and the selection of snippets that speak for the video.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: not used; the selection is the pooling.
        selection: `hard`, each class's `k` best snippets, or `soft`, an attention that is a softmax over time.
        k: of hard selection; the paper's 3 of 7 snippets that a step of training sees.
        attended: of soft selection: localize by class probabilities times attention, relative to its highest, as no
            attention rises far above 1 / T; False, as the authors do, by class probabilities alone.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: object = None,  # noqa: ARG002
        *,
        selection: Literal["hard", "soft"] = "soft",
        k: int = 3,
        attended: bool = False,
    ) -> None:
        super().__init__()
        if selection not in ("hard", "soft"):
            raise ValueError(f"selection must be 'hard' or 'soft', got {selection!r}")
        if k < 1:
            raise ValueError(f"k must be 1 or more, got {k}")
        if attended and selection == "hard":
            raise ValueError("attended needs selection 'soft', as 'hard' has no attention")
        self.classification = nn.Linear(feature_dim, num_classes)
        self.selection = nn.Linear(feature_dim, 1) if selection == "soft" else None
        self.k = k
        self.attended = attended

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Any = None) -> Decoding:  # noqa: ARG002
        """Decode features (B, T, D) under mask (B, T)."""
        if mask is None:
            mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        scores = self.classification(features)
        attention = mask.to(features.dtype)
        if self.selection is None:
            log_scores = hard_selection(scores, mask, self.k)
        else:
            log_scores, log_attention = soft_selection(scores, self.selection(features).squeeze(2), mask)
            if self.attended:
                attention = (log_attention - log_attention.amax(1, keepdim=True)).exp()
        snippet_logits = torch.logit(scores.softmax(2), CERTAIN)
        return Decoding(features, attention.unsqueeze(1), snippet_logits, log_scores.exp().clamp(max=1), log_scores)

    def loss(self, decoding: Decoding, targets: Any) -> dict[str, Tensor]:
        """Cross-entropy between the video's probabilities and its labels, which share 1 evenly."""
        shares = targets.labels / targets.labels.sum(1, keepdim=True).clamp(min=1)
        return {"classification": -(shares * decoding.log_scores).sum(1).mean()}
