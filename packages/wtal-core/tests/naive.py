"""Slow, obvious twins."""

import math

import numpy as np


def snippet_middle(grid, index):
    """The middle in seconds of the window of frames that a snippet was computed from."""
    window = grid.window or grid.stride
    first = index * grid.stride
    return (first + first + window) / 2 / grid.frames_per_second


def binary_cross_entropy(scores, labels):
    """Averaged over videos and classes."""
    total = 0.0
    for score_row, label_row in zip(scores, labels, strict=True):
        for score, label in zip(score_row, label_row, strict=True):
            total -= math.log(score) if label else math.log(1 - score)
    return total / (len(labels) * len(labels[0]))


def statistics(videos):
    """Mean and deviation of each feature over all snippets, from all of them at once."""
    everything = np.concatenate([video.astype(np.float64) for video in videos])
    deviation = everything.std(axis=0)
    return everything.mean(axis=0), np.where(deviation == 0, 1.0, deviation)


def class_wise_logits(features, attention, weight):
    """Each class's logit, of the sum of features (T, D) under an attention of its own (C, T), with weight (C, D)."""
    logits = []
    for attended, weights in zip(attention, weight, strict=True):
        pooled = [sum(a * row[d] for a, row in zip(attended, features, strict=True)) for d in range(len(weights))]
        logits.append(sum(w * value for w, value in zip(weights, pooled, strict=True)))
    return logits


def snippet_targets(logits, background, targets):
    """Cross-entropy of each snippet that the teacher speaks of, averaged (`builtin.snippet_targets`)."""
    terms = []
    for b, of_video in enumerate(logits):
        for t, row in enumerate(of_video):
            wanted = [targets[b][c][t] for c in range(len(row))]
            if background is None:
                for logit, target in zip(row, wanted, strict=True):
                    if not math.isnan(target):
                        score = 1 / (1 + math.exp(-logit))
                        terms.append(-target * math.log(score) - (1 - target) * math.log(1 - score))
            elif not any(map(math.isnan, wanted)):
                total = sum(wanted)
                shares = [target / max(total, 1) for target in wanted] + [max(1 - total, 0)]
                exponentials = [math.exp(logit) for logit in [*row, background[b][t]]]
                terms.append(
                    -sum(s * math.log(e / sum(exponentials)) for s, e in zip(shares, exponentials, strict=True))
                )
    return sum(terms) / len(terms) if terms else 0.0


def snippet_probabilities(logits, background):
    """Of each snippet of one video (T, C), and with a background (T,) that competes, its own as the last."""
    rows = []
    for t, row in enumerate(logits):
        if background is None:
            rows.append([1 / (1 + math.exp(-logit)) for logit in row])
        else:
            exponentials = [math.exp(logit) for logit in [*row, background[t]]]
            rows.append([e / sum(exponentials) for e in exponentials])
    return rows


def pooled_probability(probabilities, pooling, fractions=()):
    """One class's probability in a video, of its probabilities in the snippets that are seen."""
    p = sorted(probabilities, reverse=True)
    if pooling == "max":
        return p[0]
    if pooling == "top-k":
        counts = [max(1, math.ceil(round(fraction * len(p), 6))) for fraction in fractions]
        return sum(sum(p[:k]) / k for k in counts) / len(counts)
    if pooling == "linear-softmax":
        return sum(value**2 for value in p) / sum(p)
    odds = sum(value / (1 - value) for value in p) / len(p)  # log-mean-exp of the log-odds, as a probability
    return odds / (1 + odds)


def label_set(logits, background, labels, seen):
    """Mean over visible snippets of -log of what a video's labels and the background have (`builtin.label_set`)."""
    terms = []
    for of_video, rest, allowed, shown in zip(logits, background, labels, seen, strict=True):
        for row, visible in zip(snippet_probabilities(of_video, rest), shown, strict=True):
            if visible:
                terms.append(-math.log(row[-1] + sum(p for p, y in zip(row[:-1], allowed, strict=True) if y)))
    return sum(terms) / len(terms)


def taught_by_label_set(activation, labels, sharpening, width, widening=1.0):
    """Targets (C, T) of the teacher `label-set` of activation (C, T)."""
    C, T = len(labels), len(activation[0])
    shares = []
    for t in range(T):
        column = [activation[c][t] for c in range(C)]
        kept = [p * y for p, y in zip(column, labels, strict=True)] + [max(0, 1 - sum(column))]
        raised = [p**sharpening for p in kept]
        column = [p / sum(raised) if sum(raised) else 0 for p in raised[:-1]]
        if widening != 1 and 0 < sum(column) < 1:
            odds = (sum(column) / (1 - sum(column))) ** (1 / widening)
            column = [p / sum(column) * odds / (1 + odds) for p in column]
        shares.append(column)
    reach = width // 2
    window = [shares[max(0, t - reach) : t + reach + 1] for t in range(T)]
    return [[sum(row[c] for row in rows) / len(rows) for rows in window] for c in range(C)]


def smoothness(logits, background, rows):
    """Mean change of probabilities between snippets that are neighbours in their video."""
    changes = []
    for b, of_video in enumerate(logits):
        p = snippet_probabilities(of_video, None if background is None else background[b])
        for t in range(len(p) - 1):
            if rows[b][t] >= 0 and rows[b][t + 1] == rows[b][t] + 1:
                changes += [abs(after - before) for before, after in zip(p[t], p[t + 1], strict=True)]
    return sum(changes) / len(changes) if changes else 0.0


def background_guide(logits, background, attention, rows):
    """Mean of |1 - attention - background| over visible snippets."""
    terms = []
    for b, of_video in enumerate(logits):
        p = snippet_probabilities(of_video, background[b])
        terms += [abs(1 - attention[b][0][t] - p[t][-1]) for t in range(len(p)) if rows[b][t] >= 0]
    return sum(terms) / len(terms) if terms else 0.0


def log_odds_deviation(probabilities):
    """The standard deviation of log-odds, of probabilities held at a millionth from 0 and 1."""
    held = [min(max(p, 1e-6), 1 - 1e-6) for p in probabilities]
    odds = [math.log(p / (1 - p)) for p in held]
    mean = sum(odds) / len(odds)
    return math.sqrt(sum((value - mean) ** 2 for value in odds) / len(odds))


def constant_videos(maps):
    """In how many of the videos' maps (C, T), of three snippets or more, no class varies, and of how many."""
    long = [one for one in maps if len(one[0]) >= 3]
    return sum(all(log_odds_deviation(row) < 0.1 for row in one) for one in long), len(long)


def untaught(lessons, labels):
    """The classes that have training videos, and of which no lesson says more than a tenth of the most that is said."""
    C = len(labels[0])
    highest = [
        max([0.0, *(t for lesson, row in zip(lessons, labels, strict=True) if row[c] for t in lesson[c] if t == t)])
        for c in range(C)
    ]
    return [c for c in range(C) if any(row[c] for row in labels) and highest[c] <= 0.1 * max(highest)]
