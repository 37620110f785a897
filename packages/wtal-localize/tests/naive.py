"""Slow, obvious twins of the fast paths."""

from itertools import pairwise
from math import exp

import numpy as np


def tiou(a, b):
    inner = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inner / ((a[1] - a[0]) + (b[1] - b[0]) - inner)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def cas(features, attention, weight):
    return [[p * sigmoid(sum(row * x)) for p, x in zip(attention, features, strict=True)] for row in weight]


def snippet_probabilities(logits, background=None):
    """Rows over classes; logits is a list over snippets, of a list over classes."""
    rows = []
    for c in range(len(logits[0])):
        row = []
        for t, values in enumerate(logits):
            if background is None:
                row.append(sigmoid(values[c]))
            else:
                row.append(exp(values[c]) / (sum(exp(v) for v in values) + exp(background[t])))
        rows.append(row)
    return rows


def upsample(row, factor):
    T, result = len(row), []
    for i in range(T * factor):
        centre = min(max((i + 0.5) / factor - 0.5, 0), T - 1)
        left = int(centre)
        right = min(left + 1, T - 1)
        result.append(row[left] + (row[right] - row[left]) * (centre - left))
    return result


def runs(row, level, edges, bridge, minimum_length):
    found, first = [], None
    for i, value in enumerate([*row, -1.0]):
        inside = value >= level and value > 0
        if inside and first is None:
            first = i
        if not inside and first is not None:
            if found and edges[first] - edges[found[-1][1]] <= bridge * (1 + 1e-9):
                first = found.pop()[0]
            found.append((first, i))
            first = None
    return [(i, j) for i, j in found if edges[j] - edges[i] >= minimum_length * (1 - 1e-9)]


def outer_mean(row, first, last):
    """Mean over a quarter of the length on both sides, snippet by snippet."""
    margin, total, size = (last - first) / 4, 0.0, 0.0
    for i, value in enumerate(row):
        for low, high in ((first - margin, first), (last, last + margin)):
            covered = max(0.0, min(i + 1, high) - max(i, low))
            total += covered * value
            size += covered
    return total / size if size else 0.0


def propose(
    activation,
    class_scores,
    edges,
    threshold=(0.2,),
    rule="maximum",
    class_threshold=0.1,
    score="mean",
    class_score="ignore",
    class_weight=0.2,
    upsampling=1,
    bridge=0.0,
    minimum_length=0.0,
    attention=None,
    attention_threshold=(),
):
    classes = [c for c, s in enumerate(class_scores) if s >= class_threshold] or [int(np.argmax(class_scores))]
    times = [a + (b - a) / upsampling * k for a, b in pairwise(edges) for k in range(upsampling)]
    times.append(edges[-1])
    found = []
    for c in classes:
        row, intervals = upsample(activation[c], upsampling), set()
        for fraction in threshold:
            level = {
                "maximum": fraction * max(row),
                "range": min(row) + fraction * (max(row) - min(row)),
                "absolute": fraction,
            }[rule]
            if rule == "range":
                level = min(level, max(row))
            intervals.update(runs(row, level, times, bridge, minimum_length))
        for level in attention_threshold:
            intervals.update(runs(upsample(attention[c], upsampling), level, times, bridge, minimum_length))
        for first, last in sorted(intervals):
            value = max(row[first:last]) if score == "max" else sum(row[first:last]) / (last - first)
            if score == "outer-inner-contrast":
                value -= outer_mean(row, first, last)
            value = {
                "ignore": value,
                "multiply": value * class_scores[c],
                "add": value + class_weight * class_scores[c],
            }[class_score]
            found.append((c, times[first], times[last], value))
    return found


def own_intervals(rows, class_scores, edges, class_threshold):
    classes = [c for c, s in enumerate(class_scores) if s >= class_threshold] or [int(np.argmax(class_scores))]

    def seconds(place):
        snippet = min(int(place), len(edges) - 2)
        return edges[snippet] + (place - snippet) * (edges[snippet + 1] - edges[snippet])

    return [(c, seconds(a), seconds(b), score) for c, a, b, score in rows if c in classes and seconds(a) < seconds(b)]


def better_first(detections):
    """Sort (label, start, end, score): score descending, then start, end, label."""
    return sorted(detections, key=lambda d: (-d[3], d[1], d[2], d[0]))


def nms(detections, threshold, across=False):
    waiting, kept = better_first(detections), []
    while waiting:
        best, *waiting = waiting
        kept.append(best)
        waiting = [d for d in waiting if not (across or d[0] == best[0]) or tiou(d[1:3], best[1:3]) <= threshold]
    return kept


def soft_nms(detections, decay, sigma, threshold, minimum_score, across=False):
    waiting, kept = list(detections), []
    while waiting:
        best, *rest = better_first(waiting)
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
    return better_first(kept)


def st_gradcam(decoding, classes, assemblies):
    rows = []
    for c, s in zip(classes, assemblies, strict=True):
        decoding.pooled.retain_grad()
        decoding.pooled.grad = None
        decoding.logits[0, s, c].backward(retain_graph=True)
        rows.append((decoding.features[0] @ decoding.pooled.grad[0, s]).detach().cpu().numpy())
        decoding.pooled.grad = None
    return np.array(rows)
