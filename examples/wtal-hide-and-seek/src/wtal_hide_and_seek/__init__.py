"""Random hiding of segments in training.

Singh and Lee, "Hide-and-Seek: Forcing a Network to be Meticulous for Weakly-supervised Object and Action Localization",
ICCV 2017. B videos, T snippets, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def hidden(mask: Tensor, segment: int, probability: float) -> Tensor:
    """Which snippets (B, T) to hide: each run of `segment` snippets as a whole, drawn from torch's generator.

    Args:
        mask: (B, T) bool, True on real snippets. A video that would lose all of them loses none.
        segment: snippets that are hidden together.
        probability: that a segment is hidden.
    """
    B, T = mask.shape
    drawn = torch.rand(B, -(-T // segment), device=mask.device) < probability
    hide = drawn.repeat_interleave(segment, 1)[:, :T]
    return hide & (mask & ~hide).any(1, keepdim=True)


class HideAndSeek(nn.Module):
    """The attention-weighted mean; in training, of what random hiding of segments leaves.

    Args:
        segment: snippets that are hidden together; with 20 random snippets a video, 2 are a tenth of it.
        probability: that a segment is hidden; the paper hides half.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(self, *, segment: int = 2, probability: float = 0.5) -> None:
        super().__init__()
        if segment < 1:
            raise ValueError(f"segment must be 1 or more, got {segment}")
        if not 0 <= probability < 1:
            raise ValueError(f"probability must be in [0, 1), got {probability}")
        self.segment = segment
        self.probability = probability

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (B, T, D) under attention (B, T) and mask (B, T) to (B, D); zero without attention."""
        seen = torch.ones_like(attention, dtype=torch.bool) if mask is None else mask
        if self.training:
            seen = seen & ~hidden(seen, self.segment, self.probability)
        weights = attention.masked_fill(~seen, 0)
        total = weights.sum(1, keepdim=True)
        pooled = (weights.unsqueeze(1) @ features.masked_fill(~seen.unsqueeze(-1), 0)).squeeze(1)
        return pooled / torch.where(total > 0, total, 1)
