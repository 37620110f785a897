"""Suppressors, sound and broken."""

import numpy as np

KIND = "suppressor"


class KeepAll:
    def __call__(self, detections):
        return detections


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


SOUND = [KeepAll, greedy(best_first)]


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


BROKEN = {
    "form": [
        suppressing(lambda self, detections: detections._replace(label=detections.label.astype(float))),
        suppressing(lambda self, detections: detections._replace(end=detections.end + 1)),
        suppressing(lambda self, detections: None),
        suppressing(lambda self, detections: detections if len(detections.label) < 9 else None),
    ],
    "untouched": [suppressing(halves_in_place)],
    "again": [SuppressesAgain],
    "subset": [
        suppressing(lambda self, detections: detections._replace(score=detections.score + 1)),
        suppressing(lambda self, detections: take(detections, [*range(len(detections.label))] * 2)),
        suppressing(lambda self, d: d._replace(label=1 - d.label if d.label.any() else d.label)),
    ],
    "keeps": [
        suppressing(lambda self, detections: take(detections, slice(1, None))),
        suppressing(lambda self, detections: take(detections, detections.score == detections.score.max(initial=0))),
        suppressing(lambda self, detections: detections._replace(score=detections.score / 2)),
        suppressing(halves_what_is_free),
        greedy(lambda n, label, start, end, score: (score, start, end, label)),
    ],
    "order": [suppressing(first_come), greedy(lambda n, label, start, end, score: (-score, n))],
    "classes": [greedy(best_first, apart=False)],
}
