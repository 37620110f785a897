"""Losses that keep snippet probabilities in order: smooth over time, and at one with the attention."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from wtal_core.builtin.snippet_classifier import log_probabilities
from wtal_core.contracts import Batch, Decoding


class Smoothness:
    """The mean absolute change of snippet probabilities between neighbours in time.

    Args:
        weight: of the term.

    Raises:
        ValueError: the weight is negative.
    """

    needs = ("snippet_logits",)

    def __init__(self, *, weight: float = 0.1) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `smoothness`; snippets that are no neighbours in their video are not compared."""
        assert decoding.snippet_logits is not None  # `needs` says so
        probabilities = log_probabilities(decoding.snippet_logits, decoding.background_logits).present.exp()
        neighbours = (batch.rows[:, 1:] - batch.rows[:, :-1] == 1) & (batch.rows[:, :-1] >= 0)
        changes = probabilities.diff(dim=1).abs().mean(2) * neighbours
        return {"smoothness": self.weight * changes.sum() / neighbours.sum().clamp(min=1)}


class Background:
    """Attention and background must be opposites: the mean of `abs(1 - attention - background)`.

    The guide term of CO2-Net (Hong et al., MM 2021).

    For decoders that learn one attention for all classes, as `snippet-classifier` does with `suppressed`.

    Args:
        weight: of the term; CO2-Net's is 0.8.

    Raises:
        ValueError: the weight is negative; or, when it is called, the attention is not one, or nothing that is learnt.
    """

    needs = ("snippet_logits", "background_logits")

    def __init__(self, *, weight: float = 0.8) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight = weight

    def __call__(self, decoding: Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted term `background`."""
        logits, background, attention = decoding.snippet_logits, decoding.background_logits, decoding.attention
        assert logits is not None  # `needs` says so
        assert background is not None
        if attention.shape[1] != 1 or (background.requires_grad and not attention.requires_grad):
            raise ValueError(
                "it needs a decoder that learns one attention for all classes, as snippet-classifier does with "
                "suppressed = true"
            )
        probability = log_probabilities(logits, background).present[..., -1].exp()
        seen = batch.rows >= 0
        differences = (1 - attention.squeeze(1) - probability).abs() * seen
        return {"background": self.weight * differences.sum() / seen.sum().clamp(min=1)}
