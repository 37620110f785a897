"""The conformance kit: sound components pass, and for each clause there is a broken one that it catches."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from wtal_core import testing
from wtal_core.attention_pooling import AttentionPooling
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
        return np.broadcast_to(decoding.attention[0, 0].double().numpy(), response.shape), response


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


# One deliberately broken component for each clause, in the order of the clauses


def pooling(forward, **members):
    return type("Broken", (Mean,), {"forward": forward, **members})


def divides_by_zero(self, features, attention, mask=None):
    weights = attention if mask is None else attention * mask
    return (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True)


def in_place(self, features, attention, mask=None):
    patterns = weighted_mean(features.clone(), attention, mask)
    features.mul_(2)
    return patterns


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


def unshared(self, features, attention, mask=None):
    patterns = weighted_mean(features, attention, mask)
    return patterns - patterns.mean(0) if len(patterns) > 1 else patterns


AGGREGATORS = [
    lambda: weighted_mean,
    pooling(lambda self, features, attention, mask=None: features[:, 0, :1].squeeze(-1)),
    pooling(in_place),
    pooling(lambda self, x, a, mask=None: weighted_mean(x, a, mask) * torch.rand(())),
    pooling(
        lambda self, x, a, m=None: (lambda w: (w[..., None] * x).sum(1) / w.sum(1, True))(a if m is None else a * m)
    ),
    pooling(lambda self, features, attention, mask=None: weighted_mean(features, attention, None)),
    pooling(lambda self, x, a, mask=None: weighted_mean(x, a, mask) * (1 if mask is None else 2)),
    pooling(unshared),
    pooling(lambda self, features, attention, mask=None: weighted_mean(features, attention, mask).detach()),
    Forgetful,
    pooling(Mean.forward, coefficients=lambda self, a, mask: a * mask),
]


def decoder(change=lambda self, decoding, features: decoding, **members):
    return type("Broken", (Decoder,), {"change": change, **members})


class ReadsPadding(Decoder):
    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        return decoding._replace(class_scores=(decoding.logits[:, 0] + features.mean((1, 2))[:, None]).sigmoid())


class NeedsMask(Decoder):
    def forward(self, features, mask=None, targets=None):
        decoding = super().forward(features, mask, targets)
        return decoding if mask is None else decoding._replace(class_scores=decoding.class_scores / 2)


class ForgetfulDecoder(Decoder):
    def state_dict(self, *arguments, **options):
        return {}

    def load_state_dict(self, state):
        pass


class Randomly(Decoder):
    def change(self, decoding, features):
        return decoding._replace(class_scores=decoding.class_scores * torch.rand(()))


class DoublesFeatures(Decoder):
    def change(self, decoding, features):
        with torch.no_grad():
            features.mul_(2)
        return decoding


DECODERS = [
    lambda feature_dim, num_classes, aggregator: object(),
    decoder(lambda self, d, x: d._replace(logits=d.logits.squeeze(1))),
    DoublesFeatures,
    Randomly,
    decoder(lambda self, d, x: d._replace(logits=d.logits.detach())),
    decoder(lambda self, d, x: d._replace(head_weight=d.head_weight * 2)),
    ReadsPadding,
    NeedsMask,
    decoder(lambda self, d, x: d._replace(class_scores=d.class_scores / len(x))),
    decoder(loss=lambda self, decoding, targets: {"classification": decoding.logits}),
    ForgetfulDecoder,
]


def reading(call, base=Activation):
    return type("Broken", (base,), {"__call__": call})


def frees_the_graph(self, decoding, features):
    decoding.logits.sum().backward(inputs=[decoding.patterns])
    return Activation()(decoding, features)


def leaves_a_gradient(self, decoding, features):
    decoding.logits.sum().backward(retain_graph=True)
    return Activation()(decoding, features)


ACTIVATIONS = [
    reading(lambda self, decoding, features: Activation()(decoding, features)[1]),
    reading(leaves_a_gradient),
    reading(frees_the_graph),
    reading(lambda self, d, x: Activation()(d, x) if d.head_weight is not None else 1 / 0),
]


def proposing(call):
    return type("Broken", (Proposer,), {"__call__": call})


def doubling(self, activation, class_scores, edges):
    answer = Proposer()(activation, class_scores, edges)
    activation *= 2
    return answer


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


PROPOSERS = [
    proposing(lambda self, activation, class_scores, edges: found([0], [edges[0]], [edges[-1] + 1], [1])),
    proposing(doubling),
    CountsEveryOther,
    proposing(lambda self, a, s, edges: found([0], [edges[0]], [edges[-1]], [edges[-1]])),
]


def suppressing(call):
    return type("Broken", (KeepAll,), {"__call__": call})


def take(detections, which):
    return type(detections)(*(part[which] for part in detections))


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


SUPPRESSORS = [
    suppressing(lambda self, detections: detections._replace(label=detections.label.astype(float))),
    suppressing(halves_in_place),
    SuppressesAgain,
    suppressing(lambda self, detections: detections._replace(score=detections.score + 1)),
    suppressing(lambda self, detections: take(detections, slice(1, None))),
    suppressing(first_come),
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


EVALUATORS = [
    changed(average_precision=lambda answer: np.nan_to_num(answer.average_precision)),
    evaluating(forgets_detections),
    changed(mean_ap=lambda answer: answer.mean_ap / 2),
    evaluating(by_first_video),
]


def store(**methods):
    return type("Broken", (NpyFolder,), methods)


READERS = [
    store(names=lambda self, stream: NpyFolder.names(self, stream)[::-1]),
    store(shape=lambda self, name, stream: NpyFolder.shape(self, name, stream)[::-1]),
    store(read=lambda self, name, stream, rows=None: NpyFolder.read(self, name, stream, rows).tolist()),
    store(read=lambda self, n, s, rows=None: NpyFolder.read(self, n, s, rows if rows is None else np.unique(rows))),
    store(_open=staticmethod(lambda file: np.load(file) if file.exists() else np.zeros((1, 1)))),
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
    pytest.param(kind, sentence, make, id=f"{kind}: {sentence}")
    for kind, broken in BROKEN.items()
    for sentence, make in zip(clauses(kind), broken, strict=True)
]


@pytest.mark.parametrize(("kind", "sentence", "make"), CASES)
def test_a_component_that_breaks_a_clause_is_caught_by_it(kind, sentence, make):
    with pytest.raises(ContractError) as caught:
        check(kind, make)
    assert f"breaks the contract: {sentence}. " in str(caught.value)
    assert str(caught.value).startswith(f"{kind} ")


# Whole messages


def test_a_failure_says_clause_reason_and_smallest_input():
    with pytest.raises(ContractError) as caught:
        check("aggregator", AGGREGATORS[5])
    assert str(caught.value) == (
        "aggregator Broken breaks the contract: what padding holds has no part in the patterns. Padding turned "
        "[[-0.75]] into [[5.083333492279053]].\nThe smallest input that shows it: features = [[[-0.75], [8.0]]], "
        "attention = [[0.5, 1.0]], mask = [[True, False]]"
    )


def test_what_a_component_raises_is_said():
    class Raises(Mean):
        def forward(self, features, attention, mask=None):
            raise RuntimeError("no\nluck")

    with pytest.raises(ContractError, match=r"\. It raised RuntimeError: no luck\nThe smallest") as caught:
        check("aggregator", partial(Raises))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_cannot_be_built_is_said():
    with pytest.raises(ContractError, match=r"it is an nn\.Module\. Building it raised TypeError: .*power"):
        check("aggregator", partial(Mean, power=3))


def test_the_callers_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check("aggregator", Mean)
    assert torch.equal(torch.rand(1), expected)
