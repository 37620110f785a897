"""What crosses a border between packages: plain tensors and arrays in small named tuples.

Leaves do not import this module. They define tuples of their own with the same fields, and a type checker or
`wtal_core.testing` says whether they fit. The calls that take and give them stand in `wtal_core.kinds`, a file a kind.

Everywhere: B videos, T snippets, D input features, E features as pooled, C classes, S assemblies, N intervals. Times
are seconds. `mask` (B, T) is True on what may be seen: it is False on padding at the end and on hidden snippets, so it
may have holes; a length is `mask.sum(1)`, and no video is hidden whole by a clip. Arguments stay as they are, and the
same arguments give the same answer; only training draws at random, from torch's generator. What is not seen may hold
any finite numbers, and has no part in an answer. `wtal_core.testing` checks every clause, and what it cannot ask of all
is said in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


#: The label that THUMOS gives to intervals of which nobody can say whether they show an action. It is no class.
AMBIGUOUS = "Ambiguous"


class Instance(NamedTuple):
    """One labelled action; `segment` is (start, end) in seconds, or None where only the label is known."""

    label: str
    segment: tuple[float, float] | None = None


class Video(NamedTuple):
    """One video of the data set; `duration` is in seconds, None where the annotations do not say."""

    name: str
    subset: str
    duration: float | None
    instances: tuple[Instance, ...]

    @property
    def labels(self) -> frozenset[str]:
        """The classes that happen in the video."""
        return frozenset(instance.label for instance in self.instances) - {AMBIGUOUS}


class Targets(NamedTuple):
    """What a model may learn from: labels, counts if the experiment says so, a teacher's word if there is one."""

    labels: Tensor  # (B, C) float, multi-hot
    counts: Tensor | None = None  # (B, C) float, instances per class
    snippets: Tensor | None = None  # (B, C, T) in [0, 1] as the teacher says, NaN where it says nothing


class Batch(NamedTuple):
    """What one step of training sees."""

    features: Tensor  # (B, T, D), standardised
    mask: Tensor | None  # (B, T) bool, None where all is seen
    targets: Targets
    rows: Tensor  # (B, T) int64, which snippet of its video each one is; -1 where the mask is False


class Decoding(Protocol):
    """A decoder's output, with its graph kept, so that activations can differentiate the logits.

    There is `pooled` with `logits`, or `snippet_logits`, or both. What is not there may be None or missing: the host
    completes it, so that activations and losses find every field.
    """

    @property
    def features(self) -> Tensor:
        """(B, T, E), what was pooled: the decoder's own embedding of its input, or the input."""

    @property
    def attention(self) -> Tensor:
        """(B, S, T) in [0, 1], zero where the mask is False."""

    @property
    def class_scores(self) -> Tensor:
        """(B, C) in [0, 1], video-level probabilities."""

    @property
    def pooled(self) -> Tensor | None:
        """(B, S, E), the features as aggregated."""

    @property
    def logits(self) -> Tensor | None:
        """(B, S, C), a function of `pooled`."""

    @property
    def snippet_logits(self) -> Tensor | None:
        """(B, T, C), of each snippet."""

    @property
    def background_logits(self) -> Tensor | None:
        """(B, T). If there, the C classes and the background compete in a softmax, else each class is a sigmoid."""

    @property
    def head_weight(self) -> Tensor | None:
        """(C, E) if the logits are linear in what was pooled."""

    @property
    def probabilities(self) -> Tensor | None:
        """(B, S, C) in [0, 1], of the classes in each assembly; by default the softmax of the logits over classes."""

    @property
    def intervals(self) -> Intervals | None:
        """Intervals that the decoder proposes itself, of one video (B = 1)."""


class Intervals(NamedTuple):
    """Intervals of one video in snippets: [0, T] is the whole of it."""

    label: IntArray  # (N,) class index
    start: FloatArray  # (N,) in [0, T]
    end: FloatArray  # (N,) in [0, T]
    score: FloatArray  # (N,), higher is surer


class ActivationMaps(NamedTuple):
    """Per class: how much a snippet was attended, and how strongly it responds. Their product localizes."""

    attention: FloatArray  # (C, T) in [0, 1]
    response: FloatArray  # (C, T) in [0, 1]


class Assemblies(NamedTuple):
    """What each assembly attends to and names, in the order of the decoder."""

    attention: FloatArray  # (S, T) in [0, 1]
    probabilities: FloatArray  # (S, C) in [0, 1]


class Prediction(NamedTuple):
    """What the models of an experiment say of one video, their streams fused."""

    attention: FloatArray  # (C, T) in [0, 1]
    activation: FloatArray  # (C, T), zero or more: attention times response
    class_scores: FloatArray  # (C,) in [0, 1]
    intervals: Intervals | None = None  # proposed by the decoders themselves


class TrainingVideo(NamedTuple):
    """What a teacher may know of a video."""

    name: str
    labels: FloatArray  # (C,) multi-hot
    segments: Segments | None  # for a teacher that declares full supervision alone


class Segments(Protocol):
    """The annotated intervals of one video."""

    @property
    def label(self) -> IntArray:
        """(N,) class index, or -1: an ambiguous interval, no instance of any class."""

    @property
    def start(self) -> FloatArray:
        """(N,) seconds."""

    @property
    def end(self) -> FloatArray:
        """(N,) seconds."""


class Detections(Segments, Protocol):
    """The detected intervals of one video, all of known classes."""

    @property
    def score(self) -> FloatArray:
        """(N,), higher is surer."""
