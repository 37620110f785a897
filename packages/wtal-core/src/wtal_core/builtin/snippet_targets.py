"""The loss that learns a teacher's targets, snippet by snippet."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from wtal_core.contracts import Batch, Decoding


def snippet_targets(logits: Tensor, background: Tensor | None, targets: Tensor) -> Tensor:
    """Cross-entropy between snippet logits and targets, the mean over what the teacher speaks of.

    With background logits the classes and the background compete: the targets of a snippet are a distribution over
    them, the background having what the classes leave of 1, or, where they sum to more, nothing. Else each class is a
    sigmoid of its own.

    Args:
        logits: (B, T, C).
        background: (B, T), or None.
        targets: (B, C, T) in [0, 1], NaN where the teacher says nothing: with background logits a snippet counts only
            where it speaks of every class.

    Returns:
        A scalar, zero where the teacher says nothing at all.
    """
    wanted = targets.transpose(1, 2)
    spoken = ~wanted.isnan()
    # Not torch.where on the loss: a NaN in the branch that is not taken would reach the gradient.
    wanted = wanted.nan_to_num(0.0)
    if background is None:
        terms = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (terms * spoken).sum() / spoken.sum().clamp(min=1)
    mass = wanted.sum(2, keepdim=True)
    shares = torch.cat([wanted / mass.clamp(min=1), (1 - mass).clamp(min=0)], 2)
    terms = -(shares * torch.cat([logits, background.unsqueeze(2)], 2).log_softmax(2)).sum(2)
    whole = spoken.all(2)
    return (terms * whole).sum() / whole.sum().clamp(min=1)


class SnippetTargets:
    """What a teacher says of each snippet, learnt by cross-entropy.

    Args:
        weight: of the term.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("snippet_logits", "targets.snippets")

    def __init__(self, *, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `snippets`."""
        assert decoding.snippet_logits is not None  # `needs` says so
        assert batch.targets.snippets is not None
        term = snippet_targets(decoding.snippet_logits, decoding.background_logits, batch.targets.snippets)
        return {"snippets": self.weight * term}
