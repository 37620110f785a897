"""Holding every answer of a run against the contract, at the cost of a few array operations.

`testing.answers` says what is wrong with an answer, number by number, which takes longer than most components do. Here
each answer gets a glance, and only what does not pass it is put before `testing.answers`, which decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def hold_patterns(answer: Any, features: Tensor) -> None:
    """Raise `ContractError` unless an aggregator's answer to features (B, T, D) is right."""
    B, _, D = features.shape
    _hold("patterns", lambda: _tensor(answer, (B, D), features), answer, features)


def hold_decoding(answer: Any, features: Tensor, num_classes: int) -> None:
    """Raise `ContractError` unless a decoder's answer to features (B, T, D) without padding is right."""
    B, T, D = features.shape

    def glance() -> bool:
        S, weight = answer.attention.shape[1], answer.head_weight
        probabilities = getattr(answer, "probabilities", None)
        return (
            S > 0
            and _tensor(answer.attention, (B, S, T), features, unit=True)
            and _tensor(answer.patterns, (B, S, D), features)
            and _tensor(answer.logits, (B, S, num_classes), features)
            and _tensor(answer.class_scores, (B, num_classes), features, unit=True)
            and (weight is None or _tensor(weight, (num_classes, D), features))
            and (probabilities is None or _tensor(probabilities, (B, S, num_classes), features, unit=True))
        )

    _hold("decoding", glance, answer, features, None, num_classes)


def hold_maps(answer: Any, num_classes: int, snippets: int) -> None:
    """Raise `ContractError` unless an activation's answer, two maps (C, T), is right."""
    shape = (num_classes, snippets)

    def glance() -> bool:
        return len(answer) == 2 and all(_array(p, shape) and p.min() >= 0 and p.max() <= 1 for p in answer)

    _hold("maps", lambda: isinstance(answer, tuple) and glance(), answer, num_classes, snippets)


def hold_detections(answer: Any, num_classes: int, start: float, end: float) -> None:
    """Raise `ContractError` unless a proposer's or suppressor's answer, within [start, end] seconds, is right."""

    def glance() -> bool:
        label, shape = answer.label, answer.label.shape
        return (
            len(shape) == 1
            and label.dtype == np.int64
            and all(_array(part, shape) for part in (answer.start, answer.end, answer.score))
            and bool(np.isfinite(answer.score).all())
            and bool(((label >= 0) & (label < num_classes)).all())
            and bool(((start <= answer.start) & (answer.start < answer.end) & (answer.end <= end)).all())
        )

    _hold("detections", glance, answer, num_classes, start, end)


def _hold(what: str, glance: Callable[[], bool], *given: Any) -> None:
    from wtal_core.testing import answers  # here, because the conformance kit imports the host

    try:
        right = glance()
    except Exception:  # an answer of any form
        right = False
    if not right:
        getattr(answers, what)(*given)


def _tensor(value: Tensor, shape: tuple[int, ...], like: Tensor, unit: bool = False) -> bool:
    if value.shape != shape or value.dtype != like.dtype or value.device != like.device:
        return False
    if unit:
        low, high = torch.aminmax(value.detach())
        return bool((low >= 0) & (high <= 1))
    return bool(value.detach().sum().isfinite())  # NaN and infinity stay in a sum; reading each takes ten times longer


def _array(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.shape == shape and value.dtype == np.float64
