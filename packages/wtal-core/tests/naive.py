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
