"""A classifier of snippets in their temporal context: it learns from video labels, from a teacher, or from both.

B videos, T snippets, D features, H hidden features, C classes; K is C, or C + 1 where the background competes.
Competing classes and the suppressed branch are BaS-Net's (Lee, Uh and Byun, AAAI 2020), here as a softmax of each
snippet; the rest is the usual head since W-TALC: convolution, dropout, pooling of scores. Probabilities are kept
as logarithms of themselves and of what they leave of 1: else a class that is sure and wrong has no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wtal_core.contracts import Targets
from wtal_core.kinds.aggregator import Aggregator

Pooling = Literal["max", "top-k", "log-sum-exp", "linear-softmax", "aggregator"]

#: The log-probability of what nobody sees: its exponential is 0, and twice it is a number still.
NEVER = -1e4


class LogProbabilities(NamedTuple):
    """Of each class, that it is there and that it is not."""

    present: Tensor
    absent: Tensor


class SnippetDecoding(NamedTuple):
    """Logits of every snippet; of the pooling `aggregator` also what is pooled under each class's own attention."""

    features: Tensor  # (B, T, H), the hidden layer
    attention: Tensor  # (B, 1, T), one on what is seen, or the filter; or (B, C, T), each class's probability
    snippet_logits: Tensor  # (B, T, C)
    background_logits: Tensor | None  # (B, T)
    class_scores: Tensor  # (B, C)
    head_weight: Tensor  # (C, H)
    pooled: Tensor | None  # (B, C, H)
    logits: Tensor | None  # (B, C, C)
    probabilities: Tensor | None  # (B, C, C), each assembly speaks for its own class
    video: LogProbabilities  # (B, K) each
    base: LogProbabilities | None = None  # (B, C + 1) each, of the branch that nothing suppresses


