"""Teachers, sound and broken."""

import numpy as np
from wtal_core.builtin.annotations_teacher import AnnotationsTeacher

KIND = "teacher"


class Threshold:
    """One where the stage before is surer than usual, of the classes that the video has."""

    def __call__(self, prediction, detections, edges, video):
        if prediction is None:
            raise ValueError("it needs a stage before")
        maps = prediction.activation
        return (maps > maps.mean(1, keepdims=True)) * video.labels[:, None]


class Labels:
    """Says what the labels say: nothing happens of a class that the video lacks."""

    def __call__(self, prediction, detections, edges, video):
        return np.repeat(np.where(video.labels > 0, np.nan, 0.0)[:, None], len(edges) - 1, 1)


SOUND = [AnnotationsTeacher, Threshold, Labels]


def teaching(call, base=Threshold, **members):
    return type("Broken", (base,), {"__call__": call, **members})


def changed(change):
    return teaching(lambda self, *given: change(Threshold()(*given), *given))


def erases(part):
    def call(self, prediction, detections, edges, video):
        answer = Threshold()(prediction, detections, edges, video)
        part(prediction, detections, edges, video)[:] = 0
        return answer

    return teaching(call)


class Smoothing(Threshold):
    """Averages with what it taught before."""

    def __init__(self):
        self.before = 0.0

    def __call__(self, *given):
        answer = super().__call__(*given)
        self.before = (answer.mean() + self.before) / 2
        return answer * self.before


def before_the_first(answer):
    def call(self, prediction, *given):
        return answer(*given) if prediction is None else Threshold()(prediction, *given)

    return teaching(call)


def ambiguous_as_last(self, prediction, detections, edges, video):
    """Takes label -1 for an index from the end."""
    targets = np.zeros((len(video.labels), len(edges) - 1))
    for label, start, end in zip(*video.segments, strict=True):
        targets[label, (edges[:-1] >= start) & (edges[:-1] < end)] = 1
    return targets


BROKEN = {
    "form": [
        changed(lambda targets, *_: targets.T if targets.shape[0] != targets.shape[1] else targets[0]),
        changed(lambda targets, *_: targets.tolist()),
        changed(lambda targets, *_: targets.astype(np.float32)),
        changed(lambda targets, *_: targets > 0),
        changed(lambda targets, *_: targets * 2 + 0.5),
        changed(lambda targets, *_: targets - 0.5),
        changed(lambda targets, *_: np.where(targets > 0, np.inf, np.nan) + np.inf),
        changed(lambda targets, *_: targets[:, :-1]),
    ],
    "untouched": [
        erases(lambda prediction, detections, edges, video: prediction.activation),
        erases(lambda prediction, detections, edges, video: detections.score),
        erases(lambda prediction, detections, edges, video: edges),
        erases(lambda prediction, detections, edges, video: video.labels),
        erases(lambda prediction, detections, edges, video: video.segments.end),
    ],
    "again": [Smoothing, changed(lambda targets, *_: targets * np.random.random())],  # noqa: NPY002
    "first": [
        before_the_first(lambda *_: None),
        before_the_first(lambda detections, edges, video: np.zeros((len(video.labels), len(edges)))),
        before_the_first(lambda detections, edges, video: detections.label),
    ],
    "segments": [
        type("Broken", (AnnotationsTeacher,), {"full_supervision": False}),
        changed(lambda targets, prediction, detections, edges, video: targets * (video.segments is not None)),
        teaching(ambiguous_as_last, full_supervision=True),
    ],
}
