"""An aggregator: it pools the features of a video's snippets under an attention. B videos, T snippets, E features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlaceholderClass(nn.Module):
    """The mean of the snippets, weighted by a power of their attention.

    Args:
        power: 1 weighs by the attention itself; a higher one listens to the best-attended snippets alone.

    Raises:
        ValueError: power is below 1.
    """

    def __init__(self, *, power: float = 1.0) -> None:
        super().__init__()
        if not power >= 1:
            raise ValueError(f"power must be 1 or more, got {power}")
        self.power = power

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """The snippets' weights under attention (B, T) or (B, S, T) in [0, 1]; mask (B, T) is True on what is seen."""
        weights = attention**self.power
        if mask is not None:
            weights = weights.masked_fill(~(mask if attention.ndim == 2 else mask.unsqueeze(1)), 0)
        total = weights.sum(-1, keepdim=True)
        return weights / torch.where(total > 0, total, 1)

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (B, T, E) to (B, E), or to (B, S, E) under S attentions; zero without attention."""
        coefficients = self.coefficients(attention, mask)
        if attention.ndim == 2:
            return (coefficients.unsqueeze(1) @ features).squeeze(1)
        return coefficients @ features
