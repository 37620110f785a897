"""Activations that need no gradient: class activation sequence, attention alone, scores of single snippets."""

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
    """What a decoder says about one video (B = 1): T snippets of E features as pooled, S assemblies, C classes.

    A decoder has assemblies, which are `pooled` and their `logits`, or `snippet_logits`, or both. What it lacks must be
    there all the same, as None.
    """

    @property
    def features(self) -> Tensor:
        """Shape (1, T, E), what was pooled: the decoder's input, or what it made of that before."""

    @property
    def attention(self) -> Tensor:
        """Shape (1, S, T) in [0, 1]."""

    @property
    def class_scores(self) -> Tensor:
        """Shape (1, C) in [0, 1]."""

    @property
    def pooled(self) -> Tensor | None:
        """Shape (1, S, E)."""

    @property
    def logits(self) -> Tensor | None:
        """Shape (1, S, C), a function of `pooled`."""

    @property
    def probabilities(self) -> Tensor | None:
        """Shape (1, S, C), of each class in each assembly, where they are not the softmax of the logits."""

    @property
    def head_weight(self) -> Tensor | None:
        """Shape (C, E) if the logits are linear in `pooled`."""

    @property
    def snippet_logits(self) -> Tensor | None:
        """Shape (1, T, C), of each snippet by itself."""

    @property
    def background_logits(self) -> Tensor | None:
        """Shape (1, T): classes and background compete in a softmax. None: each class has a sigmoid of its own."""


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softmax(x: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    normalized: FloatArray = e / e.sum(axis=-1, keepdims=True)
    return normalized


def class_activation_sequence(features: ArrayLike, attention: ArrayLike, weight: ArrayLike) -> ActivationMaps:
    """The factors of the class activation sequence (STPN; MAAN eq. 12 and 14).

    Their product p_t * sigmoid(w_c . x_t) is the sequence. The bias of a head takes no part in it.

    Args:
        features: (T, E), the snippets as they were pooled.
        attention: (T,) in [0, 1]: MAAN's latent discriminative probability p_t, STPN's attention.
        weight: (C, E), the linear head.

    Returns:
        `attention` (C, T), the same in every row, and `response` (C, T).

    Raises:
        ValueError: shapes that do not fit, values that are not finite, attention outside [0, 1].
    """
    x, a, w = real_array("features", features), real_array("attention", attention), real_array("weight", weight)
    if x.ndim != 2 or a.shape != x.shape[:1] or w.ndim != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(
            f"features (T, E), attention (T,) and weight (C, E) do not fit: got {x.shape}, {a.shape} and {w.shape}"
        )
    refuse("features", x, ~np.isfinite(x), "finite", "at snippet {}, feature {}")
    refuse("attention", a, ~in_unit(a), "in [0, 1]", "at snippet {}")
    refuse("weight", w, ~np.isfinite(w), "finite", "for class {}, feature {}")
    return ActivationMaps(np.tile(a, (len(w), 1)), sigmoid(w @ x.T))


def snippet_activation(
    snippet_logits: ArrayLike, attention: ArrayLike, background_logits: ArrayLike | None = None
) -> ActivationMaps:
    """How probable each class is in each snippet by itself, and the attention there.

    Args:
        snippet_logits: (T, C).
        attention: (S, T) in [0, 1]; S is 1, for every class, or C, class by class.
        background_logits: (T,). With them the probabilities are a softmax over the classes and background; without
            them each is the sigmoid of its logit.

    Returns:
        `attention` (C, T), and `response` (C, T), the probabilities.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, attention outside [0, 1].
    """
    x, a = real_array("snippet_logits", snippet_logits), real_array("attention", attention)
    if x.ndim != 2 or a.ndim != 2 or a.shape[1] != len(x):
        raise ValueError(f"snippet_logits (T, C) and attention (S, T) do not fit: got {x.shape} and {a.shape}")
    refuse("snippet_logits", x, ~np.isfinite(x), "finite", "at snippet {} for class {}")
    maps = class_attention(a, x.shape[1])
    if background_logits is None:
        return ActivationMaps(maps, sigmoid(x.T))
    background = real_array("background_logits", background_logits)
    if background.shape != x.shape[:1]:
        raise ValueError(f"background_logits must have shape (T,) = ({len(x)},), got {background.shape}")
    refuse("background_logits", background, ~np.isfinite(background), "finite", "at snippet {}")
    return ActivationMaps(maps, softmax(np.column_stack([x, background]))[:, :-1].T)


class ClassActivationSequence:
    """Class activation sequence: attention times sigmoid(w_c . x_t) (STPN; MAAN eq. 12 and 14).

    For decoders with one assembly and a linear head; x_t is the snippet as it was pooled.
    """

    def __call__(self, decoding: Decoding) -> ActivationMaps:
        """Map one video's decoding to (C, T) maps.

        Raises:
            ValueError: the decoder has no linear head, more than one assembly or more than one video; a value is not
                finite, or attention outside [0, 1].
        """
        check_one_video("features", decoding.features, "(1, T, E)")
        if decoding.head_weight is None:
            instead = "'attended-st-gradcam', which is the same for linear heads and works for any"
            if decoding.pooled is None:
                instead = "'snippet', which reads snippet_logits"
            raise ValueError(
                "the activation 'cas' needs a decoder with a linear head, and this one gives no head_weight; "
                f"use {instead}"
            )
        attention = array(decoding.attention)
        if attention.ndim != 3 or attention.shape[:2] != (1, 1):
            raise ValueError(
                f"the activation 'cas' needs attention of shape (1, 1, T), one video and one assembly, "
                f"got {attention.shape}; use 'attended-st-gradcam' for several assemblies"
            )
        return class_activation_sequence(array(decoding.features)[0], attention[0, 0], array(decoding.head_weight))


class Attention:
    """Attention: where a class is attended, whatever responds there (STAR's Table 2, "Attention").

    Each class's attention is that of the assembly that gives it the highest probability. Of a decoder without
    assemblies' logits it is the one attention there is, or the class's own of C.
    """

    def __call__(self, decoding: Decoding) -> ActivationMaps:
        """Map one video's decoding to (C, T) maps: each class's attention, and ones."""
        attention = best_attention(decoding)
        return ActivationMaps(attention, np.ones_like(attention))


class SnippetActivation:
    """Attention times the probability of each class in each snippet by itself.

    For decoders that classify snippets: a softmax over the classes and background where the decoder has
    `background_logits`, else a sigmoid for each class. The attention is the decoder's: one for every class, or C, class
    by class.
    """

    def __call__(self, decoding: Decoding) -> ActivationMaps:
        """Map one video's decoding to (C, T) maps.

        Raises:
            ValueError: the decoder classifies no snippets, its attention is neither one nor one a class, or there is
                more than one video; a value is not finite, or attention outside [0, 1].
        """
        if decoding.snippet_logits is None:
            raise ValueError(
                "the activation 'snippet' needs a decoder that classifies snippets, and this one gives no "
                "snippet_logits; use 'attended-st-gradcam', which reads pooled and logits"
            )
        background = decoding.background_logits
        check_one_video("snippet_logits", decoding.snippet_logits, "(1, T, C)")
        check_one_video("attention", decoding.attention, "(1, S, T)")
        if background is not None:
            check_one_video("background_logits", background, "(1, T)")
            background = array(background)[0]
        return snippet_activation(array(decoding.snippet_logits)[0], array(decoding.attention)[0], background)


def class_attention(attention: FloatArray, num_classes: int) -> FloatArray:
    """Attention (C, T) of (S, T) without a choice among assemblies: S is 1, for every class, or C, class by class.

    Raises:
        ValueError: another S, or attention outside [0, 1].
    """
    if len(attention) not in (1, num_classes):
        raise ValueError(
            f"attention must be one for every class or one a class, (1, T) or (C, T) with C = {num_classes}, "
            f"got {attention.shape}"
        )
    refuse("attention", attention, ~in_unit(attention), "in [0, 1]", "in row {} at snippet {}")
    return np.array(np.broadcast_to(attention, (num_classes, attention.shape[1])))


def best_assembly(logits: Tensor, probabilities: Tensor | None) -> IntArray:
    """For each class the assembly that gives it its highest probability, the first of equals (C,).

    The probabilities (1, S, C) are those that a decoder states, as one must whose head has more symbols than classes.
    Else they are the softmax of the logits (1, S, C) over the classes (STAR eq. 5); with one assembly it does not
    matter.

    Raises:
        ValueError: not one video, no assembly, or a value that is not finite.
    """
    x = array(logits)
    if x.ndim != 3 or x.shape[0] != 1 or not x.shape[1]:
        raise ValueError(f"decoding.logits must have shape (1, S, C), one video and S >= 1, got {x.shape}")
    refuse("decoding.logits", x[0], ~np.isfinite(x[0]), "finite", "in assembly {} for class {}")
    if probabilities is None:
        scores = softmax(x[0])
    elif tuple(probabilities.shape) != x.shape:
        raise ValueError(
            f"decoding.probabilities must have shape (1, S, C) = {x.shape} as decoding.logits has, "
            f"got {tuple(probabilities.shape)}"
        )
    else:
        scores = array(probabilities)[0]
        refuse("decoding.probabilities", scores, ~np.isfinite(scores), "finite", "in assembly {} for class {}")
    best: IntArray = np.argmax(scores, axis=0)
    return best


def best_attention(decoding: Decoding) -> FloatArray:
    """Each class's attention (C, T) in its `best_assembly`, or its `class_attention` where there are no logits.

    Raises:
        ValueError: attention that fits neither the logits (1, S, C) nor the features (1, T, E), or lies outside [0, 1].
    """
    attention = array(decoding.attention)
    if decoding.logits is None:
        check_one_video("attention", attention, "(1, S, T)")
        check_one_video("class_scores", decoding.class_scores, "(1, C)")
        return class_attention(attention[0], decoding.class_scores.shape[1])
    check_one_video("features", decoding.features, "(1, T, E)")
    best = best_assembly(decoding.logits, decoding.probabilities)
    expected = (1, decoding.logits.shape[1], decoding.features.shape[1])
    if attention.shape != expected:
        raise ValueError(
            f"decoding.attention must have shape (1, S, T) = {expected} as its logits and the features have, "
            f"got {attention.shape}"
        )
    chosen: FloatArray = attention[0, best]
    refuse("decoding.attention", chosen, ~in_unit(chosen), "in [0, 1]", "for class {} at snippet {}")
    return chosen


def check_one_video(name: str, value: Any, shape: str) -> None:
    """Refuse a part of a decoding that does not have the dimensions of `shape`, as "(1, T, E)" names them."""
    if len(value.shape) != shape.count(",") + 1 or value.shape[0] != 1:
        raise ValueError(f"decoding.{name} must have shape {shape}, one video, got {tuple(value.shape)}")


def in_unit(values: FloatArray) -> NDArray[np.bool_]:
    """Where values lie in [0, 1], which NaN does not."""
    return (values >= 0) & (values <= 1)


def array(value: Any) -> FloatArray:
    """A tensor or array as float64 on the host, cut from its graph."""
    if hasattr(value, "detach"):  # a tensor, without importing torch to ask
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, np.float64)
