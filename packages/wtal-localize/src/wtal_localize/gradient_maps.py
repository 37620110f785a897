"""Gradient-weighted activations: ST-GradCAM (STAR eq. 10-13) and attended ST-GradCAM (STAR 3.2, eq. 14).

Xu et al., "Segregated Temporal Assembly Recurrent Networks for Weakly Supervised Multiple Action Detection", AAAI 2019.
Only this module needs torch, and only when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wtal_localize.activations import ActivationMaps, Decoding, array, best_assembly, best_attention, sigmoid
from wtal_localize.classes import passing_classes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from wtal_localize.detections import FloatArray, IntArray


def st_gradcam(
    logits: Tensor, patterns: Tensor, features: Tensor, classes: ArrayLike, assemblies: ArrayLike
) -> FloatArray:
    """Class responses xi (K, T) of one video's snippets, for K requested pairs of class c and assembly s (STAR 11-13).

    xi[k, i] = sum_d (d logits[s, c] / d patterns[s, d]) * features[i, d], before the sigmoid. One batched backward from
    the logits to the patterns serves all pairs. The graph is kept, and no parameter's gradient is touched.

    Args:
        logits: (1, S, C), before the softmax or sigmoid, with its graph.
        patterns: (1, S, D), the very tensor that the logits were computed from.
        features: (1, T, D).
        classes: (K,) in [0, C).
        assemblies: (K,) in [0, S).

    Raises:
        ValueError: shapes that do not fit, a class or assembly that the logits do not have, a graph that is gone or
            does not lead from the logits to the patterns.
        TypeError: classes or assemblies that are not integers.
    """
    import torch

    shapes = tuple(tuple(tensor.shape) for tensor in (logits, patterns, features))
    one_video = all(len(shape) == 3 and shape[0] == 1 for shape in shapes)
    if not one_video or shapes[0][1] != shapes[1][1] or shapes[1][2] != shapes[2][2]:
        raise ValueError(
            "logits (1, S, C), patterns (1, S, D) and features (1, T, D) of one video do not fit: "
            f"got {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    classes, assemblies = _indices("classes", classes, shapes[0][2]), _indices("assemblies", assemblies, shapes[0][1])
    if classes.shape != assemblies.shape:
        raise ValueError(f"classes and assemblies must be pairs, got {len(classes)} and {len(assemblies)}")
    if not (logits.requires_grad and patterns.requires_grad):
        raise ValueError(
            "the gradient maps need a decoding that keeps its graph, and this one has none: "
            "decode outside torch.no_grad() and torch.inference_mode()"
        )
    if not len(classes):
        return np.empty((0, features.shape[1]))
    pairs = np.arange(len(classes))
    seeds = logits.new_zeros(len(classes), *logits.shape)
    seeds[pairs, 0, assemblies, classes] = 1
    (gradients,) = torch.autograd.grad(
        logits, patterns, seeds, retain_graph=True, allow_unused=True, is_grads_batched=True
    )
    if gradients is None:
        raise ValueError(
            "decoding.logits do not depend on decoding.patterns: the decoder must compute its logits from the very "
            "tensor that it returns as patterns"
        )
    weights = array(gradients[pairs, 0, assemblies])
    responses: FloatArray = weights @ array(features)[0].T
    return responses


class STGradCAM:
    """The activation `st-gradcam`: where a class responds, whatever is attended (STAR's Table 2, "ST-GradCAM").

    Args:
        class_threshold: classes whose video-level score is below it are left at zero, without computing their gradients
            (the arg-max class is computed always). A proposer with the same or a higher threshold will not miss them.
    """

    def __init__(self, class_threshold: float = 0.0) -> None:
        self.class_threshold = class_threshold

    def __call__(self, decoding: Decoding, features: Tensor) -> ActivationMaps:
        """Map one video's decoding and the features (1, T, D) it saw to (C, T) maps: ones, and sigmoid(xi)."""
        response = _response(decoding, features, self.class_threshold)
        return ActivationMaps(np.ones_like(response), response)


class AttendedSTGradCAM:
    """The activation `attended-st-gradcam`: attention and sigmoid(xi), for each class in its `best_assembly`.

    With one assembly and a linear head it equals `cas`, for there the gradient is the head's weight.

    Args:
        class_threshold: as of `STGradCAM`.
    """

    def __init__(self, class_threshold: float = 0.0) -> None:
        self.class_threshold = class_threshold

    def __call__(self, decoding: Decoding, features: Tensor) -> ActivationMaps:
        """Map one video's decoding and the features (1, T, D) it saw to (C, T) maps."""
        attention = best_attention(decoding, features)
        return ActivationMaps(attention, _response(decoding, features, self.class_threshold))


def _response(decoding: Decoding, features: Tensor, class_threshold: float) -> FloatArray:
    """Sigmoid(xi) (C, T) in each class's best assembly, zero for classes below the threshold."""
    if not 0 <= class_threshold <= 1:
        raise ValueError(f"class_threshold must be in [0, 1], got {class_threshold}")
    assemblies = best_assembly(decoding)
    class_scores, C = array(decoding.class_scores), len(assemblies)
    if class_scores.shape != (1, C):
        raise ValueError(
            f"decoding.class_scores must have shape (1, C) = (1, {C}) as decoding.logits has, got {class_scores.shape}"
        )
    classes = passing_classes(class_scores[0], class_threshold)
    response = np.zeros((C, features.shape[1]))
    xi = st_gradcam(decoding.logits, decoding.patterns, features, classes, assemblies[classes])
    response[classes] = sigmoid(xi)
    return response


def _indices(name: str, values: ArrayLike, count: int) -> IntArray:
    """Integers (K,) in [0, count)."""
    indices = np.asarray(values)
    if indices.size and indices.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {indices.dtype}")
    if indices.ndim != 1:
        raise ValueError(f"{name} must have shape (K,), got {indices.shape}")
    bad = indices[(indices < 0) | (indices >= count)]
    if bad.size:
        raise ValueError(f"{name} must be in [0, {count}), got {bad[0]}")
    return indices.astype(np.int64)
