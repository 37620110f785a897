"""The attention-pooling decoder: STPN, MAAN and MAAN's other baselines, which differ in the aggregator alone."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from wtal_core.contracts import Aggregator, Targets


class AttentionPoolingDecoding(NamedTuple):
    """One assembly per video (S = 1)."""

    attention: Tensor  # (B, 1, T) in [0, 1], zero on padding
    patterns: Tensor  # (B, 1, D)
    logits: Tensor  # (B, 1, C)
    class_scores: Tensor  # (B, C), sigmoid of the logits
    head_weight: Tensor  # (C, D)
    mean_attention: Tensor  # (B,), over real snippets


class AttentionPooling(nn.Module):
    """Attention, aggregation, linear classifier (MAAN section 2.4 and figure 3; STPN is the same with a weighted sum).

    The attention module is FC D-256, LeakyReLU, FC 256-1, sigmoid (MAAN 3.1). The classifier has no bias, as in MAAN
    (10) and (14): the class activation of a snippet and the class score of a video are then the same function.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: pools (B, T, D) under the attention (B, T); its output must be (B, D).
        sparsity: weight of the L1 norm of the attention, averaged over a video's snippets so that it means the same
            at any T (STPN's sparsity loss; MAAN has none).
    """

    def __init__(self, feature_dim: int, num_classes: int, aggregator: Aggregator, *, sparsity: float = 0.0) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(feature_dim, 256), nn.LeakyReLU(), nn.Linear(256, 1), nn.Sigmoid())
        self.aggregator = aggregator
        self.classifier = nn.Linear(feature_dim, num_classes, bias=False)
        self.sparsity = sparsity

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        targets: Targets | None = None,  # noqa: ARG002 - pooling needs no teacher
    ) -> AttentionPoolingDecoding:
        """Decode features (B, T, D) under mask (B, T), True on real snippets."""
        attention: Tensor = self.attention(features).squeeze(-1)
        if mask is not None:
            attention = attention * mask
        # One assembly from here on: gradient maps need the patterns that the logits were computed from.
        patterns = self.aggregator(features, attention, mask).unsqueeze(1)
        logits: Tensor = self.classifier(patterns)
        lengths = attention.shape[-1] if mask is None else mask.sum(-1).clamp(min=1)
        return AttentionPoolingDecoding(
            attention.unsqueeze(1),
            patterns,
            logits,
            logits.squeeze(1).sigmoid(),
            self.classifier.weight,
            attention.sum(-1) / lengths,
        )

    def loss(self, decoding: AttentionPoolingDecoding, targets: Targets) -> dict[str, Tensor]:
        """Binary cross-entropy (MAAN 10, averaged over videos and classes), and sparsity if it has a weight."""
        terms = {"classification": F.binary_cross_entropy_with_logits(decoding.logits.squeeze(1), targets.labels)}
        if self.sparsity:
            terms["sparsity"] = self.sparsity * decoding.mean_attention.mean()
        return terms
