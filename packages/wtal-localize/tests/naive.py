"""Slow, obvious twins of the fast paths."""

from math import exp

import numpy as np


def tiou(a, b):
    inner = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inner / ((a[1] - a[0]) + (b[1] - b[0]) - inner)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def cas(features, attention, weight):
    return [[p * sigmoid(sum(row * x)) for p, x in zip(attention, features, strict=True)] for row in weight]


def propose(activation, class_scores, edges, thresholds, class_threshold, score):
    classes = [c for c, s in enumerate(class_scores) if s >= class_threshold] or [int(np.argmax(class_scores))]
    found = set()
    for c in classes:
        for threshold in thresholds:
            level = threshold * max(activation[c])
            first = None
            for i, value in enumerate([*activation[c], -1.0]):
                inside = value >= level and value > 0
                if inside and first is None:
                    first = i
                if not inside and first is not None:
                    found.add((c, first, i))
                    first = None
    scores = {"mean": np.mean, "max": np.max}
    return [(c, edges[i], edges[j], scores[score](activation[c][i:j])) for c, i, j in sorted(found)]


def better_first(detections, across):
    """Sort (label, start, end, score): score descending, then the smaller."""
    tied = (lambda d: (d[1], d[2], d[0])) if across else (lambda d: d[:3])
    return sorted(detections, key=lambda d: (-d[3], tied(d)))


def nms(detections, threshold, across=False):
    waiting, kept = better_first(detections, across), []
    while waiting:
        best, *waiting = waiting
        kept.append(best)
        waiting = [d for d in waiting if not (across or d[0] == best[0]) or tiou(d[1:3], best[1:3]) <= threshold]
    return kept


def soft_nms(detections, decay, sigma, threshold, minimum_score, across=False):
    waiting, kept = list(detections), []
    while waiting:
        best, *rest = better_first(waiting, across)
        kept.append(best)
        waiting = []
        for label, start, end, score in rest:
            factor = 1.0
            overlap = tiou((start, end), best[1:3])
            if (across or label == best[0]) and score > 0:
                if decay == "gaussian":
                    factor = exp(-overlap * overlap / sigma)
                elif overlap > threshold:
                    factor = 1.0 - overlap
            if factor == 1.0 or score * factor >= minimum_score:
                waiting.append((label, start, end, score * factor))
    return better_first(kept, across)
