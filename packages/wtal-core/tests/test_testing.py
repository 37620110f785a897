"""The conformance kit: sound components pass, and for each clause there is a broken one that it catches."""

import random
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from wtal_core import testing
from wtal_core.attention_pooling import AttentionPooling
from wtal_core.errors import PluginError
from wtal_core.features import NpyFolder
from wtal_core.plugins import KINDS
from wtal_core.testing import ContractError, clauses


def weighted_mean(features, attention, mask):
    weights = attention if mask is None else attention * mask
    return (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-6)


class Mean(nn.Module):
    def forward(self, features, attention, mask=None):
        return weighted_mean(features, attention, mask)


class Decoder(AttentionPooling):
    def forward(self, features, mask=None, targets=None):
        return self.change(super().forward(features, mask, targets), features)

    def change(self, decoding, features):
        return decoding


class Activation:
    def __call__(self, decoding, features):
        if decoding.head_weight is None:
            raise ValueError("needs a linear head")
        response = torch.sigmoid(features[0] @ decoding.head_weight.T).T.detach().double().numpy()
        return np.broadcast_to(decoding.attention[0, 0].detach().double().numpy(), response.shape), response


def found(label, start, end, score):
    return SimpleNamespace(
        label=np.array(label, np.int64),
        start=np.array(start, float),
        end=np.array(end, float),
        score=np.array(score, float),
    )


class Proposer:
    def __call__(self, activation, class_scores, edges):
        C = len(activation)
        return found(range(C), [edges[0]] * C, [edges[-1]] * C, activation.mean(axis=1) * class_scores)


class KeepAll:
    def __call__(self, detections):
        return detections


class Recall:
    """The share of instances that a detection equals."""

    def __call__(self, ground_truth, detections, classes):
        hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
        for name, truth in ground_truth.items():
            rows = list(zip(*(part.tolist() for part in detections[name][:3]), strict=True))
            for row in zip(*(part.tolist() for part in truth), strict=True):
                counts[row[0]] += 1
                hits[row[0]] += row in rows
        recall = np.divide(hits, counts, out=np.full(len(classes), np.nan), where=counts > 0)[None]
        return SimpleNamespace(
            tiou_thresholds=np.array([0.5]), mean_ap=np.nanmean(recall, axis=1), average_precision=recall, notes=()
        )


def write(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{name}.npy", array)


SOUND = {
    "aggregator": Mean,
    "decoder": Decoder,
    "activation": Activation,
    "proposer": Proposer,
    "suppressor": KeepAll,
    "evaluator": Recall,
    "feature reader": NpyFolder,
}


def check(kind, make):
    """As a plugin's test does."""
    checker = getattr(testing, f"check_{kind.replace(' ', '_')}")
    checker(make, *([write] if kind == "feature reader" else []))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_component_passes(kind):
    check(kind, SOUND[kind])


# Deliberately broken components, one or several for each clause, in the order of the clauses


def pooling(forward, **members):
    return type("Broken", (Mean,), {"forward": forward, **members})


def changing(change, when=lambda self, features, attention, mask: True):
    """The weighted mean, changed under a condition."""

    def forward(self, features, attention, mask=None):
        patterns = weighted_mean(features, attention, mask)
        return change(self, patterns, features) if when(self, features, attention, mask) else patterns

    return pooling(forward)


def evaluating_alone(self, features, attention, mask):
    return not self.training


def training_alone(self, features, attention, mask):
    return self.training


def divides_by_zero(self, features, attention, mask=None):
    weights = attention if mask is None else attention * mask
    return (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True)


def in_place(self, features, attention, mask=None):
    patterns = weighted_mean(features.clone(), attention, mask)
    features.mul_(2)
    return patterns


def doubles_attention(self, attention, mask=None):
    weights = Weighing.coefficients(self, attention, mask)
    attention.mul_(2)
    return weights


class Weighing(Mean):
    def coefficients(self, attention, mask=None):
        weights = attention if mask is None else attention * mask
        return weights / weights.sum(1, keepdim=True).clamp(min=1e-6)


def weighing(coefficients):
    return type("Broken", (Weighing,), {"coefficients": coefficients})


class Forgetful(Mean):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features, attention, mask=None):
        return weighted_mean(features, attention, mask) * self.scale

    def state_dict(self, *arguments, **options):
        return {}

    def load_state_dict(self, state):
        pass


class Running(Mean):
    """Learns in training what only evaluation uses, and keeps it to itself."""

    def __init__(self):
        super().__init__()
        self.seen = 0.0

    def forward(self, features, attention, mask=None):
        if self.training:
            self.seen += features.detach().mean()
        return weighted_mean(features, attention, mask) + (0 if self.training else self.seen)


