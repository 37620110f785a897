"""What a proposer reads of one video: T snippets, C classes, N intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wtal_localize.detections import FloatArray, IntArray


class Intervals(Protocol):
    """Intervals that a decoder proposes itself, in snippets: [0, T] is the whole video."""

    @property
    def label(self) -> IntArray:
        """(N,) class index."""

    @property
    def start(self) -> FloatArray:
        """(N,) in [0, T]."""

    @property
    def end(self) -> FloatArray:
        """(N,) in [0, T]."""

    @property
    def score(self) -> FloatArray:
        """(N,), higher is surer."""


class Prediction(Protocol):
    """What models say of one video."""

    @property
    def attention(self) -> FloatArray:
        """(C, T) in [0, 1]."""

    @property
    def activation(self) -> FloatArray:
        """(C, T), zero or more."""

    @property
    def class_scores(self) -> FloatArray:
        """(C,), video-level probabilities."""

    @property
    def intervals(self) -> Intervals | None:
        """Of decoders that propose intervals themselves."""
