"""Components as contract 1 allows them, recorded: they are never edited, and must work with every later host."""

from collections import namedtuple

import numpy as np
import torch
from torch import nn

Decoding = namedtuple("Decoding", "attention patterns logits class_scores head_weight")
Intervals = namedtuple("Intervals", "label start end score")
Scores = namedtuple("Scores", "tiou_thresholds mean_ap average_precision notes")


class Mean(nn.Module):
    def forward(self, features, attention, mask=None):
        weights = attention if mask is None else attention * mask
        return (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-6)


class Linear(nn.Module):
    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.attention = nn.Linear(feature_dim, 1)
        self.aggregator = aggregator
        self.head = nn.Linear(feature_dim, num_classes, bias=False)

    def forward(self, features, mask=None, targets=None):
        attention = self.attention(features).squeeze(-1).sigmoid()
        if mask is not None:
            attention = attention * mask
        patterns = self.aggregator(features, attention, mask).unsqueeze(1)
        logits = self.head(patterns)
        return Decoding(attention.unsqueeze(1), patterns, logits, logits.squeeze(1).sigmoid(), self.head.weight)

    def loss(self, decoding, targets):
        return {"classification": nn.functional.binary_cross_entropy(decoding.class_scores, targets.labels)}


class Activations:
    def __call__(self, decoding, features):
        if decoding.head_weight is None or decoding.attention.shape[1] != 1:
            raise ValueError("needs a linear head and one assembly")
        response = torch.sigmoid(features[0] @ decoding.head_weight.T).T.detach().double().numpy()
        return np.broadcast_to(decoding.attention[0, 0].detach().double().numpy(), response.shape), response


class WholeVideo:
    def __call__(self, activation, class_scores, edges):
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
        array = np.load(self.path / stream / f"{name}.npy")
        return array if rows is None else array[rows]