class Projecting(Mean):
    """Draws a fixed projection that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.scale = torch.rand(())

    def forward(self, features, attention, mask=None):
        return weighted_mean(features, attention, mask) * self.scale


class Annealing(Mean):
    """Counts its steps of training, and forgets them."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, features, attention, mask=None):
        self.steps += self.training
        return weighted_mean(features, attention ** (1 + self.steps if self.training else 1), mask)


class RemembersSteps(Mean):
    """Sound: counts its steps of training, and saves them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, features, attention, mask=None):
        self.steps += self.training
        return weighted_mean(features, attention ** (1 + self.steps), mask)


def unshared(self, features, attention, mask=None):
    patterns = weighted_mean(features, attention, mask)
    return patterns - patterns.mean(0) if len(patterns) > 1 else patterns


def no_default(self, features, attention, mask):
    return weighted_mean(features, attention, mask)


def halves_unless_omitted(self, features, attention, mask=()):
    patterns = weighted_mean(features, attention, None if isinstance(mask, tuple) else mask)
    return patterns / 2 if mask is None else patterns


def root_of_attention(self, features, attention, mask=None):
    return weighted_mean(features, attention.sqrt(), mask)


def root_of_the_rest(self, features, attention, mask=None):
    return weighted_mean(features, attention, mask) + 0 * (1 - attention.mean()).sqrt()


def root_about_a_half(self, features, attention, mask=None):
    return weighted_mean(features, attention, mask) + 0 * ((attention - 0.5) ** 2).sqrt().sum()


def root_of_padding(self, features, attention, mask=None):
    return weighted_mean(features, attention if mask is None else (attention * mask).sqrt() ** 2, mask)


AGGREGATORS = [
    [lambda: weighted_mean],
    [
        pooling(lambda self, features, attention, mask=None: features[:, 0, :1].squeeze(-1)),
        changing(lambda self, patterns, x: patterns.double()),
        changing(lambda self, patterns, x: patterns.float()),
        changing(lambda self, patterns, x: patterns.tolist()),
        changing(lambda self, patterns, x: (patterns,), evaluating_alone),
        changing(lambda self, patterns, x: patterns[:, None], training_alone),
        changing(lambda self, patterns, x: patterns * np.nan, lambda self, x, a, mask: x.shape[1] > 64),
        changing(lambda self, patterns, x: patterns[:, None], lambda self, x, a, mask: mask is not None),
        changing(lambda self, patterns, x: patterns[:, None], lambda self, x, a, mask: mask is None),
        changing(lambda self, patterns, x: sys.exit(3)),
        changing(lambda self, patterns, x: 1 / 0, evaluating_alone),
    ],
    [
        pooling(in_place),
        changing(lambda self, patterns, x: (patterns, x.mul_(2))[0], training_alone),
        changing(lambda self, patterns, x: (patterns, x.mul_(2))[0], evaluating_alone),
        weighing(doubles_attention),
    ],
    [
        changing(lambda self, patterns, x: patterns * torch.rand(())),
        changing(lambda self, patterns, x: (patterns, torch.rand(()))[0], evaluating_alone),
        changing(lambda self, patterns, x: (patterns, torch.manual_seed(7))[0], evaluating_alone),
        changing(lambda self, patterns, x: (patterns, torch.manual_seed(7))[0], training_alone),
        changing(lambda self, patterns, x: patterns * random.random(), training_alone),
        changing(lambda self, patterns, x: patterns * random.random(), evaluating_alone),
    ],
    [
        pooling(divides_by_zero),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: self.training and not a.any()),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: not self.training and not a.any()),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: bool((a == 1).all())),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: mask is not None and not mask.any()),
    ],
    [
        pooling(lambda self, features, attention, mask=None: weighted_mean(features, attention, None)),
        pooling(lambda self, x, a, mask=None: weighted_mean(x, a, None if self.training else mask)),
        pooling(lambda self, x, a, mask=None: weighted_mean(x, a, mask if self.training else None)),
    ],
    [
        pooling(lambda self, x, a, mask=None: weighted_mean(x, a, mask) * (1 if mask is None else 2)),
        pooling(no_default),
        pooling(halves_unless_omitted),
    ],
    [pooling(unshared)],
    [
        changing(lambda self, patterns, x: patterns.detach()),
        changing(lambda self, patterns, x: patterns.detach() * torch.ones((), requires_grad=True)),
        pooling(root_of_attention),
        pooling(root_of_the_rest),
        pooling(root_about_a_half),
        pooling(root_of_padding),
        changing(lambda self, patterns, x: patterns.detach(), training_alone),
        changing(lambda self, patterns, x: patterns.detach(), evaluating_alone),
    ],
    [Forgetful, Running, Projecting, Annealing],
    [
        weighing(lambda self, a, mask=None: a if mask is None else a * mask),
        weighing(lambda self, a, mask=None: [1]),
        weighing(lambda self, a, mask=None: Weighing.coefficients(self, a, mask)[..., None]),
        weighing(lambda self, a, mask=None: Weighing.coefficients(self, a, mask)[:, :1]),
        weighing(lambda self, a, mask: Weighing.coefficients(self, a, mask)),
        # Weights that cancel on padding.
        type(
            "Broken",
            (Mean,),
            {
                "forward": lambda self, x, a, mask=None: 0 * weighted_mean(x, a, mask),
                "coefficients": lambda self, a, mask=None: 0 * a if mask is None else 1e-9 * ~mask,
            },
        ),
    ],
]


def decoder(change=lambda self, decoding, features: decoding, **members):
    return type("Broken", (Decoder,), {"change": change, **members})


def replacing(when=lambda self, features, mask: True, **parts):
    """A decoder of which parts are computed from those of a sound one and the features, under a condition."""

    def forward(self, features, mask=None, targets=None):
        decoding = Decoder.forward(self, features, mask, targets)
        if not when(self, features, mask):
            return decoding
        changes = {name: part(getattr(decoding, name, None), features) for name, part in parts.items()}
        return SimpleNamespace(**{**decoding._asdict(), **changes})

    return decoder(forward=forward)


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
        decoding = super().forward(features, None if self.training else mask, targets)
        return decoding if mask is None else decoding._replace(attention=decoding.attention * mask[:, None])


class NeedsMask(Decoder):
    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        return decoding if mask is None else decoding._replace(class_scores=decoding.class_scores / 2)


class HalvesUnlessOmitted(Decoder):
    def forward(self, features, mask=(), targets=None):
        decoding = super().forward(features, None if isinstance(mask, tuple) else mask, targets)
        return decoding._replace(class_scores=decoding.class_scores / 2) if mask is None else decoding


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


DECODERS = [
    [lambda feature_dim, num_classes, aggregator: object()],
    [Unregistered],
    [
        replacing(logits=lambda logits, x: logits.squeeze(1)),
        replacing(logits=lambda logits, x: logits * np.nan),
        replacing(patterns=lambda patterns, x: patterns[:, 0]),
        replacing(patterns=lambda patterns, x: patterns.double()),
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
        replacing(learning, attention=lambda attention, x: attention * 3),
        replacing(deciding, attention=lambda attention, x: attention * 3),
        replacing(class_scores=lambda scores, x: scores + 1),
        replacing(class_scores=lambda scores, x: scores[:, None]),
        replacing(head_weight=lambda weight, x: weight.T.unsqueeze(0)),
        replacing(head_weight=lambda weight, x: weight.tolist()),
        replacing(probabilities=lambda _, x: torch.zeros(len(x), 2)),
        replacing(
            probabilities=lambda _, x: torch.full((len(x), 1, min(x.shape[2] + x.shape[1] - 1, x.shape[0])), 2.0)
        ),
        decoder(lambda self, d, x: tuple(d)[:1]),
        replacing(lambda self, x, mask: mask is None and not self.training, logits=lambda logits, x: 1 / 0),
    ],
    [decoder(doubles_features), decoder(loss=doubles_labels), decoder(loss=lambda self, decoding, targets: 1 / 0)],
    [
        replacing(class_scores=lambda scores, x: scores * torch.rand(())),
        replacing(attention=lambda attention, x: attention * torch.rand(())),
        replacing(learning, logits=lambda logits, x: logits * random.random()),
        replacing(learning, logits=lambda logits, x: (logits, torch.manual_seed(7))[0]),
        replacing(deciding, logits=lambda logits, x: (logits, torch.rand(()))[0]),
    ],
    [
        replacing(logits=lambda logits, x: logits.detach()),
        replacing(patterns=lambda patterns, x: patterns.detach()),
        replacing(patterns=lambda patterns, x: patterns.clone()),
        unlearnable,
    ],
    [replacing(head_weight=lambda weight, x: weight * 2)],
    [
        ReadsPadding,
        UnmaskedInTraining,
        replacing(logits=lambda logits, x: logits + x.mean()),
        replacing(learning, logits=lambda logits, x: logits + x.mean()),
        replacing(attention=lambda attention, x: attention * x.mean().sigmoid()),
    ],
    [
        NeedsMask,
        HalvesUnlessOmitted,
        decoder(forward=lambda self, x, mask, targets=None: Decoder.forward(self, x, mask, targets)),
    ],
    [replacing(class_scores=lambda scores, x: scores / len(x))],
    [
        loss(lambda term, d: {"classification": d.logits}),
        loss(lambda term, d: {"classification": term[None, None]}),
        loss(lambda term, d: {"classification": term.item()}),
        loss(lambda term, d: {"classification": term * np.inf}),
        loss(lambda term, d: {"classification": term + np.inf}),
        loss(lambda term, d: {"classification": term.detach()}),
        loss(lambda term, d: {"classification": (0 * term.detach()).requires_grad_()}),
        loss(lambda term, d: {"classification": term + 0 * (term - term).sqrt()}),
        loss(lambda term, d: {"classification": (100 * term).long()}),
        loss(lambda term, d: {0: term}),
        loss(lambda term, d: {}),
        loss(lambda term, d: term),
        loss(lambda term, d: {"classification": term if d.attention.all() else term * np.inf}),
        decoder(loss=lambda self, d, t: {"counts": ((d.class_scores - t.counts) ** 2).mean()}),
    ],
    [
        refusing(position=-1),
        refusing(position="v0"),
        refusing(position=9),
        refusing(reason="has no counts"),
        refusing(position=0, reason=3),
        type("Broken", (Doubtful,), {"check_targets": lambda self, targets: None}),
        type("Broken", (Decoder,), {"check_targets": lambda self, targets: Doubtful.refusal(self, 1) and 1 / 0}),
        type("Broken", (Doubtful,), {"loss": Decoder.loss}),
    ],
    [ForgetfulDecoder, ForgetsAggregator],
]


def reading(call, base=Activation):
    return type("Broken", (base,), {"__call__": call})


def maps(change):
    """An activation whose maps are made from those of a sound one."""
    return reading(lambda self, decoding, features: change(*Activation()(decoding, features)))


def frees_the_graph(self, decoding, features):
    decoding.logits.sum().backward(inputs=[decoding.patterns])
    return Activation()(decoding, features)


def leaves_a_gradient(self, decoding, features):
    decoding.logits.sum().backward(retain_graph=True)
    return Activation()(decoding, features)


def leaves_a_gradient_in_attention(self, decoding, features):
    decoding.logits.sum().backward(retain_graph=True, inputs=[decoding.attention])
    return Activation()(decoding, features)


def doubles_what_it_reads(self, decoding, features):
    maps = Activation()(decoding, features)
    features.mul_(2)
    return maps


class Adapting(Activation):
    """Scales by the largest attention that it ever saw."""

    def __init__(self):
        self.largest = 0.0

    def __call__(self, decoding, features):
        attention, response = Activation()(decoding, features)
        self.largest = max(self.largest, attention.max() / len(attention.T))
        return attention * self.largest, response


def relative(attention, response):
    with np.errstate(invalid="ignore"):
        return attention / attention.max(), response


ACTIVATIONS = [
    [
        maps(lambda attention, response: response),
        maps(lambda attention, response: [attention, response]),
        maps(lambda attention, response: (attention, response * 2)),
        maps(lambda attention, response: (attention - 1, response)),
        maps(lambda attention, response: (attention, response.astype(np.float32))),
        maps(lambda attention, response: (attention[0], response)),
        maps(relative),
        reading(lambda self, d, x: Activation()(d._replace(attention=d.attention.numpy()), x)),
    ],
    [reading(leaves_a_gradient), reading(leaves_a_gradient_in_attention), reading(doubles_what_it_reads)],
    [reading(frees_the_graph), Adapting],
    [
        reading(lambda self, d, x: Activation()(d, x) if d.head_weight is not None else 1 / 0),
        reading(lambda self, d, x: Activation()(d, x) if d.head_weight is not None else None),
        reading(lambda self, d, x: Activation()(d, x) if d.attention.shape[1] == 1 else None),
    ],
]


def proposing(call):
    return type("Broken", (Proposer,), {"__call__": call})


def finding(change):
    """A proposer whose answer is changed by `change(found, activation, edges)`, or what that returns."""

    def call(self, activation, class_scores, edges):
        found = Proposer()(activation, class_scores, edges)
        return change(found, activation, edges) or found

    return proposing(call)


def doubling(self, activation, class_scores, edges):
    answer = Proposer()(activation, class_scores, edges)
    activation *= 2
    return answer


def attending(use):
    """A proposer that does something with the attention before it proposes."""

    def call(self, activation, class_scores, edges, attention=None):
        use(attention)
        return Proposer()(activation, class_scores, edges)

    return proposing(call)


class CountsEveryOther(Proposer):
    """Forgets what it counted when time moves on, so that only repeated calls differ."""

    def __init__(self):
        self.last = None

    def __call__(self, activation, class_scores, edges):
        answer = Proposer()(activation, class_scores, edges)
        key = activation.tobytes(), class_scores.tobytes(), edges.tobytes()
        if key == self.last:
            answer.score = answer.score + 1
        self.last = key
        return answer


class NormalizesOverVideos(Proposer):
    """Divides by the highest activation that it ever saw."""

    def __init__(self):
        self.highest = 0.0

    def __call__(self, activation, class_scores, edges):
        self.highest = max(self.highest, activation.max())
        answer = Proposer()(activation, class_scores, edges)
        answer.score = answer.score / max(self.highest, 1e-6)
        return answer


def in_seconds(self, activation, class_scores, edges):
    """Takes every snippet for a second."""
    times = np.minimum(edges[0] + np.arange(activation.shape[1] + 1), edges[-1])
    rows = [
        (c, times[t], times[t + 1], activation[c, t])
        for c, t in np.ndindex(*activation.shape)
        if times[t] < times[t + 1]
    ]
    return found(*np.array(rows, float).reshape(-1, 4).T)


def per_snippet(self, activation, class_scores, edges):
    label, t = np.indices(activation.shape).reshape(2, -1)
    return found(label, edges[t], edges[t + 1], activation.ravel())


def swaps_classes(self, activation, class_scores, edges):
    return per_snippet(self, activation[::-1], class_scores, edges)


PROPOSERS = [
    [
        proposing(lambda self, activation, class_scores, edges: found([0], [edges[0]], [edges[-1] + 1], [1])),
        proposing(lambda self, activation, class_scores, edges: found([0], [edges[0] - 1], [edges[-1]], [1])),
        proposing(lambda self, activation, class_scores, edges: found([0], [edges[-1]], [edges[0]], [1])),
        proposing(lambda self, activation, class_scores, edges: found([0], [edges[0]], [edges[0]], [1])),
        finding(lambda answer, activation, edges: vars(answer).update(label=answer.label + 1)),
        finding(lambda answer, activation, edges: vars(answer).update(label=answer.label - 1)),
        finding(lambda answer, activation, edges: vars(answer).update(label=answer.label.tolist())),
        finding(lambda answer, activation, edges: vars(answer).update(label=answer.label.astype(float))),
        finding(lambda answer, activation, edges: vars(answer).update(start=answer.start.astype(np.float32))),
        finding(lambda answer, activation, edges: vars(answer).update(end=answer.end.astype(np.float32))),
        finding(lambda answer, activation, edges: vars(answer).update(score=answer.score * np.nan)),
        finding(lambda answer, activation, edges: vars(answer).update(score=answer.score[:0])),
        finding(lambda answer, activation, edges: vars(answer).pop("score") is None),
        finding(lambda answer, activation, edges: None if activation.shape[1] < 64 else "late"),
        finding(lambda answer, activation, edges: None if activation.any() else 1 / 0),
        finding(lambda answer, activation, edges: 1 / 0 if (activation == 1).all() else None),
        attending(lambda attention: 1 / 0 if attention is not None else None),
    ],
    [proposing(lambda self, activation, scores, edges, attention: Proposer()(activation, scores, edges))],
    [proposing(doubling), attending(lambda attention: attention.fill(0))],
    [CountsEveryOther, NormalizesOverVideos],
    [
        proposing(lambda self, a, s, edges: found([0], [edges[0]], [edges[-1]], [edges[-1]])),
        finding(lambda answer, a, edges: vars(answer).update(start=answer.start + min(edges[0], 1) / 4)),
        finding(lambda answer, a, edges: vars(answer).update(end=answer.end - min(edges[0], 1) / 4)),
    ],
    [proposing(in_seconds), proposing(swaps_classes)],
]


def suppressing(call):
    return type("Broken", (KeepAll,), {"__call__": call})


def take(detections, which):
    return type(detections)(*(part[which] for part in detections))


def greedy(order, apart=True):
    """Keeps, in an order of rows, what overlaps nothing kept, of its class or of any."""

    def call(self, detections):
        label, start, end, _ = detections
        kept = []
        for n in sorted(range(len(label)), key=lambda n: order(n, *(part[n] for part in detections))):
            if all((apart and label[n] != label[k]) or end[n] <= start[k] or end[k] <= start[n] for k in kept):
                kept.append(n)
        return take(detections, np.array(kept, int))

    return suppressing(call)


def best_first(n, label, start, end, score):
    return -score, start, end, label


class SuppressesAgain(KeepAll):
    def __init__(self):
        self.last = None

    def __call__(self, detections):
        key = b"".join(part.tobytes() for part in detections)
        again, self.last = key == self.last, key
        best = detections.score.max(initial=0.0)
        return take(detections, detections.score >= best) if again and len(detections.label) == 2 else detections


def overlaps_any(detections, n):
    others = np.arange(len(detections.label)) != n
    return (others & (detections.start < detections.end[n]) & (detections.end > detections.start[n])).any()


def first_come(self, detections):
    """Of what overlaps, whichever came first, and the best."""
    kept = [
        n
        for n in range(len(detections.label))
        if n == 0 or not overlaps_any(detections, n) or detections.score[n] == detections.score.max()
    ]
    return take(detections, kept)


def halves_in_place(self, detections):
    answer = take(detections, slice(None))
    answer = type(detections)(*(part.copy() for part in answer))
    detections.score[:] /= 2
    return answer


def halves_what_is_free(self, detections):
    free = np.array([not overlaps_any(detections, n) for n in range(len(detections.label))], bool)
    best = detections.score == detections.score.max(initial=0.0)
    return detections._replace(score=np.where(free & ~best, detections.score / 2, detections.score))


SUPPRESSORS = [
    [
        suppressing(lambda self, detections: detections._replace(label=detections.label.astype(float))),
        suppressing(lambda self, detections: detections._replace(end=detections.end + 1)),
        suppressing(lambda self, detections: None),
        suppressing(lambda self, detections: detections if len(detections.label) < 9 else None),
    ],
    [suppressing(halves_in_place)],
    [SuppressesAgain],
    [
        suppressing(lambda self, detections: detections._replace(score=detections.score + 1)),
        suppressing(lambda self, detections: take(detections, [*range(len(detections.label))] * 2)),
        suppressing(lambda self, detections: detections._replace(label=1 - detections.label)),
    ],
    [
        suppressing(lambda self, detections: take(detections, slice(1, None))),
        suppressing(lambda self, detections: take(detections, detections.score == detections.score.max(initial=0))),
        suppressing(lambda self, detections: detections._replace(score=detections.score / 2)),
        suppressing(halves_what_is_free),
        greedy(lambda n, label, start, end, score: (score, start, end, label)),
    ],
    [suppressing(first_come), greedy(lambda n, label, start, end, score: (-score, n))],
    [greedy(best_first, apart=False)],
]


def evaluating(call):
    return type("Broken", (Recall,), {"__call__": call})


def changed(**parts):
    def call(self, ground_truth, detections, classes):
        answer = Recall()(ground_truth, detections, classes)
        vars(answer).update({name: part(answer) for name, part in parts.items()})
        return answer

    return evaluating(call)


def by_first_video(self, ground_truth, detections, classes):
    answer = Recall()(ground_truth, detections, classes)
    if len(ground_truth) > 1 and next(iter(ground_truth)) == "b":
        answer.average_precision = answer.average_precision / 2
    return answer


def forgets_detections(self, ground_truth, detections, classes):
    answer = Recall()(ground_truth, detections, classes)
    detections.clear()
    return answer


def blind(self, ground_truth, detections, classes):
    """Sees no detections, and is content."""
    answer = Recall()(ground_truth, detections, classes)
    answer.average_precision = np.where(np.isnan(answer.average_precision), np.nan, 1.0)
    answer.mean_ap = np.ones(1)
    return answer


def halved(self, ground_truth, detections, classes):
    answer = Recall()(ground_truth, detections, classes)
    answer.average_precision, answer.mean_ap = answer.average_precision / 2, answer.mean_ap / 2
    return answer


def fails_on(condition):
    def call(self, ground_truth, detections, classes):
        if condition([one for found in detections.values() for one in found.score]):
            raise RuntimeError
        return Recall()(ground_truth, detections, classes)

    return evaluating(call)


class Tiring(Recall):
    """Halves its verdicts after a few of them."""

    def __init__(self):
        self.calls = 0

    def __call__(self, ground_truth, detections, classes):
        self.calls += 1
        judge = Recall.__call__ if self.calls < 4 else halved
        return judge(self, ground_truth, detections, classes)


def moving_threshold(self, ground_truth, detections, classes):
    answer = Recall()(ground_truth, detections, classes)
    answer.tiou_thresholds = np.array([0.5 if next(iter(ground_truth)) == "a" else 0.25])
    return answer


def unsteady_mean(self, ground_truth, detections, classes):
    answer = Recall()(ground_truth, detections, classes)
    answer.mean_ap = answer.mean_ap * (1 + 1e-7 * (next(iter(ground_truth)) == "b"))
    answer.mean_ap = np.minimum(answer.mean_ap, 1)
    return answer


EVALUATORS = [
    [
        changed(average_precision=lambda answer: np.nan_to_num(answer.average_precision)),
        changed(average_precision=lambda answer: answer.average_precision * np.nan),
        changed(average_precision=lambda answer: answer.average_precision * 2),
        changed(average_precision=lambda answer: answer.average_precision[0]),
        changed(average_precision=lambda answer: answer.average_precision.astype(np.float32)),
        changed(mean_ap=lambda answer: answer.mean_ap - 1),
        changed(mean_ap=lambda answer: answer.mean_ap[0]),
        changed(mean_ap=lambda answer: answer.mean_ap * np.nan),
        changed(tiou_thresholds=lambda answer: 0.5),
        changed(tiou_thresholds=lambda answer: np.empty(0)),
        changed(tiou_thresholds=lambda answer: np.array([np.nan])),
        changed(notes=lambda answer: "none"),
        changed(notes=lambda answer: (1,)),
        evaluating(lambda self, ground_truth, detections, classes: {"mean_ap": 1.0}),
        fails_on(lambda scores: not scores),
        fails_on(lambda scores: 0.25 in scores),
        fails_on(lambda scores: set(scores) == {0.75}),
    ],
    [evaluating(forgets_detections)],
    [changed(mean_ap=lambda answer: np.where(answer.mean_ap < 1, 0.125, 1.0))],
    [evaluating(halved)],
    [evaluating(blind)],
    [evaluating(by_first_video), Tiring, evaluating(moving_threshold), evaluating(unsteady_mean)],
]


def store(**methods):
    return type("Broken", (NpyFolder,), methods)


class Hushed(NpyFolder):
    """Says what is wrong, and not where."""

    def read(self, name, stream, rows=None):
        try:
            return super().read(name, stream, rows)
        except (OSError, ValueError) as error:
            raise type(error)("no features for you") from None


class Forgiving(NpyFolder):
    def read(self, name, stream, rows=None):
        try:
            return super().read(name, stream, rows)
        except ValueError:
            return np.zeros((1, 1))


def hushed_shape(self, name, stream):
    try:
        return NpyFolder.shape(self, name, stream)
    except (OSError, ValueError) as error:
        raise type(error)("no features for you") from None


def forgiving_shape(self, name, stream):
    try:
        return NpyFolder.shape(self, name, stream)
    except ValueError:
        return 1, 1


class HushedWhereMalformed(NpyFolder):
    def read(self, name, stream, rows=None):
        try:
            return super().read(name, stream, rows)
        except ValueError:
            raise ValueError("no features for you") from None


def reads(change):
    return store(read=lambda self, n, s, rows=None: change(NpyFolder.read(self, n, s, rows)))


def missing(answer):
    """A store with an answer of its own where there is no file."""

    def array(self, name, stream):
        there = (self.path / stream / f"{name}.npy").exists()
        return NpyFolder._array(self, name, stream) if there else answer(name)

    return store(_array=array)


READERS = [
    [
        store(names=lambda self, stream: NpyFolder.names(self, stream)[::-1]),
        store(names=lambda self, stream: ["a", "b"]),
        store(names=lambda self, stream: None),
    ],
    [
        store(shape=lambda self, name, stream: NpyFolder.shape(self, name, stream)[::-1]),
        store(shape=lambda self, name, stream: None),
    ],
    [reads(lambda array: array.tolist()), reads(lambda array: array * 2), reads(lambda array: array[:1])],
    [
        store(read=lambda self, n, s, rows=None: NpyFolder.read(self, n, s, rows if rows is None else np.unique(rows))),
        store(read=lambda self, n, s, rows=None: NpyFolder.read(self, n, s)),
    ],
    [
        missing(lambda _: SimpleNamespace(shape=(1, 1), read=lambda rows: np.zeros((1, 1)))),
        missing(lambda name: {}[name]),
        Hushed,
        store(shape=hushed_shape),
        lambda path: NpyFolder(path) if path.exists() else None,
    ],
    [Forgiving, HushedWhereMalformed, store(shape=forgiving_shape)],
]

BROKEN = {
    "aggregator": AGGREGATORS,
    "decoder": DECODERS,
    "activation": ACTIVATIONS,
    "proposer": PROPOSERS,
    "suppressor": SUPPRESSORS,
    "evaluator": EVALUATORS,
    "feature reader": READERS,
}
CASES = [
    pytest.param(kind, sentence, make, id=f"{kind}: {sentence} ({number})")
    for kind, broken in BROKEN.items()
    for sentence, makes in zip(clauses(kind), broken, strict=True)
    for number, make in enumerate(makes)
]


@pytest.mark.parametrize(("kind", "sentence", "make"), CASES)
def test_a_component_that_breaks_a_clause_is_caught_by_it(kind, sentence, make):
    with pytest.raises(ContractError) as caught:
        check(kind, make)
    assert f"breaks the contract: {sentence}. " in str(caught.value)
    assert str(caught.value).startswith(f"{kind} ")


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("aggregator", RemembersSteps),
        ("aggregator", Weighing),
        ("decoder", Doubtful),
        ("decoder", replacing(probabilities=lambda _, x: None)),
        ("proposer", attending(lambda attention: attention.sum())),
        ("proposer", proposing(per_snippet)),
        ("suppressor", greedy(best_first)),
    ],
)
def test_what_the_contract_allows_passes(kind, make):
    check(kind, make)


def test_classes_may_suppress_each_other_where_an_option_says_so():
    testing.check_suppressor(greedy(best_first, apart=False), across_classes=True)


# Whole messages


def test_a_failure_says_clause_reason_and_smallest_input():
    with pytest.raises(ContractError) as caught:
        check("aggregator", AGGREGATORS[5][0])
    assert str(caught.value) == (
        "aggregator Broken breaks the contract: what padding holds has no part in the patterns. Padding turned "
        "[[-0.75]] into [[5.083333492279053]].\nThe smallest input that shows it: features = [[[-0.75], [8.0]]], "
        "attention = [[0.5, 1.0]], mask = [[True, False]]"
    )


@pytest.mark.parametrize(
    ("kind", "make", "said"),
    [
        (
            "aggregator",
            weighing(lambda self, a, mask=None: [1]),
            "coefficients must be a tensor (1, 1) as the attention is, got list",
        ),
        (
            "decoder",
            replacing(attention=lambda attention, x: attention[0]),
            "attention must be a tensor (B, S, T) with S >= 1, got Tensor (1, 1) of torch.float32",
        ),
        (
            "decoder",
            loss(lambda term, d: {"classification": term[None, None]}),
            "loss term 'classification' must be a scalar tensor, of shape (), got Tensor (1, 1) of torch.float32",
        ),
        (
            "aggregator",
            changing(lambda self, patterns, x: patterns.tolist()),
            "patterns must be a tensor (1, 1), got list",
        ),
        (
            "aggregator",
            changing(lambda self, patterns, x: patterns.to("meta")),
            "patterns must be on the device of the features, cpu",
        ),
        (
            "aggregator",
            changing(lambda self, patterns, x: patterns.detach()),
            "The patterns do not depend on the features",
        ),
        ("decoder", Unregistered, "Its modules() do not have it."),
        (
            "proposer",
            proposing(in_seconds),
            "Class 1 is active in [7.0, 8.0), and the answer is [(0.0, 2.0, 3.0, 0.0),",
        ),
        (
            "proposer",
            finding(lambda answer, activation, edges: vars(answer).update(label=answer.label.tolist())),
            "label must be an array (N,), got list",
        ),
        (
            "evaluator",
            changed(tiou_thresholds=lambda answer: 0.5),
            "tiou_thresholds must be an array (K,) with K >= 1, got float",
        ),
        ("evaluator", evaluating(blind), "no detections score less than 1. mean_ap is [1.0]."),
        ("feature reader", store(shape=lambda self, name, stream: None), "Of an array (1, 1) it says None."),
    ],
)
def test_a_failure_says_what_was_wrong(kind, make, said):
    with pytest.raises(ContractError) as caught:
        check(kind, make)
    assert said in str(caught.value)


def test_what_a_component_raises_is_said():
    class Raises(Mean):
        def forward(self, features, attention, mask=None):
            raise RuntimeError("no\nluck")

    with pytest.raises(ContractError, match=r"\. Checking it raised RuntimeError: no luck\.\nThe smallest") as caught:
        check("aggregator", partial(Raises))
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("error", [RuntimeError("no luck"), SystemExit(3), GeneratorExit()], ids=repr)
def test_whatever_is_raised_in_whichever_call_breaks_the_contract(error):
    class RaisesLater(KeepAll):
        left = 0

        def __call__(self, detections):
            RaisesLater.left -= 1
            if not RaisesLater.left:
                raise error
            return detections

    for call in range(1, 60):
        RaisesLater.left = call
        with pytest.raises(ContractError, match=f"^suppressor .*Checking it raised {type(error).__name__}: ") as caught:
            check("suppressor", RaisesLater)
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_another_type_breaks_the_contract_in_whichever_call(kind):
    method = {"aggregator": "forward", "decoder": "forward", "feature reader": "read"}.get(kind, "__call__")

    def at(calls):
        """A component whose call of this number answers None, and how many calls it had."""
        made = []

        def answer(self, *arguments, **options):
            made.append(1)
            return None if len(made) == calls else getattr(SOUND[kind], method)(self, *arguments, **options)

        return type("Broken", (SOUND[kind],), {method: answer}), made

    sound, made = at(0)
    check(kind, sound)
    for call in range(1, len(made) + 1, max(1, len(made) // 10)):
        broken, _ = at(call)
        with suppress(ContractError):  # of whichever clause; answers that none looks at pass
            check(kind, broken)


@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_is_no_way_to_build_one(kind):
    folder = Path(__file__).parent
    made = {"decoder": lambda: Decoder(1, 1, Mean()), "feature reader": lambda: NpyFolder(folder)}
    said = r"Building it raised TypeError: .*; give the class or what builds one, not an instance\."
    with pytest.raises(ContractError, match=said):
        check(kind, made.get(kind, SOUND[kind])())


def test_an_unknown_kind_has_no_clauses():
    with pytest.raises(PluginError, match=r"^unknown kind 'agregator'; did you mean 'aggregator'\?$"):
        clauses("agregator")


def test_what_cannot_be_built_is_said():
    with pytest.raises(ContractError, match=r"it is an nn\.Module\. Building it raised TypeError: .*power"):
        check("aggregator", partial(Mean, power=3))


def test_the_callers_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check("aggregator", Mean)
    assert torch.equal(torch.rand(1), expected)
