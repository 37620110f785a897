"""Components as contract 1 allows them, recorded: they are never edited, and must work with every later host."""

from collections import namedtuple

import numpy as np
import torch
from torch import nn

Decoding = namedtuple("Decoding", "attention patterns logits class_scores head_weight probabilities")
Intervals = namedtuple("Intervals", "label start end score")
Scores = namedtuple("Scores", "tiou_thresholds mean_ap average_precision notes")


class Mean(nn.Module):
    """A mean under a power of the attention.

    Args:
        power: above 0.
    """

    def __init__(self, *, power: float = 1.0):
        super().__init__()
        if power <= 0:
            raise ValueError(f"power must be above 0, got {power}")
        self.power = power

    def coefficients(self, attention, mask=None):
        weights = attention if self.power == 1 else attention**self.power
        if mask is not None:
            weights = weights * mask
        return weights / weights.sum(1, keepdim=True).clamp(min=1e-6)

    def forward(self, features, attention, mask=None):
        return (self.coefficients(attention, mask).unsqueeze(-1) * features).sum(1)


class VideoError(ValueError):
    def __init__(self, position, reason):
        super().__init__(f"video {position} of the batch {reason}")
        self.position = position
        self.reason = reason


class Linear(nn.Module):
    def __init__(self, feature_dim, num_classes, aggregator, *, most_labels: int = 10):
        super().__init__()
        self.most_labels = most_labels
        self.attention = nn.Linear(feature_dim, 1)
        self.aggregator = aggregator
        self.head = nn.Linear(feature_dim, num_classes, bias=False)

    def check_targets(self, targets):
        for position, labels in enumerate(targets.labels.sum(1).int().tolist()):
            if labels > self.most_labels:
                raise VideoError(position, f"has more than {self.most_labels} labels")

    def forward(self, features, mask=None, targets=None):
        if targets is not None:
            self.check_targets(targets)
        attention = self.attention(features).squeeze(-1).sigmoid()
        if mask is not None:
            attention = attention * mask
        patterns = self.aggregator(features, attention, mask).unsqueeze(1)
        logits = self.head(patterns)
        scores = logits.sigmoid()
        return Decoding(attention.unsqueeze(1), patterns, logits, scores.squeeze(1), self.head.weight, scores)

    def loss(self, decoding, targets):
        return {"classification": nn.functional.binary_cross_entropy(decoding.class_scores, targets.labels)}


class Activations:
    def __call__(self, decoding, features):
        if decoding.head_weight is None or decoding.attention.shape[1] != 1:
            raise ValueError("needs a linear head and one assembly")
        response = torch.sigmoid(features[0] @ decoding.head_weight.T).T.detach().double().numpy()
        return np.broadcast_to(decoding.attention[0, 0].detach().double().numpy(), response.shape), response


class WholeVideo:
    def __init__(self, *, needs_attention: bool = False):
        self.needs_attention = needs_attention

    def __call__(self, activation, class_scores, edges, attention=None):
        if self.needs_attention and attention is None:
            raise ValueError("needs attention")
        C = len(activation)
        return Intervals(np.arange(C), np.full(C, edges[0]), np.full(C, edges[-1]), activation.mean(1) * class_scores)


class KeepAll:
    def __call__(self, detections):
        return detections


class Recall:
    def __call__(self, ground_truth, detections, classes):
        hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
        for name, truth in ground_truth.items():
            for label in truth.label:
                counts[label] += 1
                hits[label] += label in detections[name].label
        recall = np.divide(hits, counts, out=np.full(len(classes), np.nan), where=counts > 0)[None]
        return Scores(np.array([0.5]), np.nanmean(recall, axis=1), recall, ())


class Folder:
    def __init__(self, path):
        if not path.is_dir():
            raise OSError(f"{path}: no such folder of features")
        self.path = path

    def names(self, stream):
        return sorted(file.stem for file in (self.path / stream).glob("*.npy"))

    def shape(self, name, stream):
        return self.read(name, stream).shape

    def read(self, name, stream, rows=None):
        file = self.path / stream / f"{name}.npy"
        try:
            array = np.load(file)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        return array if rows is None else array[rows]
