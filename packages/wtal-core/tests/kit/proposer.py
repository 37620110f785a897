"""Proposers, sound and broken."""

from types import SimpleNamespace

import numpy as np

KIND = "proposer"


def found(label, start, end, score):
    return SimpleNamespace(
        label=np.array(label, np.int64),
        start=np.array(start, float),
        end=np.array(end, float),
        score=np.array(score, float),
    )


class Proposer:
    """The whole video, for each class."""

    def __call__(self, prediction, edges):
        C = len(prediction.activation)
        scores = prediction.activation.mean(axis=1) * prediction.class_scores
        return found(range(C), [edges[0]] * C, [edges[-1]] * C, scores)


def proposing(call):
    return type("Broken", (Proposer,), {"__call__": call})


def finding(change):
    """A proposer whose answer is changed by `change(found, prediction, edges)`, or what that returns."""

    def call(self, prediction, edges):
        answer = Proposer()(prediction, edges)
        return change(answer, prediction, edges) or answer

    return proposing(call)


def per_snippet(self, prediction, edges):
    label, t = np.indices(prediction.activation.shape).reshape(2, -1)
    return found(label, edges[t], edges[t + 1], prediction.activation.ravel())


def own(self, prediction, edges):
    """The decoder's own intervals."""
    if prediction.intervals is None:
        raise ValueError("the decoder proposes no intervals")
    label, start, end, score = prediction.intervals
    snippets = np.arange(len(edges))
    return found(label, np.interp(start, snippets, edges), np.interp(end, snippets, edges), score)


def own_as_seconds(self, prediction, edges):
    """Takes the snippets of the decoder's own intervals for seconds."""
    label, start, end, score = own(self, prediction, edges) and prediction.intervals
    start = np.minimum(edges[0] + start, edges[-1] - 1e-3)
    return found(label, start, np.clip(edges[0] + end, start + 1e-3, edges[-1]), score)


def doubling(self, prediction, edges):
    answer = Proposer()(prediction, edges)
    prediction.activation[:] *= 2
    return answer


def fills_attention(self, prediction, edges):
    prediction.attention.fill(0)
    return Proposer()(prediction, edges)


class CountsEveryOther(Proposer):
    """Forgets what it counted when time moves on, so that only repeated calls differ."""

    def __init__(self):
        self.last = None

    def __call__(self, prediction, edges):
        answer = super().__call__(prediction, edges)
        key = prediction.activation.tobytes(), prediction.class_scores.tobytes(), edges.tobytes()
        if key == self.last:
            answer.score = answer.score + 1
        self.last = key
        return answer


class NormalizesOverVideos(Proposer):
    """Divides by the highest activation that it ever saw."""

    def __init__(self):
        self.highest = 0.0

    def __call__(self, prediction, edges):
        self.highest = max(self.highest, prediction.activation.max())
        answer = super().__call__(prediction, edges)
        answer.score = answer.score / max(self.highest, 1e-6)
        return answer


def in_seconds(self, prediction, edges):
    """Takes every snippet for a second."""
    activation = prediction.activation
    times = np.minimum(edges[0] + np.arange(activation.shape[1] + 1), edges[-1])
    rows = [
        (c, times[t], times[t + 1], activation[c, t])
        for c, t in np.ndindex(*activation.shape)
        if times[t] < times[t + 1]
    ]
    return found(*np.array(rows, float).reshape(-1, 4).T)


def swaps_classes(self, prediction, edges):
    return per_snippet(self, prediction._replace(activation=prediction.activation[::-1]), edges)


SOUND = [Proposer, proposing(per_snippet), proposing(own)]

BROKEN = {
    "form": [
        proposing(lambda self, prediction, edges: found([0], [edges[0]], [edges[-1] + 1], [1])),
        proposing(lambda self, prediction, edges: found([0], [edges[0] - 1], [edges[-1]], [1])),
        proposing(lambda self, prediction, edges: found([0], [edges[-1]], [edges[0]], [1])),
        proposing(lambda self, prediction, edges: found([0], [edges[0]], [edges[0]], [1])),
        finding(lambda answer, prediction, edges: vars(answer).update(label=answer.label + 1)),
        finding(lambda answer, prediction, edges: vars(answer).update(label=answer.label - 1)),
        finding(lambda answer, prediction, edges: vars(answer).update(label=answer.label.tolist())),
        finding(lambda answer, prediction, edges: vars(answer).update(label=answer.label.astype(float))),
        finding(lambda answer, prediction, edges: vars(answer).update(start=answer.start.astype(np.float32))),
        finding(lambda answer, prediction, edges: vars(answer).update(end=answer.end.astype(np.float32))),
        finding(lambda answer, prediction, edges: vars(answer).update(score=answer.score * np.nan)),
        finding(lambda answer, prediction, edges: vars(answer).update(score=answer.score[:0])),
        finding(lambda answer, prediction, edges: vars(answer).pop("score") is None),
        finding(lambda answer, prediction, edges: None if len(edges) < 64 else "late"),
        finding(lambda answer, prediction, edges: None if prediction.activation.any() else 1 / 0),
        finding(lambda answer, prediction, edges: 1 / 0 if (prediction.activation == 1).all() else None),
    ],
    "without_intervals": [
        finding(lambda answer, prediction, edges: prediction.intervals.label is None),
        finding(lambda answer, prediction, edges: "none" if prediction.intervals is None else None),
    ],
    "untouched": [proposing(doubling), proposing(fills_attention)],
    "again": [CountsEveryOther, NormalizesOverVideos],
    "time": [
        proposing(lambda self, prediction, edges: found([0], [edges[0]], [edges[-1]], [edges[-1]])),
        finding(lambda answer, _, edges: vars(answer).update(start=answer.start + min(edges[0], 1) / 4)),
        finding(lambda answer, _, edges: vars(answer).update(end=answer.end - min(edges[0], 1) / 4)),
    ],
    "place": [proposing(in_seconds), proposing(swaps_classes), proposing(own_as_seconds)],
}
