"""Losses that keep snippet probabilities in order: smooth over time, and at one with the attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wtal_core.contracts import Batch, Decoding


def _seen(like: Tensor, batch: Batch) -> Tensor:
    return torch.ones_like(like, dtype=torch.bool) if batch.mask is None else batch.mask


class Smoothness:
    """The mean absolute change of snippet probabilities between neighbours in time.

    Args:
        weight: of the term.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("snippet_logits",)

    def __init__(self, *, weight: float = 0.1) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `smoothness`; snippets that are no neighbours in their video are not compared."""
        assert decoding.snippet_logits is not None  # `needs` says so
        logits = decoding.snippet_logits
        if decoding.background_logits is None:
            probabilities = logits.sigmoid()
        else:
            probabilities = torch.cat([logits, decoding.background_logits.unsqueeze(2)], 2).softmax(2)
        neighbours = (batch.rows[:, 1:] - batch.rows[:, :-1] == 1) & (batch.rows[:, :-1] >= 0)
        changes = probabilities.diff(dim=1).abs().mean(2) * neighbours
        return {"smoothness": self.weight * changes.sum() / neighbours.sum().clamp(min=1)}


class Background:
    """Attention and background must be opposites: the mean of |1 - attention - background| (CO2-Net's guide, MM 2021).

    Args:
        weight: of the term; CO2-Net's is 0.8.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("snippet_logits", "background_logits")

    def __init__(self, *, weight: float = 0.8) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `background`, of the mean attention of the assemblies."""
        logits, background = decoding.snippet_logits, decoding.background_logits
        assert logits is not None  # `needs` says so
        assert background is not None
        probability = torch.cat([logits, background.unsqueeze(2)], 2).softmax(2)[..., -1]
        seen = _seen(background, batch)
        differences = (1 - decoding.attention.mean(1) - probability).abs() * seen
        return {"background": self.weight * differences.sum() / seen.sum().clamp(min=1)}
