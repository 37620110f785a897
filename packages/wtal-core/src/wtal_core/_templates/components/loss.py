"""A loss: terms that training adds to the decoder's own. B videos, T snippets, S assemblies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class PlaceholderClass:
    """Smoothness: the mean absolute change of attention from one snippet to the next, where both are seen.

    Args:
        weight: of the term, 0 or more.

    Raises:
        ValueError: weight is negative.
    """

    #: The optional fields that it reads, such as "snippet_logits" or "targets.snippets"; attention is always there.
    needs = ()

    def __init__(self, *, weight: float = 0.1) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Any, batch: Any) -> dict[str, Tensor]:
        """The term `smoothness` of the decoding's attention (B, S, T), under the batch's mask (B, T) or None."""
        change = decoding.attention.diff(dim=2).abs().mean(1)
        seen = torch.ones_like(batch.rows, dtype=torch.bool) if batch.mask is None else batch.mask
        both = seen[:, 1:] & seen[:, :-1]
        return {"smoothness": self.weight * (change * both).sum() / both.sum().clamp(min=1)}
