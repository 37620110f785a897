"""The attention-pooling decoder: STPN, MAAN and MAAN's other baselines, which differ in the aggregator alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_core.contracts import Targets
from wtal_core.kinds.aggregator import Aggregator


class AttentionPoolingDecoding(NamedTuple):
    """One assembly per video (S = 1), or one per class (S = C)."""

    features: Tensor  # (B, T, D), the input
    attention: Tensor  # (B, S, T) in [0, 1], zero where hidden
    pooled: Tensor  # (B, S, D)
    logits: Tensor  # (B, S, C)
    class_scores: Tensor  # (B, C), sigmoid of the class logits
    head_weight: Tensor  # (C, D)
    probabilities: Tensor | None  # (B, S, C): of class-wise attention, each assembly speaks for its own class
    class_logits: Tensor  # (B, C): with class-wise attention each class reads its own assembly
    mean_attention: Tensor  # (B, S), over visible snippets


class AttentionPooling(nn.Module):
    """Attention, aggregation, linear classifier (MAAN section 2.4 and figure 3; STPN is the same with a weighted sum).

    The attention module is FC D-256, LeakyReLU, FC 256-1, sigmoid (MAAN 3.1). The classifier has no bias, as in MAAN
    (10) and (14): the class activation of a snippet and the class score of a video are then the same function.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: pools (B, T, D) under the attention.
        sparsity: weight of the L1 norm of the attention, averaged over a video's snippets so that it means the same
            at any T (STPN's sparsity loss; MAAN has none).
        class_wise: an attention of its own for each class; the second layer is then FC 256-C.
    """

    context = 0

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: Aggregator,
        *,
        sparsity: float = 0.0,
        class_wise: bool = False,
    ) -> None:
        super().__init__()
        assemblies = num_classes if class_wise else 1
        self.attention = nn.Sequential(
            nn.Linear(feature_dim, 256), nn.LeakyReLU(), nn.Linear(256, assemblies), nn.Sigmoid()
        )
        self.aggregator = aggregator
        self.classifier = nn.Linear(feature_dim, num_classes, bias=False)
        self.sparsity = sparsity
        self.class_wise = class_wise

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        targets: Targets | None = None,  # noqa: ARG002 - pooling needs no teacher
    ) -> AttentionPoolingDecoding:
        """Decode features (B, T, D) under mask (B, T), True on what is seen."""
        attention: Tensor = self.attention(features).transpose(1, 2)  # (B, S, T)
        if mask is not None:
            attention = attention * mask.unsqueeze(1)
        if self.class_wise:
            pooled = self.aggregator(features, attention, mask)
        else:
            pooled = self.aggregator(features, attention.squeeze(1), mask).unsqueeze(1)
        logits: Tensor = self.classifier(pooled)
        class_logits = logits.diagonal(dim1=1, dim2=2) if self.class_wise else logits.squeeze(1)
        scores = class_logits.sigmoid()
        lengths = attention.shape[-1] if mask is None else mask.sum(-1, keepdim=True).clamp(min=1)
        return AttentionPoolingDecoding(
            features,
            attention,
            pooled,
            logits,
            scores,
            self.classifier.weight,
            torch.diag_embed(scores) if self.class_wise else None,
            class_logits,
            attention.sum(-1) / lengths,
        )

    def loss(self, decoding: AttentionPoolingDecoding, targets: Targets) -> dict[str, Tensor]:
        """Binary cross-entropy (MAAN 10, averaged over videos and classes), and sparsity if it has a weight."""
        terms = {"classification": F.binary_cross_entropy_with_logits(decoding.class_logits, targets.labels)}
        if self.sparsity:
            terms["sparsity"] = self.sparsity * decoding.mean_attention.mean()
        return terms
