"""Activations that need no gradient: the class activation sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from wtal_localize.detections import FloatArray


class ActivationMaps(NamedTuple):
    """Per class: how much a snippet was attended, and how strongly it responds. Their product localizes."""

    attention: FloatArray  # (C, T) in [0, 1]
    response: FloatArray  # (C, T) in [0, 1]


class Decoding(Protocol):
    """What a decoder says about one video (B = 1): S assemblies over T snippets, C classes."""

    @property
    def attention(self) -> Tensor:
        """Shape (1, S, T) in [0, 1]."""

    @property
    def patterns(self) -> Tensor:
        """Shape (1, S, D)."""

    @property
    def logits(self) -> Tensor:
        """Shape (1, S, C), a function of the patterns."""

    @property
    def class_scores(self) -> Tensor:
        """Shape (1, C) in [0, 1]."""

    @property
    def head_weight(self) -> Tensor | None:
        """Shape (C, D) if the logits are linear in the patterns."""


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def class_activation_sequence(features: ArrayLike, attention: ArrayLike, weight: ArrayLike) -> ActivationMaps:
    """The factors of the class activation sequence (STPN; MAAN eq. 12 and 14).

    Their product p_t * sigmoid(w_c . x_t) is the sequence. The bias of a head takes no part in it.

    Args:
        features: (T, D), the snippets.
        attention: (T,) in [0, 1]: MAAN's latent discriminative probability p_t, STPN's attention.
        weight: (C, D), the linear head.

    Returns:
        `attention` (C, T), the same in every row, and `response` (C, T).

    Raises:
        ValueError: shapes that do not fit.
    """
    x, a, w = (np.asarray(value, np.float64) for value in (features, attention, weight))
    if x.ndim != 2 or a.shape != x.shape[:1] or w.ndim != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(
            f"features (T, D), attention (T,) and weight (C, D) do not fit: got {x.shape}, {a.shape} and {w.shape}"
        )
    return ActivationMaps(np.tile(a, (len(w), 1)), sigmoid(w @ x.T))


class ClassActivationSequence:
    """The activation `cas`: for decoders with one assembly and a linear head."""

    def __call__(self, decoding: Decoding, features: Tensor) -> ActivationMaps:
        """Map one video's decoding and the features (1, T, D) it saw to (C, T) maps.

        Raises:
            ValueError: the decoder has no linear head, more than one assembly or more than one video.
        """
        if decoding.head_weight is None:
            raise ValueError(
                "the activation 'cas' needs a decoder with a linear head, and this one gives no head_weight; "
                "use 'attended-st-gradcam', which is the same for linear heads and works for any"
            )
        attention = array(decoding.attention)
        if attention.ndim != 3 or attention.shape[:2] != (1, 1):
            raise ValueError(
                f"the activation 'cas' needs attention of shape (1, 1, T), one video and one assembly, "
                f"got {attention.shape}; use 'attended-st-gradcam' for several assemblies"
            )
        return class_activation_sequence(array(features)[0], attention[0, 0], array(decoding.head_weight))


def array(value: Any) -> FloatArray:
    """A tensor or array as float64 on the host, cut from its graph."""
    if hasattr(value, "detach"):  # a tensor, without importing torch to ask
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, np.float64)
