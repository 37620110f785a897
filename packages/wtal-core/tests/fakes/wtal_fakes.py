"""The smallest components that answer the contracts."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn


class Intervals(NamedTuple):
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray


class Scores(NamedTuple):
    tiou_thresholds: np.ndarray
    mean_ap: np.ndarray
    average_precision: np.ndarray
    notes: tuple[str, ...] = ()


class Mean(nn.Module):
    """The attention-weighted mean; `power` sharpens the attention."""

    def __init__(self, power=1.0):
        super().__init__()
        if power <= 0:
            raise ValueError(f"power must be positive, got {power}")
        self.power = power

    def forward(self, features, attention, mask=None):
        several = attention if attention.ndim == 3 else attention.unsqueeze(1)
        weights = several**self.power if mask is None else several**self.power * mask.unsqueeze(1)
        pooled = weights @ features / weights.sum(2, keepdim=True).clamp(min=1e-6)
        return pooled if attention.ndim == 3 else pooled.squeeze(1)


class Activations:
    """Attention and class response of each snippet."""

    def __call__(self, decoding):
        if decoding.head_weight is None:
            raise ValueError("needs a linear head")
        response = torch.sigmoid(decoding.features[0] @ decoding.head_weight.T).T.detach().double().numpy()
        attention = decoding.attention[0, 0].detach().double().numpy()
        return np.broadcast_to(attention, response.shape), response


class Runs:
    """Maximal runs of snippets above a fraction of the class's highest activation."""

    def __init__(self, fraction=0.5):
        self.fraction = fraction

    def __call__(self, prediction, edges):
        found = []
        for label, row in enumerate(prediction.activation):
            above = np.concatenate([[False], row >= self.fraction * row.max(), [False]])
            for first, last in np.flatnonzero(np.diff(above)).reshape(-1, 2):
                found.append((label, edges[first], edges[last], row[first:last].max() * prediction.class_scores[label]))
        label, start, end, score = np.array(found).reshape(-1, 4).T
        return Intervals(label.astype(np.int64), start, end, score)


class KeepAll:
    def __call__(self, detections):
        return detections


class Recall:
    """Not a mean AP, but a number in [0, 1] per class: the share of instances that any detection overlaps."""

    def __init__(self, tiou_thresholds=(0.1, 0.5)):
        self.tiou_thresholds = np.array(tiou_thresholds, dtype=float)

    def __call__(self, ground_truth, detections, classes, class_scores):
        hits = np.zeros((len(self.tiou_thresholds), len(classes)))
        counts = np.zeros(len(classes))
        for name, truth in ground_truth.items():
            found = detections[name]
            for label, start, end in zip(truth.label, truth.start, truth.end, strict=True):
                if label < 0:
                    continue
                counts[label] += 1
                same = found.label == label
                shared = np.minimum(end, found.end[same]) - np.maximum(start, found.start[same])
                union = np.maximum(end, found.end[same]) - np.minimum(start, found.start[same])
                best = (shared / union).max(initial=0.0)
                hits[:, label] += best >= self.tiou_thresholds
        with np.errstate(invalid="ignore"):
            recall = hits / counts
        return Scores(self.tiou_thresholds, np.nanmean(recall, axis=1), recall, ("recall, not precision",))


class Accuracy:
    """The share of videos of a class whose score for it is above one half."""

    def __call__(self, ground_truth, detections, classes, class_scores):
        hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
        for name, truth in ground_truth.items():
            for label in set(truth.label) - {-1}:
                counts[label] += 1
                hits[label] += class_scores[name][label] > 0.5
        with np.errstate(invalid="ignore"):
            accuracy = (hits / counts)[None]
        return Scores(np.zeros(1), np.nanmean(accuracy, axis=1), accuracy)
