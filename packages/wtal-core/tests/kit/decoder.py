"""Decoders, sound and broken."""

import random
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.builtin.snippet_classifier import SnippetClassifier

KIND = "decoder"


class Decoder(AttentionPooling):
    def forward(self, features, mask=None, targets=None):
        return self.change(super().forward(features, mask, targets), features)

    def change(self, decoding, features):
        return decoding


class Hidden(nn.Module):
    """Embeds what it pools, in a width of its own or that of its input.

    Args:
        width: E; 0 for that of the input.
        own: it pools by itself, without the aggregator.
    """

    def __init__(self, feature_dim, num_classes, aggregator, width=0, own=False):
        super().__init__()
        width = width or feature_dim
        self.embedding = nn.Sequential(nn.Linear(feature_dim, width), nn.Tanh())
        self.attention = nn.Linear(width, 1)
        self.head = nn.Linear(width, num_classes)
        self.aggregator = None if own else aggregator

    def forward(self, features, mask=None, targets=None):
        embedded = self.embedding(features)
        attention = self.attention(embedded).sigmoid().squeeze(2)
        if mask is not None:
            attention = attention * mask
        pooled = attention[:, None] @ embedded
        if self.aggregator is not None:
            pooled = self.aggregator(embedded, attention, mask)[:, None]
        return self.decoding(features, embedded, attention[:, None], pooled)

    def decoding(self, features, embedded, attention, pooled):
        logits = self.head(pooled)
        return SimpleNamespace(
            features=embedded,
            attention=attention,
            class_scores=logits[:, 0].sigmoid(),
            pooled=pooled,
            logits=logits,
            head_weight=self.head.weight,
        )

    def loss(self, decoding, targets):
        return {"classification": F.binary_cross_entropy(decoding.class_scores, targets.labels)}


class LinearClassifier(nn.Module):
    """Classifies snippets of the input itself, under no attention."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.head = nn.Linear(feature_dim, num_classes)

    def forward(self, features, mask=None, targets=None):
        seen = torch.ones_like(features[..., 0]) if mask is None else mask.to(features.dtype)
        logits = self.head(features)
        scores = (logits.sigmoid() * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
        parts = {"features": features, "attention": seen[:, None], "class_scores": scores, "snippet_logits": logits}
        return SimpleNamespace(**parts, head_weight=self.head.weight)

    loss = Hidden.loss


class Neighbours(LinearClassifier):
    """Looks one snippet to each side, and says so."""

    context = 1

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__(feature_dim, num_classes, aggregator)
        self.mix = nn.Conv1d(feature_dim, feature_dim, 3, padding=1)

    def forward(self, features, mask=None, targets=None):
        shown = features if mask is None else features * mask[..., None]
        return super().forward(self.mix(shown.transpose(1, 2)).transpose(1, 2), mask, targets)


class Doubtful(Decoder):
    """Learns from whatever `doubt` does not refuse."""

    def doubt(self, targets):
        if targets.counts is not None and not targets.counts.any():
            raise self.refusal(len(targets.labels))

    def refusal(self, videos):
        error = ValueError("video 0 of the batch has no counts")
        error.position, error.reason = 0, "has no counts"
        return error

    def loss(self, decoding, targets):
        self.doubt(targets)
        return super().loss(decoding, targets)

    def check_targets(self, targets):
        self.doubt(targets)


def decoder(change=lambda self, decoding, features: decoding, base=Decoder, **members):
    return type("Broken", (base,), {"change": change, **members})


def replacing(when=lambda self, features, mask: True, **parts):
    """A decoder of which parts are computed from those of a sound one and the features, under a condition."""

    def forward(self, features, mask=None, targets=None):
        decoding = Decoder.forward(self, features, mask, targets)
        if not when(self, features, mask):
            return decoding
        changes = {name: part(getattr(decoding, name, None), features) for name, part in parts.items()}
        return SimpleNamespace(**{**decoding._asdict(), **changes})

    return decoder(forward=forward)


def with_options(kind, **options):
    return lambda feature_dim, num_classes, aggregator: kind(feature_dim, num_classes, aggregator, **options)


class PoolsInput(nn.Module):
    """Pools its input as it is, without anything to learn before the head."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.head = nn.Linear(feature_dim, num_classes)

    def forward(self, features, mask=None, targets=None):
        seen = features.new_ones(features.shape[:2]) if mask is None else mask.to(features.dtype)
        pooled = (seen[:, None] @ features) / seen.sum(1).clamp(min=1)[:, None, None]
        logits = self.head(pooled)
        return SimpleNamespace(
            features=features,
            attention=seen[:, None],
            class_scores=logits[:, 0].sigmoid(),
            pooled=pooled,
            logits=logits,
            head_weight=self.head.weight,
        )

    def loss(self, decoding, targets):
        return {"classification": F.binary_cross_entropy_with_logits(decoding.logits[:, 0], targets.labels)}


