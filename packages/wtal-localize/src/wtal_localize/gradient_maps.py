"""Gradient-weighted activations: ST-GradCAM (STAR eq. 10-13) and attended ST-GradCAM (STAR 3.2, eq. 14).

Xu et al., "Segregated Temporal Assembly Recurrent Networks for Weakly Supervised Multiple Action Detection", AAAI 2019.
Only this module needs torch, and only when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wtal_localize.activations import (
    ActivationMaps,
    Decoding,
    array,
    best_assembly,
    best_attention,
    check_one_video,
    sigmoid,
)
from wtal_localize.arguments import explained_as, in_range, refuse
from wtal_localize.classes import passing_classes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from wtal_localize.detections import FloatArray, IntArray


def st_gradcam(
    logits: Tensor, pooled: Tensor, features: Tensor, classes: ArrayLike, assemblies: ArrayLike
) -> FloatArray:
    """Class responses xi (K, T) of one video's snippets, for K requested pairs of class c and assembly s (STAR 11-13).

    xi[k, i] = sum_e (d logits[s, c] / d pooled[s, e]) * features[i, e], before the sigmoid. One batched backward from
    the logits to `pooled` serves all pairs, or one each where a head's backward cannot be batched, as that of an
    `autograd.Function` which leaves torch. The graph is kept, and no parameter's gradient is touched.

    Args:
        logits: (1, S, C), before the softmax or sigmoid, with its graph.
        pooled: (1, S, E), the very tensor that the logits were computed from.
        features: (1, T, E), what was pooled.
        classes: (K,) in [0, C).
        assemblies: (K,) in [0, S).

    Raises:
        ValueError: shapes that do not fit, a class or assembly that the logits do not have, a graph that is gone or
            does not lead from the logits to `pooled`, or refuses `torch.autograd.grad`, as reentrant checkpointing
            does; a value that is not finite.
        TypeError: classes or assemblies that are not integers.
    """
    shapes = tuple(tuple(tensor.shape) for tensor in (logits, pooled, features))
    one_video = all(len(shape) == 3 and shape[0] == 1 for shape in shapes)
    if not one_video or shapes[0][1] != shapes[1][1] or shapes[1][2] != shapes[2][2]:
        raise ValueError(
            "logits (1, S, C), pooled (1, S, E) and features (1, T, E) of one video do not fit: "
            f"got {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    classes, assemblies = _indices("classes", classes, shapes[0][2]), _indices("assemblies", assemblies, shapes[0][1])
    if classes.shape != assemblies.shape:
        raise ValueError(f"classes and assemblies must be pairs, got {len(classes)} and {len(assemblies)}")
    if not (logits.requires_grad and pooled.requires_grad):
        raise ValueError(
            "the gradient maps need a decoding that keeps its graph, and this one has none: "
            "decode outside torch.no_grad() and torch.inference_mode(), and if all parameters of the model are frozen, "
            "call features.requires_grad_() before"
        )
    if not len(classes):
        return np.empty((0, features.shape[1]))
    pairs = np.arange(len(classes))
    seeds = logits.new_zeros(len(classes), *logits.shape)
    seeds[pairs, 0, assemblies, classes] = 1
    gradients = _gradients(logits, pooled, seeds)
    if gradients is None:
        raise ValueError(
            "decoding.logits do not depend on decoding.pooled: the decoder must compute its logits from the very "
            "tensor that it returns as pooled"
        )
    weights, x = array(gradients[pairs, 0, assemblies]), array(features)[0]
    refuse("features", x, ~np.isfinite(x), "finite", "at snippet {}, feature {}")
    for c, row in zip(classes, weights, strict=True):
        refuse("the gradient of decoding.logits", row, ~np.isfinite(row), "finite", f"for class {c}, feature {{}}")
    responses: FloatArray = weights @ x.T
    return responses


def _gradients(logits: Tensor, pooled: Tensor, seeds: Tensor) -> Tensor | None:
    """The gradients (K, 1, S, E) of logits with respect to `pooled` for seeds (K, 1, S, C); None if none lead there."""
    import torch

    def backward(seed: Tensor, batched: bool) -> Tensor | None:
        return torch.autograd.grad(
            logits, pooled, seed, retain_graph=True, allow_unused=True, is_grads_batched=batched
        )[0]

    try:
        return backward(seeds, True)
    except RuntimeError:  # a backward that cannot be batched
        try:
            rows = [backward(seed, False) for seed in seeds]
        except RuntimeError as error:
            raise ValueError(
                "decoding.logits cannot be differentiated with respect to decoding.pooled: the head must allow "
                f"torch.autograd.grad, and checkpointing must have use_reentrant=False; torch says: {error}"
            ) from error
    found = [row for row in rows if row is not None]
    return torch.stack(found) if found else None


class STGradCAM:
    """ST-GradCAM (STAR eq. 10-13): where a class responds, whatever is attended (STAR's Table 2, "ST-GradCAM").

    Args:
        class_threshold: classes whose video-level score in [0, 1] is below it are left at zero, which saves their
            gradients (the arg-max class is computed always). With one stream this changes nothing for a proposer of
            the same or a higher class threshold. With several it may: it sees each stream's own score and the proposer
            the fused one, so a class can pass there with a stream's response missing. Then leave it 0.
    """

    def __init__(self, class_threshold: float = 0.0) -> None:
        self.class_threshold = class_threshold

    def __call__(self, decoding: Decoding) -> ActivationMaps:
        """Map one video's decoding to (C, T) maps: ones, and sigmoid(xi).

        Raises:
            ValueError: the decoder has no assemblies (no `pooled` or no `logits`), or keeps no graph between them; a
                part of the decoding does not fit or is not finite.
        """
        response = _response(decoding, self.class_threshold)
        return ActivationMaps(np.ones_like(response), response)


@explained_as(STGradCAM)
class AttendedSTGradCAM:
    """Attended ST-GradCAM (STAR 3.2, eq. 14): attention times the ST-GradCAM response of each class.

    Each class is read in the assembly that gives it the highest probability. With one assembly and a linear head it
    equals `cas`, for there the gradient is the head's weight.
    """

    def __init__(self, class_threshold: float = 0.0) -> None:
        self.class_threshold = class_threshold

    def __call__(self, decoding: Decoding) -> ActivationMaps:
        """Map one video's decoding to (C, T) maps.

        Raises:
            ValueError: as `STGradCAM` does, or for attention that does not fit or lies outside [0, 1].
        """
        response = _response(decoding, self.class_threshold)
        return ActivationMaps(best_attention(decoding), response)


def _response(decoding: Decoding, class_threshold: float) -> FloatArray:
    """Sigmoid(xi) (C, T) in each class's best assembly, zero for classes below the threshold."""
    in_range("class_threshold", class_threshold, 1.0)
    if decoding.pooled is None or decoding.logits is None:
        missing = "pooled" if decoding.pooled is None else "logits"
        raise ValueError(
            "the gradient maps need a decoder that gives pooled and logits, and this one gives no "
            f"{missing}; use 'snippet', which reads snippet_logits"
        )
    check_one_video("features", decoding.features, "(1, T, E)")
    assemblies = best_assembly(decoding.logits, decoding.probabilities)
    class_scores, C = array(decoding.class_scores), len(assemblies)
    if class_scores.shape != (1, C):
        raise ValueError(
            f"decoding.class_scores must have shape (1, C) = (1, {C}) as decoding.logits has, got {class_scores.shape}"
        )
    refuse("decoding.class_scores", class_scores[0], ~np.isfinite(class_scores[0]), "finite", "for class {}")
    classes = passing_classes(class_scores[0], class_threshold)
    response = np.zeros((C, decoding.features.shape[1]))
    xi = st_gradcam(decoding.logits, decoding.pooled, decoding.features, classes, assemblies[classes])
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
