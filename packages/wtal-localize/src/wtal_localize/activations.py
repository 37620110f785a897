"""Activations that need no gradient: the class activation sequence, and attention alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from wtal_localize.arguments import real_array, refuse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from wtal_localize.detections import FloatArray, IntArray


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
        ValueError: shapes that do not fit, values that are not finite, attention outside [0, 1].
    """
    x, a, w = real_array("features", features), real_array("attention", attention), real_array("weight", weight)
    if x.ndim != 2 or a.shape != x.shape[:1] or w.ndim != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(
            f"features (T, D), attention (T,) and weight (C, D) do not fit: got {x.shape}, {a.shape} and {w.shape}"
        )
    refuse("features", x, ~np.isfinite(x), "finite", "at snippet {}, feature {}")
    refuse("attention", a, ~in_unit(a), "in [0, 1]", "at snippet {}")
    refuse("weight", w, ~np.isfinite(w), "finite", "for class {}, feature {}")
    return ActivationMaps(np.tile(a, (len(w), 1)), sigmoid(w @ x.T))


class ClassActivationSequence:
    """Class activation sequence: attention times sigmoid(w_c . x_t) (STPN; MAAN eq. 12 and 14).

    For decoders with one assembly and a linear head.
    """

    def __call__(self, decoding: Decoding, features: Tensor) -> ActivationMaps:
        """Map one video's decoding and the features (1, T, D) it saw to (C, T) maps.

        Raises:
            ValueError: the decoder has no linear head, more than one assembly or more than one video; a value is not
                finite, or attention outside [0, 1].
        """
        check_features(features)
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


class Attention:
    """Attention: where a class is attended, whatever responds there (STAR's Table 2, "Attention")."""

    def __call__(self, decoding: Decoding, features: Tensor) -> ActivationMaps:
        """Map one video's decoding to (C, T) maps: each class's attention in its `best_assembly`, and ones."""
        attention = best_attention(decoding, features)
        return ActivationMaps(attention, np.ones_like(attention))


def best_assembly(decoding: Decoding) -> IntArray:
    """For each class the assembly that gives it its highest probability, the first of equals (C,).

    The probabilities are `decoding.probabilities` (1, S, C) where a decoder states them, as one must whose head has
    more symbols than classes. Else they are the softmax of the logits over the classes (STAR eq. 5); with one assembly
    it does not matter.

    Raises:
        ValueError: not one video, no assembly, or a value that is not finite.
    """
    logits = array(decoding.logits)
    if logits.ndim != 3 or logits.shape[0] != 1 or not logits.shape[1]:
        raise ValueError(f"decoding.logits must have shape (1, S, C), one video and S >= 1, got {logits.shape}")
    refuse("decoding.logits", logits[0], ~np.isfinite(logits[0]), "finite", "in assembly {} for class {}")
    stated = getattr(decoding, "probabilities", None)
    if stated is not None:
        if tuple(stated.shape) != logits.shape:
            raise ValueError(
                f"decoding.probabilities must have shape (1, S, C) = {logits.shape} as decoding.logits has, "
                f"got {tuple(stated.shape)}"
            )
        scores = array(stated)[0]
        refuse("decoding.probabilities", scores, ~np.isfinite(scores), "finite", "in assembly {} for class {}")
    else:
        exponential = np.exp(logits[0] - logits[0].max(axis=1, keepdims=True, initial=-np.inf))
        scores = exponential / exponential.sum(axis=1, keepdims=True)
    best: IntArray = np.argmax(scores, axis=0)
    return best


def best_attention(decoding: Decoding, features: Tensor) -> FloatArray:
    """Each class's attention in its `best_assembly` (C, T).

    Raises:
        ValueError: attention that fits neither the logits (1, S, C) nor the features (1, T, D), or lies outside [0, 1].
    """
    check_features(features)
    best, attention = best_assembly(decoding), array(decoding.attention)
    expected = (1, decoding.logits.shape[1], features.shape[1])
    if attention.shape != expected:
        raise ValueError(
            f"decoding.attention must have shape (1, S, T) = {expected} as its logits and the features have, "
            f"got {attention.shape}"
        )
    chosen: FloatArray = attention[0, best]
    refuse("decoding.attention", chosen, ~in_unit(chosen), "in [0, 1]", "for class {} at snippet {}")
    return chosen


def check_features(features: Tensor) -> None:
    """Refuse features that are not those of one video."""
    if len(features.shape) != 3 or features.shape[0] != 1:
        raise ValueError(f"features must have shape (1, T, D), one video, got {tuple(features.shape)}")


def in_unit(values: FloatArray) -> NDArray[np.bool_]:
    """Where values lie in [0, 1], which NaN does not."""
    return (values >= 0) & (values <= 1)


def array(value: Any) -> FloatArray:
    """A tensor or array as float64 on the host, cut from its graph."""
    if hasattr(value, "detach"):  # a tensor, without importing torch to ask
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, np.float64)