class SnippetClassifier(nn.Module):
    """Hidden layers over a temporal context, LeakyReLU, a linear head of C classes, perhaps one more of background.

    Read it by the activation `snippet`; with the pooling `aggregator` by `attention`, because each class's attention is
    its probability already.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: of the pooling `aggregator`, under each class's own probability as attention; else not used.
        snippet_seconds: the time from one snippet to the next, in seconds; None where videos differ too much.
        hidden: H.
        context: the width of a hidden layer's convolution in seconds, two neighbours at least; or "neighbours", three
            snippets to each side however long they are; 0 sees each snippet alone. More than that needs clips that show
            neighbours.
        layers: how many such convolutions, one on the other.
        dropout: of the hidden layer.
        background: let the classes and the background compete in a softmax; else each class is a sigmoid.
        suppressed: read features that a filter in [0, 1] has weighted, the attention of each snippet, and learn from
            them that there is no background, and from the features as they are that there is (BaS-Net 3). Needs
            `background`.
        pooling: of a video's snippet probabilities to its class scores: the highest (`max`); the mean of the highest
            shares `fractions` (`top-k`); the log-mean-exp of the log-odds (`log-sum-exp`), as a probability; the mean
            weighted by the probabilities themselves (`linear-softmax`; Wang, Li, Metze, ICASSP 2019); or the
            probability of each class in what the aggregator pools for it (`aggregator`).
        fractions: of `top-k`, each in (0, 1], one snippet at least; their means are averaged. How much of a video a
            class fills differs from 2 % to 50 % between data sets, so that no single fraction suits all.
        classification: weight of the binary cross-entropy between class scores and labels; 0 leaves learning to the
            losses of the experiment.

    Raises:
        ValueError: an option is out of its range; a context in seconds is asked for without `snippet_seconds`; or
            `suppressed` is asked for without `background` or with the pooling `aggregator`.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: Aggregator,
        snippet_seconds: float | None = None,
        *,
        hidden: int = 256,
        context: float | Literal["neighbours"] = 0.0,
        layers: int = 1,
        dropout: float = 0.0,
        background: bool = False,
        suppressed: bool = False,
        pooling: Pooling = "max",
        fractions: Sequence[float] = (0.02, 0.05, 0.125),
        classification: float = 1.0,
    ) -> None:
        super().__init__()
        _check(hidden, layers, dropout, fractions, classification)
        if suppressed and (not background or pooling == "aggregator"):
            raise ValueError("suppressed needs background = true and a pooling other than 'aggregator'")
        reach = _reach(context, snippet_seconds)
        self.context = reach * (layers + suppressed)  # the filter has a context of its own
        self.embedding = nn.ModuleList(
            nn.Conv1d(feature_dim if number == 0 else hidden, hidden, 2 * reach + 1, padding=reach)
            for number in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)
        self.background = nn.Linear(hidden, 1) if background else None
        self.filter = _filter(feature_dim, hidden, reach) if suppressed else None
        self.aggregator = aggregator if pooling == "aggregator" else None
        self.pooling = pooling
        self.fractions = (0.0,) if pooling == "max" else tuple(fractions)
        self.classification = classification

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        targets: Targets | None = None,  # noqa: ARG002
    ) -> SnippetDecoding:
        """Classify the snippets of features (B, T, D) under mask (B, T)."""
        seen = torch.ones_like(features[..., 0], dtype=torch.bool) if mask is None else mask
        attention, base = seen.to(features.dtype), None
        if self.filter is not None:
            base = self._pool(log_probabilities(*self._scores(self._embed(features, seen))), seen)
            shown = (features * seen.unsqueeze(2)).transpose(1, 2)
            attention = self.filter(shown).sigmoid().squeeze(1) * seen
        embedded = self._embed(features * attention.unsqueeze(2), seen)
        logits, background = self._scores(embedded)
        snippets = log_probabilities(logits, background)
        C, weight = logits.shape[2], self.head.weight
        if self.aggregator is not None:
            own = _probabilities(snippets.present[..., :C]).transpose(1, 2) * seen.unsqueeze(1)
            pooled = self.aggregator(embedded, own, mask)
            classes, rest = self._scores(pooled)
            video = LogProbabilities(
                *(part[..., :C].diagonal(dim1=1, dim2=2) for part in log_probabilities(classes, rest))
            )
            scores = _probabilities(video.present)
            spoken = torch.diag_embed(scores)
            return SnippetDecoding(embedded, own, logits, background, scores, weight, pooled, classes, spoken, video)
        video = self._pool(snippets, seen)
        scores = _probabilities(video.present[:, :C])
        return SnippetDecoding(
            embedded, attention.unsqueeze(1), logits, background, scores, weight, None, None, None, video, base
        )

    def loss(self, decoding: SnippetDecoding, targets: Targets) -> dict[str, Tensor]:
        """Binary cross-entropy of the class scores, if it has a weight; with `suppressed`, of both branches."""
        if not self.classification:
            return {}
        labels = targets.labels
        if decoding.base is None:
            term = cross_entropy(LogProbabilities(*(part[:, : labels.shape[1]] for part in decoding.video)), labels)
        else:
            term = cross_entropy(decoding.base, F.pad(labels, (0, 1), value=1.0))
            term = term + cross_entropy(decoding.video, F.pad(labels, (0, 1), value=0.0))
        return {"classification": self.classification * term}

    def _embed(self, features: Tensor, seen: Tensor) -> Tensor:
        """The hidden layer (B, T, H) of features (B, T, D)."""
        embedded = features.transpose(1, 2)
        for layer in self.embedding:  # what is hidden must not reach its neighbours
            embedded = F.leaky_relu(layer(embedded * seen.unsqueeze(1)))
        hidden: Tensor = self.dropout(embedded).transpose(1, 2)
        return hidden

    def _scores(self, embedded: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, T, C), and those of the background (B, T) if it competes."""
        return self.head(embedded), None if self.background is None else self.background(embedded).squeeze(2)

    def _pool(self, snippets: LogProbabilities, seen: Tensor) -> LogProbabilities:
        return pool_snippets(snippets, seen, self.pooling, self.fractions)


