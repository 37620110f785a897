"""What the answers of components look like: shapes, types, ranges.

Each function raises `ContractError` or returns nothing. The conformance kit, the rehearsal before a run and the run
itself hold every answer against them, so a right answer costs a few array operations: only an error writes numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wtal_core.contracts import Segments


class ContractError(AssertionError):
    """A component does not keep the contract of its kind."""


def require(condition: bool, sentence: str) -> None:
    """Raise `ContractError` with the sentence unless the condition holds."""
    if not condition:
        raise ContractError(sentence)


def patterns(answer: Any, features: Tensor) -> None:
    """What an aggregator returns for features (B, T, D): (B, D)."""
    B, _, D = features.shape
    _tensor("patterns", answer, (B, D), features)


def coefficients(answer: Any, attention: Tensor) -> None:
    """What an aggregator's coefficients are for attention (B, T): (B, T)."""
    require(
        isinstance(answer, Tensor) and answer.shape == attention.shape,
        f"coefficients must be a tensor {tuple(attention.shape)} as the attention is, got {_form(answer)}",
    )


def decoding(answer: Any, features: Tensor, mask: Tensor | None, num_classes: int) -> None:
    """What a decoder returns for features (B, T, D) under mask (B, T)."""
    B, T, D = features.shape
    attention = _attribute(answer, "attention")
    require(
        isinstance(attention, Tensor) and attention.ndim == 3 and attention.shape[1] > 0,
        f"attention must be a tensor (B, S, T) with S >= 1, got {_form(attention)}",
    )
    S = attention.shape[1]
    _tensor("attention", attention, (B, S, T), features, unit=True)
    if mask is not None:
        require(not attention.masked_select(~mask.unsqueeze(1)).any(), "attention must be zero on padding")
    _tensor("patterns", _attribute(answer, "patterns"), (B, S, D), features)
    _tensor("logits", _attribute(answer, "logits"), (B, S, num_classes), features)
    _tensor("class_scores", _attribute(answer, "class_scores"), (B, num_classes), features, unit=True)
    if _attribute(answer, "head_weight") is not None:
        _tensor("head_weight", answer.head_weight, (num_classes, D), features)
    if getattr(answer, "probabilities", None) is not None:
        _tensor("probabilities", answer.probabilities, (B, S, num_classes), features, unit=True)


def terms(answer: Any) -> None:
    """What a decoder's loss returns: named scalar tensors."""
    require(
        isinstance(answer, dict) and bool(answer) and all(isinstance(name, str) for name in answer),
        f"the loss must be a dict of at least one named term, got {answer!r}",
    )
    for name, term in answer.items():
        require(
            isinstance(term, Tensor) and term.shape == () and term.is_floating_point(),
            f"loss term {name!r} must be a scalar tensor, of shape (), got {_form(term)}",
        )
        require(bool(term.isfinite().all()), f"loss term {name!r} must be finite, got {term.item()}")


def maps(answer: Any, num_classes: int, snippets: int) -> None:
    """What an activation returns: attention and response, (C, T) each."""
    require(
        isinstance(answer, tuple) and len(answer) == 2,
        f"an activation returns a tuple of two, attention and response, got {_form(answer)}",
    )
    for name, part in zip(("attention", "response"), answer, strict=True):
        _array(name, part, (num_classes, snippets), np.float64)
        _unit(name, part)


def detections(answer: Any, num_classes: int, start: float, end: float) -> None:
    """What a proposer or a suppressor returns for a video that lasts from `start` to `end`, in seconds."""
    label = _attribute(answer, "label")
    require(isinstance(label, np.ndarray) and label.ndim == 1, f"label must be an array (N,), got {_form(label)}")
    _array("label", label, label.shape, np.int64)
    for name in ("start", "end", "score"):
        _array(name, _attribute(answer, name), label.shape, np.float64)
    if ((label < 0) | (label >= num_classes)).any():
        raise ContractError(f"label must hold class indices from 0 to {num_classes - 1}, got {label.tolist()}")
    for right, what in (
        (answer.start < answer.end, "end after its start"),
        ((answer.start >= start) & (answer.end <= end), f"lie within the video's [{start}, {end})"),
    ):
        if not right.all():
            n = int(np.argmin(right))
            raise ContractError(f"an interval must {what}, got [{answer.start[n]}, {answer.end[n]})")


def evaluation(answer: Any, ground_truth: Mapping[str, Segments], num_classes: int) -> None:
    """What an evaluator returns for a subset whose ground truth is given by video name."""
    thresholds = _attribute(answer, "tiou_thresholds")
    require(
        isinstance(thresholds, np.ndarray) and thresholds.ndim == 1 and thresholds.size > 0,
        f"tiou_thresholds must be an array (K,) with K >= 1, got {_form(thresholds)}",
    )
    K = len(thresholds)
    _array("tiou_thresholds", thresholds, (K,), np.float64)
    _array("mean_ap", _attribute(answer, "mean_ap"), (K,), np.float64)
    _unit("mean_ap", answer.mean_ap)
    precision = _attribute(answer, "average_precision")
    present = {int(label) for truth in ground_truth.values() for label in truth.label if label >= 0}  # -1: ambiguous
    _array("average_precision", precision, (K, num_classes), np.float64, finite=False)
    for c in range(num_classes):
        if c in present:
            _unit(f"average_precision of class {c}, which has instances,", precision[:, c])
        else:
            told = f"average_precision of class {c}, which has no instance, must be NaN, got {precision[:, c].tolist()}"
            require(bool(np.isnan(precision[:, c]).all()), told)
    notes = _attribute(answer, "notes")
    require(
        isinstance(notes, tuple) and all(isinstance(note, str) for note in notes),
        f"notes must be a tuple of sentences, got {notes!r}",
    )


def _attribute(answer: Any, name: str) -> Any:
    require(hasattr(answer, name), f"the answer, a {type(answer).__name__}, has no {name!r}")
    return getattr(answer, name)


def _tensor(name: str, value: Any, shape: tuple[int, ...], like: Tensor, unit: bool = False) -> None:
    require(isinstance(value, Tensor), f"{name} must be a tensor {shape}, got {_form(value)}")
    require(value.shape == shape, f"features {tuple(like.shape)} must give {name} {shape}, got {tuple(value.shape)}")
    require(value.dtype == like.dtype, f"{name} must have the dtype of the features, {like.dtype}, got {value.dtype}")
    require(value.device == like.device, f"{name} must be on the device of the features, {like.device}")
    if not value.isfinite().all():
        raise ContractError(f"{name} must be finite, got {value.tolist()}")
    if unit:
        _unit(name, value)


def _array(name: str, value: Any, shape: tuple[int, ...], dtype: type[np.generic], finite: bool = True) -> None:
    require(
        isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype,
        f"{name} must be an array {shape} of {dtype.__name__}, got {_form(value)}",
    )
    if finite and not np.isfinite(value).all():
        raise ContractError(f"{name} must be finite, got {value.tolist()}")


def _unit(name: str, value: Any) -> None:
    if not ((value >= 0) & (value <= 1)).all():
        raise ContractError(f"{name} must lie in [0, 1], got {value.tolist()}")


def _form(value: Any) -> str:
    if isinstance(value, np.ndarray | torch.Tensor):
        return f"{type(value).__name__} {tuple(value.shape)} of {value.dtype}"
    return type(value).__name__
