"""A classifier of snippets in their temporal context: it learns from video labels, from a teacher, or from both.

B videos, T snippets, D features, H hidden features, C classes. Competing classes are BaS-Net's (Lee, Uh and Byun 2020),
as a softmax of each snippet; the rest is the usual head since W-TALC: convolution, dropout, pooling of snippet scores.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_core.contracts import Targets
from wtal_core.kinds.aggregator import Aggregator

Pooling = Literal["max", "top-k", "log-sum-exp", "linear-softmax", "aggregator"]


class SnippetDecoding(NamedTuple):
    """Logits of every snippet; of the pooling `aggregator` also what is pooled under each class's own attention."""

    features: Tensor  # (B, T, H), the hidden layer
    attention: Tensor  # (B, 1, T), one on what is seen; or (B, C, T), each class's probability
    snippet_logits: Tensor  # (B, T, C)
    background_logits: Tensor | None  # (B, T)
    class_scores: Tensor  # (B, C)
    head_weight: Tensor  # (C, H)
    pooled: Tensor | None  # (B, C, H)
    logits: Tensor | None  # (B, C, C)
    probabilities: Tensor | None  # (B, C, C), each assembly speaks for its own class


class SnippetClassifier(nn.Module):
    """Hidden layer over a temporal context, LeakyReLU, a linear head of C classes, perhaps one more of background.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: of the pooling `aggregator`, under each class's own probability as attention; else not used.
        snippet_seconds: the time from one snippet to the next, in seconds; None where videos differ too much.
        hidden: H.
        context: the width of the hidden layer's convolution in seconds; 0 sees each snippet alone. More than that needs
            clips that show neighbours.
        layers: how many such convolutions, one on the other.
        dropout: of the hidden layer.
        background: let the classes and the background compete in a softmax; else each class is a sigmoid.
        pooling: of a video's snippet probabilities to its class scores: the highest (`max`); the mean of the highest
            share `fraction` (`top-k`); the log-mean-exp of the logits (`log-sum-exp`), as a probability; the mean
            weighted by the probabilities themselves (`linear-softmax`; Wang, Li, Metze, ICASSP 2019); or the class
            logit of what the aggregator pools (`aggregator`).
        fraction: of `top-k`, in (0, 1]; at least one snippet.
        classification: weight of the binary cross-entropy between class scores and labels; 0 leaves learning to the
            losses of the experiment.

    Raises:
        ValueError: an option is out of its range, or a context in seconds is asked for without `snippet_seconds`.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: Aggregator,
        snippet_seconds: float | None = None,
        *,
        hidden: int = 256,
        context: float = 0.0,
        layers: int = 1,
        dropout: float = 0.0,
        background: bool = False,
        pooling: Pooling = "max",
        fraction: float = 0.125,
        classification: float = 1.0,
    ) -> None:
        super().__init__()
        _check(hidden=hidden, layers=layers, dropout=dropout, fraction=fraction, classification=classification)
        reach = _reach(context, snippet_seconds)
        self.context = reach * layers
        self.embedding = nn.ModuleList(
            nn.Conv1d(feature_dim if number == 0 else hidden, hidden, 2 * reach + 1, padding=reach)
            for number in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)
        self.background = nn.Linear(hidden, 1) if background else None
        self.aggregator = aggregator if pooling == "aggregator" else None
        self.pooling = pooling
        self.fraction = fraction
        self.classification = classification

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        targets: Targets | None = None,  # noqa: ARG002
    ) -> SnippetDecoding:
        """Classify the snippets of features (B, T, D) under mask (B, T)."""
        seen = torch.ones_like(features[..., 0], dtype=torch.bool) if mask is None else mask
        embedded = features.transpose(1, 2)
        for layer in self.embedding:  # what is hidden must not reach its neighbours
            embedded = F.leaky_relu(layer(embedded * seen.unsqueeze(1)))
        embedded = self.dropout(embedded).transpose(1, 2)
        logits = self.head(embedded)
        background = None if self.background is None else self.background(embedded).squeeze(2)
        probabilities = snippet_probabilities(logits, background)
        if self.aggregator is not None:
            attention = probabilities.transpose(1, 2) * seen.unsqueeze(1)
            pooled = self.aggregator(embedded, attention, mask)
            classes = self.head(pooled)
            scores = classes.diagonal(dim1=1, dim2=2).sigmoid()
            own = torch.diag_embed(scores)
            weight = self.head.weight
            return SnippetDecoding(embedded, attention, logits, background, scores, weight, pooled, classes, own)
        scores = pool_snippets(probabilities, logits, seen, self.pooling, self.fraction)
        attention = seen.to(features.dtype).unsqueeze(1)
        return SnippetDecoding(embedded, attention, logits, background, scores, self.head.weight, None, None, None)

    def loss(self, decoding: SnippetDecoding, targets: Targets) -> dict[str, Tensor]:
        """Binary cross-entropy of the class scores, if it has a weight."""
        if not self.classification:
            return {}
        # Rounding may lift a mean of probabilities beyond 1.
        video = F.binary_cross_entropy(decoding.class_scores.clamp(0, 1), targets.labels)
        return {"classification": self.classification * video}


def snippet_probabilities(logits: Tensor, background: Tensor | None) -> Tensor:
    """Probabilities (B, T, C): of a softmax with the background (B, T), where there is one, else of sigmoids."""
    if background is None:
        return logits.sigmoid()
    return torch.cat([logits, background.unsqueeze(2)], 2).softmax(2)[..., :-1]


def pool_snippets(
    probabilities: Tensor, logits: Tensor, seen: Tensor, pooling: Pooling, fraction: float = 0.125
) -> Tensor:
    """Class scores (B, C) in [0, 1] of snippet probabilities (B, T, C) and logits (B, T, C) where `seen` (B, T).

    Args:
        probabilities: of the snippets.
        logits: of the snippets, which `log-sum-exp` reads.
        seen: False on what has no part in it; a video of which nothing is seen scores 0.
        pooling: as of `SnippetClassifier`.
        fraction: of `top-k`.
    """
    there, lengths = seen.unsqueeze(2), seen.sum(1, keepdim=True)
    masked = probabilities.masked_fill(~there, 0)
    if pooling == "max":
        return masked.amax(1)
    if pooling == "top-k":
        k = (lengths * fraction).ceil().clamp(min=1)  # (B, 1)
        ranked = masked.sort(dim=1, descending=True).values
        first = torch.arange(seen.shape[1], device=seen.device).unsqueeze(0) < k
        return (ranked * first.unsqueeze(2)).sum(1) / k
    if pooling == "linear-softmax":
        return (masked**2).sum(1) / masked.sum(1).clamp(min=torch.finfo(masked.dtype).tiny)
    lowest = torch.finfo(logits.dtype).min
    total = logits.masked_fill(~there, lowest).logsumexp(1)
    return (total - lengths.clamp(min=1).log()).sigmoid() * (lengths > 0)


def _check(hidden: int, layers: int, dropout: float, fraction: float, classification: float) -> None:
    if hidden < 1 or layers < 1:
        raise ValueError(f"hidden and layers must be 1 or more, got {hidden} and {layers}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    if not classification >= 0:
        raise ValueError(f"classification must be 0 or more, got {classification}")


def _reach(context: float, snippet_seconds: float | None) -> int:
    """How many snippets to each side a width in seconds is."""
    if not 0 <= context < float("inf"):
        raise ValueError(f"context must be 0 s or more, got {context}")
    if context == 0:
        return 0
    if snippet_seconds is None:
        raise ValueError("context is in seconds, and the snippets of these videos have no common length; set it to 0")
    return max(1, round((context / snippet_seconds - 1) / 2))
