"""Co-activity similarity: where two videos show the same class, their features shall be alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

#: By how much nearer the features of high attention shall be to each other than to those of low attention.
MARGIN = 0.5


def co_activity(features: Tensor, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """The mean over every pair of videos and every class that both have; 0 if there is none.

    A is the softmax of a class's scores over time, H = X'A the feature of its high attention, L = X'(1 - A) / (T - 1)
    that of its low one, d = 1 - cosine. A pair costs half [d(H1, H2) - d(H1, L2) + .5]+ and half [d(H1, H2) -
    d(H2, L1) + .5]+.

    Args:
        features: X (B, T, E).
        scores: (B, T, C).
        labels: (B, C), 1 where a video has a class, else 0.
        mask: (B, T) bool; T above is the number of visible snippets. Of a video of one L is 0, at distance 1 from all.
    """
    seen = mask.unsqueeze(2)
    x = features.masked_fill(~seen, 0)
    attention = scores.masked_fill(~seen, -torch.inf).softmax(1).transpose(1, 2)  # (B, C, T)
    high = F.normalize(attention @ x, dim=2)  # (B, C, E)
    low = F.normalize((1 - attention) @ x, dim=2)  # a cosine does not ask for the division by T - 1
    together = torch.einsum("ice,jce->ijc", high, high)  # cosines (B, B, C)
    apart = torch.einsum("ice,jce->ijc", high, low)
    cost = (F.relu(apart - together + MARGIN) + F.relu(apart.transpose(0, 1) - together + MARGIN)) / 2
    shared = torch.einsum("ic,jc->cij", labels, labels).triu(1).permute(1, 2, 0)  # each pair once
    return (cost * shared).sum() / shared.sum().clamp(min=1)


class CoActivity:
    """The term `co-activity`, of a decoder that scores snippets.

    Args:
        weight: of the term, 0 or more; the paper's 1 - lambda = 0.5.
    """

    needs = ("snippet_logits",)

    def __init__(self, *, weight: float = 0.5) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Any, batch: Any) -> dict[str, Tensor]:
        """The weighted term of a batch."""
        x, scores = decoding.features, decoding.snippet_logits
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if batch.mask is None else batch.mask
        return {"co-activity": self.weight * co_activity(x, scores, batch.targets.labels, mask)}