SOUND = [
    Decoder,
    PoolsInput,
    SnippetClassifier,
    with_options(AttentionPooling, class_wise=True),
    with_options(Hidden),
    with_options(Hidden, width=3),
    with_options(Hidden, width=3, own=True),
    LinearClassifier,
    Neighbours,
    Doubtful,
    replacing(probabilities=lambda _, x: None),
    decoder(loss=lambda self, decoding, targets: {}),  # the experiment's losses are all it learns from
]


def learning(self, features, mask):
    return self.training


def deciding(self, features, mask):
    return not self.training


def masked(self, features, mask):
    return mask is not None


class Unregistered(Decoder):
    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__(feature_dim, num_classes, None)
        object.__setattr__(self, "aggregator", aggregator)


class ReadsPadding(Decoder):
    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        return decoding._replace(class_scores=(decoding.logits[:, 0] + features.mean((1, 2))[:, None]).sigmoid())


class UnmaskedInTraining(Decoder):
    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        if self.training and mask is not None:
            decoding = decoding._replace(class_scores=(decoding.class_scores + features.mean().sigmoid()) / 2)
        return decoding


class NeedsMask(Decoder):
    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        return decoding if mask is None else decoding._replace(class_scores=decoding.class_scores / 2)


class HalvesUnlessOmitted(Decoder):
    def forward(self, features, mask=(), targets=None):
        decoding = super().forward(features, None if isinstance(mask, tuple) else mask, targets)
        return decoding._replace(class_scores=decoding.class_scores / 2) if mask is None else decoding


class Numbered(Decoder):
    """Weakens later snippets by their index, not by their place among those that are seen."""

    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        fading = decoding.attention / (1 + torch.arange(features.shape[1]))
        scores = (decoding.class_scores + fading.sum(2)) / (1 + len(features[0]))
        return decoding._replace(class_scores=scores.clamp(max=1))


class LongerScore(Decoder):
    """Divides by the length of the batch, hidden snippets included."""

    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        return decoding._replace(class_scores=decoding.class_scores / features.shape[1])


class SecretContext(Neighbours):
    context = 0


class ForgetfulDecoder(Decoder):
    def state_dict(self, *arguments, **options):
        return {}

    def load_state_dict(self, state):
        pass


class ForgetsAggregator(Decoder):
    def state_dict(self, *arguments, **options):
        state = super().state_dict(*arguments, **options)
        return {name: tensor for name, tensor in state.items() if not name.startswith("aggregator")}

    def load_state_dict(self, state):
        super().load_state_dict(state, strict=False)


def refusing(**attributes):
    def refusal(self, videos):
        error = ValueError("no counts")
        vars(error).update(attributes)
        return error

    return type("Broken", (Doubtful,), {"refusal": refusal})


def loss(make):
    """A decoder whose loss is made from that of a sound one."""
    return decoder(loss=lambda self, d, targets: make(AttentionPooling.loss(self, d, targets)["classification"], d))


def doubles_features(self, decoding, features):
    with torch.no_grad():
        features.mul_(2)
    return decoding


def doubles_labels(self, decoding, targets):
    terms = AttentionPooling.loss(self, decoding, targets)
    targets.labels.mul_(2)
    return terms


def unlearnable(*arguments, **options):
    return Decoder(*arguments, **options).requires_grad_(False)


