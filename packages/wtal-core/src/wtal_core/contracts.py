"""What crosses a border between packages: plain tensors and arrays in small named tuples, and the calls that take them.

Leaves do not import this module. They define tuples of their own with the same fields, and a type checker or
`wtal_core.testing` says whether they fit. Everywhere: B videos, T snippets (padded at the end; `mask` is True on real
ones), D features, C classes, S assemblies, N intervals. Times are seconds. Arguments stay as they are, and the same
arguments give the same answer; only training draws at random, from torch's generator. Padding may hold any finite
numbers, and has no part in an answer. `wtal_core.testing` checks every clause, and what it cannot ask of all is said in
its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Targets(NamedTuple):
    """What a decoder may learn from: video-level labels, and instance counts if the experiment says so."""

    labels: Tensor  # (B, C) float, multi-hot
    counts: Tensor | None = None  # (B, C) float, instances per class


class Decoding(Protocol):
    """A decoder's output, with its graph kept so that activations can differentiate the logits.

    It may also have `probabilities` (B, S, C) in [0, 1], of the classes in each assembly, from which activations choose
    the assembly that they read a class in. Without them that is a softmax of the logits over the classes.
    """

    @property
    def attention(self) -> Tensor:
        """(B, S, T) in [0, 1], zero on padding."""

    @property
    def patterns(self) -> Tensor:
        """(B, S, D), the aggregated features."""

    @property
    def logits(self) -> Tensor:
        """(B, S, C), a function of the patterns."""

    @property
    def class_scores(self) -> Tensor:
        """(B, C) in [0, 1], video-level probabilities."""

    @property
    def head_weight(self) -> Tensor | None:
        """(C, D) if the logits are linear in the patterns, else None."""


class Aggregator(Protocol):
    """Pools snippet features under an attention, as an `nn.Module`.

    Built as `cls(**options)`: it is not told D, and works for any. One that is linear in the features may also give
    `coefficients(attention, mask=None)`, their weights (B, T), zero on padding.
    """

    def __call__(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map features (B, T, D), attention (B, T) in [0, 1] and mask (B, T) to patterns (B, D)."""


class Decoder(Protocol):
    """Turns one stream's features into assemblies, as an `nn.Module`.

    Built as `cls(feature_dim=D, num_classes=C, aggregator=..., **options)`. An aggregator that it calls is a submodule,
    so that it is trained, moved and saved with the decoder. One that cannot learn from all targets may also give
    `check_targets(targets)`, which is asked before training and raises a `ValueError` as a call does.
    """

    def __call__(self, features: Tensor, mask: Tensor | None = None, targets: Targets | None = None) -> Decoding:
        """Decode features (B, T, D) under mask (B, T); `targets` are given in training only (teacher forcing).

        A `ValueError` about one video may carry its row in the batch as `position` and what it says of the video as
        `reason`, such as "has 3 labels"; the host then names the video.
        """

    def loss(self, decoding: Decoding, targets: Targets) -> dict[str, Tensor]:
        """Named scalar terms, of shape () and already weighted; training minimises their sum."""


class ActivationMaps(NamedTuple):
    """Per class: how much a snippet was attended, and how strongly it responds. Their product localizes."""

    attention: FloatArray  # (C, T) in [0, 1]
    response: FloatArray  # (C, T) in [0, 1]


class Activation(Protocol):
    """Reads class activations over time from one video's decoding."""

    def __call__(self, decoding: Decoding, features: Tensor) -> ActivationMaps:
        """Map a decoding of one video (B = 1) and the features (1, T, D) it saw to (C, T) maps.

        A decoding of several assemblies or without `head_weight` may be refused by a `ValueError`. An activation may
        smooth over time, or leave a map constant: the kit holds no map against the order of the snippets.
        """


class Segments(Protocol):
    """The annotated intervals of one video."""

    @property
    def label(self) -> IntArray:
        """(N,) class index."""

    @property
    def start(self) -> FloatArray:
        """(N,) seconds."""

    @property
    def end(self) -> FloatArray:
        """(N,) seconds."""


class Detections(Segments, Protocol):
    """The detected intervals of one video."""

    @property
    def score(self) -> FloatArray:
        """(N,), higher is surer."""


class Proposer(Protocol):
    """Cuts activations into scored intervals."""

    def __call__(self, activation: FloatArray, class_scores: FloatArray, edges: FloatArray) -> Detections:
        """Map activation (C, T), class scores (C,) and snippet edges (T + 1,) in seconds to detections.

        Snippet t stands for [edges[t], edges[t + 1]); an interval may reach beyond what is active. A call with a
        further parameter `attention` (its default None) is given the streams' fused attention (C, T) by that name.
        Options may be in seconds: the kit moves the edges, and does not stretch them.
        """


class Suppressor(Protocol):
    """Removes or weakens detections of one video that repeat a better one."""

    def __call__(self, detections: Detections) -> Detections:
        """The kept detections, possibly with lower scores.

        Class by class, unless an option of the component says otherwise (the kit is then told so). Neither the order of
        the detections nor anything else but their values decides between equal scores.
        """


class Evaluation(Protocol):
    """An evaluator's verdict. Precisions are fractions in [0, 1]."""

    @property
    def tiou_thresholds(self) -> FloatArray:
        """(K,)."""

    @property
    def mean_ap(self) -> FloatArray:
        """(K,), the mean over the classes with ground truth."""

    @property
    def average_precision(self) -> FloatArray:
        """(K, C), NaN for a class without ground truth."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, and why."""


class Evaluator(Protocol):
    """Scores the detections of a subset against its ground truth."""

    def __call__(
        self,
        ground_truth: Mapping[str, Segments],
        detections: Mapping[str, Detections],
        classes: Sequence[str],
    ) -> Evaluation:
        """Score detections per video name; `classes` names the C class indices.

        `ground_truth` has every video of the subset, those without instances included. Detections equal to it score 1.
        """


class FeatureStore(Protocol):
    """Snippet features of a data set, read lazily."""

    def names(self, stream: str) -> Sequence[str]:
        """The videos that have features of this stream, sorted."""

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D), without reading the array where the layout allows it."""

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or only the given rows of them (any order, repeats allowed)."""


class FeatureReader(Protocol):
    """Opens a feature store.

    Raises `OSError` for what is missing or unreadable and `ValueError` for what has the wrong form; both give the path
    of the file, or of the folder where it should be. So do the methods of the store.
    """

    def __call__(self, path: Path) -> FeatureStore:
        """Open the store under `path`."""
