"""The loss of the attention against the background-foreground pseudo ground truth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def foreground_loss(attention: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of an attention against the foreground, the mean of the videos' means.

    Args:
        attention: (B, T) in [0, 1].
        targets: (B, C, T) in [0, 1], NaN where the teacher says nothing. A snippet is as much foreground as the class
            that it shows most, and counts only if the teacher speaks of every class.

    Returns:
        A scalar. A video of which the teacher says nothing counts zero.
    """
    foreground = targets.amax(1)  # NaN stays NaN
    spoken = ~foreground.isnan()
    small = torch.finfo(attention.dtype).eps
    terms = F.binary_cross_entropy(attention.clamp(small, 1 - small), foreground.nan_to_num(0.0), reduction="none")
    return ((terms * spoken).sum(1) / spoken.sum(1).clamp(min=1)).mean()


class Foreground:
    """What the teacher calls foreground, learnt by the decoder's one attention.

    Args:
        weight: of the term, the paper's beta.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("targets.snippets",)

    def __init__(self, *, weight: float = 2.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Any, batch: Any) -> dict[str, Tensor]:
        """The weighted term `foreground`.

        Raises:
            ValueError: the decoder has more than one attention.
        """
        if decoding.attention.shape[1] != 1:
            raise ValueError(f"the loss 'foreground' needs a decoder with one attention, got {decoding.attention.shape[1]}")
        return {"foreground": self.weight * foreground_loss(decoding.attention[:, 0], batch.targets.snippets)}