def hidden(change, **options):
    """A decoder with a hidden layer, which says of parts of its decoding what `change(features)` gives."""

    def decoding(self, features, embedded, attention, pooled):
        sound = Hidden.decoding(self, features, embedded, attention, pooled)
        return SimpleNamespace(**(vars(sound) | change(features)))

    return with_options(type("Broken", (Hidden,), {"decoding": decoding}), **options)


class BeforeDropout(Hidden):
    """Says an attention that it did not pool under."""

    def decoding(self, features, embedded, attention, pooled):
        return super().decoding(features, embedded, attention / 2 + 0.5 * (attention > 0), pooled)


class ClassifiesHidden(LinearClassifier):
    """Classifies an embedding, and says that its features are the input, of equal width."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__(feature_dim, num_classes, aggregator)
        self.embedding = nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.Tanh())

    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(self.embedding(features), mask, targets)
        decoding.features = features
        return decoding


class CutClassifier(ClassifiesHidden):
    """The same, of which the features are right but cut from the graph."""

    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        decoding.features = self.embedding(features).detach().requires_grad_()
        return decoding


class Ranks(LinearClassifier):
    """Its snippet logits heed the batch, its class scores do not."""

    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        decoding.snippet_logits = decoding.snippet_logits * len(features)
        decoding.head_weight = None
        return decoding


def own_intervals(starts):
    """A decoder that proposes an interval which begins as `starts()` says."""

    def forward(self, features, mask=None, targets=None):
        decoding = vars(Hidden.forward(self, features, mask, targets))
        one = np.array([starts()])
        found = SimpleNamespace(label=np.array([0]), start=one, end=np.array([1.0]), score=np.array([0.5]))
        return SimpleNamespace(**decoding, intervals=found if len(features) == 1 else None)

    return type("Broken", (Hidden,), {"forward": forward})


BROKEN = {
    "module": [
        lambda feature_dim, num_classes, aggregator: object(),
        decoder(context="one"),
        decoder(context=-1),
    ],
    "submodule": [Unregistered],
    "form": [
        replacing(logits=lambda logits, x: logits.squeeze(1)),
        replacing(logits=lambda logits, x: logits * np.nan),
        replacing(logits=lambda logits, x: None),
        replacing(logits=lambda logits, x: None, pooled=lambda pooled, x: None),
        replacing(pooled=lambda pooled, x: pooled[:, 0]),
        replacing(pooled=lambda pooled, x: pooled.double()),
        replacing(features=lambda features, x: features[:, :1] if x.shape[1] > 1 else features[0]),
        replacing(features=lambda features, x: features.double()),
        replacing(features=lambda features, x: torch.cat([features, features], 2)),
        replacing(attention=lambda attention, x: attention[:, 0]),
        replacing(attention=lambda attention, x: attention[:, :0]),
        replacing(attention=lambda attention, x: attention.tolist()),
        replacing(attention=lambda attention, x: attention.double()),
        replacing(attention=lambda attention, x: attention * 3),
        replacing(attention=lambda attention, x: -attention),
        replacing(attention=lambda attention, x: attention * np.nan),
        replacing(lambda self, x, mask: x.shape[1] > 8, attention=lambda attention, x: attention * 3),
        replacing(masked, attention=lambda attention, x: attention.clamp(min=0.25)),
        replacing(masked, attention=lambda attention, x: attention[0]),
        replacing(
            lambda self, x, mask: mask is not None and bool((mask[:, 1:] & ~mask[:, :-1]).any()),
            attention=lambda attention, x: attention.clamp(min=0.25),
        ),
        replacing(learning, attention=lambda attention, x: attention * 3),
        replacing(deciding, attention=lambda attention, x: attention * 3),
        replacing(class_scores=lambda scores, x: scores + 1),
        replacing(class_scores=lambda scores, x: scores[:, None]),
        replacing(head_weight=lambda weight, x: weight.T.unsqueeze(0)),
        replacing(head_weight=lambda weight, x: weight.tolist()),
        replacing(snippet_logits=lambda _, x: x[:, :, 0]),
        replacing(background_logits=lambda _, x: x[:, :, 0]),
        replacing(probabilities=lambda _, x: torch.zeros(len(x), 2)),
        replacing(
            probabilities=lambda _, x: torch.full((len(x), 1, min(x.shape[2] + x.shape[1] - 1, x.shape[0])), 2.0)
        ),
        own_intervals(lambda: -1.0),
        own_intervals(lambda: 1.0),
        decoder(lambda self, d, x: tuple(d)[:1]),
        replacing(lambda self, x, mask: mask is None and not self.training, logits=lambda logits, x: 1 / 0),
    ],
    "untouched": [
        decoder(doubles_features),
        decoder(lambda self, d, x: d if self.training else doubles_features(self, d, x)),
        decoder(loss=doubles_labels),
        decoder(loss=lambda self, decoding, targets: 1 / 0),
    ],
    "draws": [
        replacing(class_scores=lambda scores, x: scores * torch.rand(())),
        replacing(attention=lambda attention, x: attention * torch.rand(())),
        replacing(learning, logits=lambda logits, x: logits * random.random()),
        replacing(learning, logits=lambda logits, x: (logits, torch.manual_seed(7))[0]),
        replacing(deciding, logits=lambda logits, x: (logits, torch.rand(()))[0]),
        own_intervals(random.random),
    ],
    "head": [
        replacing(logits=lambda logits, x: logits.detach()),
        replacing(pooled=lambda pooled, x: pooled.detach()),
        replacing(pooled=lambda pooled, x: pooled.clone()),
        replacing(head_weight=lambda weight, x: weight * 2),
        ClassifiesHidden,
        CutClassifier,
    ],
    "pooled": [
        hidden(lambda features: {"features": features}),
        hidden(lambda features: {"features": features}, own=True),
        hidden(lambda features: {"features": features.flip(1)}),
        BeforeDropout,
    ],
    "loss": [
        loss(lambda term, d: {"classification": d.logits}),
        loss(lambda term, d: {"classification": term[None, None]}),
        loss(lambda term, d: {"classification": term.item()}),
        loss(lambda term, d: {"classification": term * np.inf}),
        loss(lambda term, d: {"classification": term + np.inf}),
        loss(lambda term, d: {"classification": term.detach()}),
        unlearnable,
        loss(lambda term, d: {"classification": (0 * term.detach()).requires_grad_()}),
        loss(lambda term, d: {"classification": term + 0 * (term - term).sqrt()}),
        loss(lambda term, d: {"classification": (100 * term).long()}),
        loss(lambda term, d: {0: term}),
        loss(lambda term, d: term),
        loss(lambda term, d: {"classification": term if d.attention.all() else term * np.inf}),
        decoder(loss=lambda self, d, t: {"counts": ((d.class_scores - t.counts) ** 2).mean()}),
    ],
    "hidden": [
        ReadsPadding,
        UnmaskedInTraining,
        Numbered,
        LongerScore,
        SecretContext,
        replacing(logits=lambda logits, x: logits + x.mean()),
        replacing(learning, logits=lambda logits, x: logits + x.mean()),
        decoder(lambda self, d, x: d._replace(probabilities=(d.logits + x.mean((1, 2))[:, None, None]).sigmoid())),
        decoder(
            loss=lambda self, d, t: {
                "classification": AttentionPooling.loss(self, d, t)["classification"] + d.features.mean()
            }
        ),
    ],
    "no_mask": [
        NeedsMask,
        HalvesUnlessOmitted,
        decoder(forward=lambda self, x, mask, targets=None: Decoder.forward(self, x, mask, targets)),
    ],
    "alone": [replacing(class_scores=lambda scores, x: scores / len(x)), Ranks],
    "refusal": [
        refusing(position=-1),
        refusing(position="v0"),
        refusing(position=9),
        refusing(reason="has no counts"),
        refusing(position=0, reason=3),
        type("Broken", (Doubtful,), {"check_targets": lambda self, targets: None}),
        type("Broken", (Decoder,), {"check_targets": lambda self, targets: Doubtful.refusal(self, 1) and 1 / 0}),
        type("Broken", (Doubtful,), {"loss": Decoder.loss}),
    ],
    "state": [ForgetfulDecoder, ForgetsAggregator],
}