def log_probabilities(logits: Tensor, background: Tensor | None) -> LogProbabilities:
    """Of each snippet, (B, T, K): of a softmax with the background (B, T), which comes last, or else of sigmoids.

    Args:
        logits: (B, T, C).
        background: (B, T), or None.
    """
    if background is None:
        return LogProbabilities(F.logsigmoid(logits), F.logsigmoid(-logits))
    everything = torch.cat([logits, background.unsqueeze(2)], 2)
    present = everything.log_softmax(2)
    # Of the highest alone 1 - p may vanish; what the others have is summed for it.
    highest = F.one_hot(everything.argmax(2), everything.shape[2]).bool()
    others = present.masked_fill(highest, NEVER).logsumexp(2, keepdim=True)
    absent = torch.log1p(-present.masked_fill(highest, NEVER).exp())
    return LogProbabilities(present, torch.where(highest, others, absent))


def pool_snippets(
    snippets: LogProbabilities, seen: Tensor, pooling: Pooling, fractions: Sequence[float]
) -> LogProbabilities:
    """Log-probabilities (B, K) of a video's classes from those of its snippets, (B, T, K).

    Args:
        snippets: of the snippets.
        seen: (B, T), False on what has no part in it; in a video of which nothing is seen is no class.
        pooling: as of `SnippetClassifier`.
        fractions: of `top-k`; 0 is one snippet, which is `max`.
    """
    there, lengths = seen.unsqueeze(2), seen.sum(1, keepdim=True).to(snippets.present.dtype)
    present, absent = snippets.present.masked_fill(~there, NEVER), snippets.absent.masked_fill(~there, 0)
    if pooling == "linear-softmax":
        total = present.logsumexp(1)
        return LogProbabilities((2 * present).logsumexp(1) - total, (present + absent).logsumexp(1) - total)
    if pooling == "log-sum-exp":
        odds = (present - absent).logsumexp(1) - lengths.clamp(min=1).log()
        return LogProbabilities(F.logsigmoid(odds), F.logsigmoid(-odds))
    order = present.argsort(dim=1, descending=True)
    weights = _rank_weights(lengths, seen.shape[1], fractions).log().unsqueeze(2)
    return LogProbabilities(*((part.gather(1, order) + weights).logsumexp(1) for part in (present, absent)))


def cross_entropy(video: LogProbabilities, labels: Tensor) -> Tensor:
    """Binary cross-entropy between log-probabilities (B, K) and labels (B, K), the mean over all."""
    return -(labels * video.present + (1 - labels) * video.absent).mean()


def _rank_weights(lengths: Tensor, T: int, fractions: Sequence[float]) -> Tensor:
    """How much the t-th highest snippet counts, (B, T), in the mean of the means of the highest shares."""
    ranks = torch.arange(T, device=lengths.device)
    # Less a little, because 0.07 * 100 is more than 7.
    counts = [(lengths * fraction - 1e-3).ceil().clamp(min=1) for fraction in fractions]
    return torch.stack([(ranks < k) / k for k in counts]).mean(0)


def _probabilities(logarithms: Tensor) -> Tensor:
    """Rounding may lift a logarithm above 0."""
    return logarithms.exp().clamp(max=1)


def _filter(feature_dim: int, hidden: int, reach: int) -> nn.Module:
    """BaS-Net's filtering module, without its sigmoid."""
    return nn.Sequential(
        nn.Conv1d(feature_dim, hidden, 2 * reach + 1, padding=reach), nn.LeakyReLU(), nn.Conv1d(hidden, 1, 1)
    )


def _check(hidden: int, layers: int, dropout: float, fractions: Sequence[float], classification: float) -> None:
    if hidden < 1 or layers < 1:
        raise ValueError(f"hidden and layers must be 1 or more, got {hidden} and {layers}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must be one or more in (0, 1], got {list(fractions)}")
    if not 0 <= classification < float("inf"):
        raise ValueError(f"classification must be 0 or more, got {classification}")


def _reach(context: float | Literal["neighbours"], snippet_seconds: float | None) -> int:
    """How many snippets to each side a context is."""
    if context == "neighbours":
        return 3
    if not 0 <= context < float("inf"):
        raise ValueError(f"context must be 0 s or more, got {context}")
    if context == 0:
        return 0
    if snippet_seconds is None:
        raise ValueError(
            "context is in seconds, and the snippets of the training videos have no common length; set it to "
            "'neighbours', or give data.grid in frames"
        )
    return max(1, round((context / snippet_seconds - 1) / 2))
