"""Components as contract 1 allows them, recorded: they are never edited, and must work with every later host."""

import json
from collections import namedtuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Decoding = namedtuple(
    "Decoding", "features attention class_scores pooled logits snippet_logits head_weight probabilities intervals"
)
SnippetDecoding = namedtuple("SnippetDecoding", "features attention class_scores snippet_logits background_logits")
Intervals = namedtuple("Intervals", "label start end score")
Scores = namedtuple("Scores", "tiou_thresholds mean_ap average_precision notes")


class Lines:
    """A JSON array a line: name, subset, duration, and instances of label and segment."""

    def __init__(self, path):
        self.path = path
        try:
            self.videos = {video[0]: video for video in map(json.loads, path.read_text().splitlines())}
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self.notes = (f"{sum(not video[3] for video in self.videos.values())} videos have no instances",)

    def names(self):
        return self.videos.keys()

    def video(self, name):
        return self.videos[name]


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


class Independent:
    """Each video of a batch drawn by itself."""

    def __call__(self, labels, batch_size, seed, iteration):
        if not labels.any(1).all():
            raise ValueError("a video has no label")
        return np.random.default_rng([seed, iteration]).integers(len(labels), size=batch_size)


class Hidden:
    """Every snippet in its place, some of them hidden."""

    contiguous = True

    def __init__(self, *, share: float = 0.5):
        if not 0 <= share < 1:
            raise ValueError(f"share must be in [0, 1), got {share}")
        self.share = share

    def __call__(self, length, generator):
        rows = np.where(generator.random(length) < self.share, -1, np.arange(length))
        shown = generator.integers(length)
        rows[shown] = shown
        return rows


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
            weights = weights * (mask if attention.ndim == 2 else mask.unsqueeze(1))
        return weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)

    def forward(self, features, attention, mask=None):
        weights = self.coefficients(attention, mask)
        return weights @ features if attention.ndim == 3 else (weights.unsqueeze(1) @ features).squeeze(1)


class ClassWise(nn.Module):
    """A mean for each class, under weights that it learns to sharpen."""

    def __init__(self, num_classes):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(num_classes, 1))

    def forward(self, features, attention, mask=None):
        several = attention if attention.ndim == 3 else attention.unsqueeze(1)
        weights = several * (self.scale * several).exp()
        if mask is not None:
            weights = weights * mask.unsqueeze(1)
        return weights @ features / weights.sum(2, keepdim=True).clamp(min=1e-6)


class VideoError(ValueError):
    def __init__(self, position, reason):
        super().__init__(f"video {position} of the batch {reason}")
        self.position = position
        self.reason = reason


class Linear(nn.Module):
    """An embedding, a linear attention, and a linear head on what is pooled; it may propose the whole video itself."""

    def __init__(self, feature_dim, num_classes, aggregator, *, most_labels: int = 10, proposes: bool = False):
        super().__init__()
        self.most_labels = most_labels
        self.proposes = proposes
        self.embedding = nn.Linear(feature_dim, 5)
        self.attention = nn.Linear(5, 1)
        self.aggregator = aggregator
        self.head = nn.Linear(5, num_classes, bias=False)

    def check_targets(self, targets):
        for position, labels in enumerate(targets.labels.sum(1).int().tolist()):
            if labels > self.most_labels:
                raise VideoError(position, f"has more than {self.most_labels} labels")

    def forward(self, features, mask=None, targets=None):
        if targets is not None:
            self.check_targets(targets)
        embedded = self.embedding(features).relu()
        attention = self.attention(embedded).squeeze(-1).sigmoid()
        if mask is not None:
            attention = attention * mask
        pooled = self.aggregator(embedded, attention, mask).unsqueeze(1)
        logits = self.head(pooled)
        scores = logits.sigmoid()
        own = None
        if self.proposes and not self.training and len(features) == 1:
            C, T = scores.shape[2], features.shape[1]
            score = scores[0, 0].detach().cpu().double().numpy()
            own = Intervals(np.arange(C), np.zeros(C), np.full(C, float(T)), score)
        return Decoding(
            embedded,
            attention.unsqueeze(1),
            scores.squeeze(1),
            pooled,
            logits,
            self.head(embedded),
            self.head.weight,
            scores,
            own,
        )

    def loss(self, decoding, targets):
        return {"classification": F.binary_cross_entropy(decoding.class_scores, targets.labels)}


class Snippets(nn.Module):
    """Logits of each snippet and of the background, from it and its neighbours; nothing is pooled."""

    context = 1

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.near = nn.Conv1d(feature_dim, num_classes + 1, 3, padding=1)

    def forward(self, features, mask=None, targets=None):
        seen = features if mask is None else features * mask.unsqueeze(2)
        background, logits = self.near(seen.transpose(1, 2)).transpose(1, 2).split([1, self.near.out_channels - 1], 2)
        attention = torch.ones_like(logits[..., 0]) if mask is None else mask.to(logits.dtype)
        best = logits.masked_fill(attention.unsqueeze(2) == 0, -1e4).amax(1)
        return SnippetDecoding(features, attention.unsqueeze(1), best.sigmoid(), logits, background.squeeze(2))

    def loss(self, decoding, targets):
        return {}


class Agreement(nn.Module):
    """Cross-entropy between snippet logits, moved by a learnt offset, and a teacher's targets."""

    needs = ("snippet_logits", "targets.snippets")

    def __init__(self, num_classes, *, weight: float = 1.0):
        super().__init__()
        self.weight = weight
        self.offset = nn.Parameter(torch.zeros(num_classes))

    def forward(self, decoding, batch):
        wanted = batch.targets.snippets.transpose(1, 2)
        known = ~wanted.isnan() & (batch.rows >= 0).unsqueeze(2)
        if batch.mask is not None:
            known = known & batch.mask.unsqueeze(2)
        logits = decoding.snippet_logits + self.offset
        terms = F.binary_cross_entropy_with_logits(logits, wanted.nan_to_num(0), reduction="none")
        return {"agreement": self.weight * (terms * known).sum() / known.sum().clamp(min=1)}


class Detected:
    """One in the detections of the video's classes, nothing elsewhere."""

    def __call__(self, prediction, detections, edges, video):
        if prediction is None or detections is None:
            raise ValueError("needs a stage before")
        targets = np.full(prediction.activation.shape, np.nan)
        for label, start, end in zip(detections.label, detections.start, detections.end, strict=True):
            targets[label, (edges[:-1] < end) & (edges[1:] > start)] = video.labels[label]
        return targets


class Annotated:
    full_supervision = True

    def __call__(self, prediction, detections, edges, video):
        if video.segments is None:
            raise ValueError("needs segments")
        targets = np.zeros((len(video.labels), len(edges) - 1))
        for label, start, end in zip(video.segments.label, video.segments.start, video.segments.end, strict=True):
            if label >= 0:
                targets[label, (edges[:-1] < end) & (edges[1:] > start)] = 1
        return targets


class Activations:
    def __call__(self, decoding):
        if decoding.attention.shape[1] != 1:
            raise ValueError("needs one assembly")
        if decoding.head_weight is not None:
            logits = decoding.features[0] @ decoding.head_weight.T
        elif decoding.snippet_logits is not None:
            logits = decoding.snippet_logits[0]
        else:
            raise ValueError("needs a linear head, or snippet logits")
        response = logits.sigmoid().T.detach().cpu().double().numpy()
        return np.broadcast_to(decoding.attention[0, 0].detach().cpu().double().numpy(), response.shape), response


class WholeVideo:
    def __init__(self, *, needs_intervals: bool = False):
        self.needs_intervals = needs_intervals

    def __call__(self, prediction, edges):
        if self.needs_intervals and prediction.intervals is None:
            raise ValueError("needs a decoder's own intervals")
        C = len(prediction.attention)
        score = prediction.activation.mean(1) * prediction.class_scores
        return Intervals(np.arange(C), np.full(C, edges[0]), np.full(C, edges[-1]), score)


class KeepAll:
    def __call__(self, detections):
        return detections


class Recall:
    """The share of instances of whose class there is any detection in the video."""

    def __call__(self, ground_truth, detections, classes, class_scores):
        hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
        for name, truth in ground_truth.items():
            for label in truth.label[truth.label >= 0]:
                counts[label] += 1
                hits[label] += label in detections[name].label
        return verdict(hits, counts)


class Presence:
    """The share of a class's videos that score above one half for it."""

    def __call__(self, ground_truth, detections, classes, class_scores):
        hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
        for name, truth in ground_truth.items():
            for label in np.unique(truth.label[truth.label >= 0]):
                counts[label] += 1
                hits[label] += class_scores[name][label] > 0.5
        return verdict(hits, counts)


def verdict(hits, counts):
    recall = np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)[None]
    return Scores(np.array([0.5]), np.nanmean(recall, axis=1), recall, ())


class Notebook:
    def __init__(self, directory, *, file: str = "notebook.txt"):
        self.page = (directory / file).open("a")

    def stage(self, name):
        print("stage", name, file=self.page)

    def metrics(self, name, iteration, values):
        print("metrics", name, iteration, *values, file=self.page)

    def evaluation(self, values):
        print("evaluation", *values, file=self.page)

    def close(self):
        self.page.close()
