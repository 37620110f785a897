"""Activations: they read from a decoding how strongly each class is seen in each snippet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from wtal_core import answers, binding, contracts
from wtal_core.answers import require
from wtal_core.contracts import ActivationMaps, Intervals
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Example, Trial, clause


class Activation(Protocol):
    """Reads class activations over time from one video's decoding."""

    def __call__(self, decoding: contracts.Decoding) -> ActivationMaps:
        """Map a decoding of one video (B = 1), in which every optional field is there or None, to (C, T) maps.

        A decoding without a part that it reads, or of several assemblies, may be refused by a `ValueError`. An
        activation may smooth over time, or leave a map constant: the kit holds no map against the order of snippets.
        """


class Bound(binding.Bound):
    """An activation in its wrapper."""

    def check(self, answer: Any, decoding: Any) -> None:
        """Attention and response, (C, T) each, in [0, 1]."""
        require(
            isinstance(answer, tuple) and len(answer) == 2,
            f"an activation returns a tuple of two, attention and response, got {answers.form(answer)}",
        )
        shape = decoding.class_scores.shape[1], decoding.features.shape[1]
        for name, part in zip(("attention", "response"), answer, strict=True):
            answers.array(name, part, shape, np.float64)
            answers.unit(name, part)


# Clauses of the kit


class Decoded(NamedTuple):
    """A decoding of one video to read activations from."""

    features: Tensor  # (1, T, E)
    attention: Tensor  # (1, S, T)
    class_scores: Tensor  # (1, C)
    pooled: Tensor | None  # (1, S, E)
    logits: Tensor | None  # (1, S, C)
    snippet_logits: Tensor | None  # (1, T, C)
    background_logits: Tensor | None = None  # (1, T)
    head_weight: Tensor | None = None  # (C, E)
    probabilities: Tensor | None = None  # (1, S, C)
    intervals: Intervals | None = None


def decodings(assemblies: int = 1, linear: bool = True) -> Iterator[Example]:
    """Decodings with every part that the head allows, the smallest first, each with attention and without."""
    for T, E, C in ((1, 1, 1), (2, 1, 2), (3, 2, 2), (100, 3, 3)):
        features, attended = inputs.numbers(1, T, E), inputs.shares(1, assemblies, T)
        for attention in (attended, 0 * attended):
            attention.requires_grad_()  # as a decoder's
            head = nn.Linear(E, C, bias=False)
            with torch.no_grad():
                head.weight.copy_((torch.arange(C * E) * 3 % 4 / 2 - 0.5).reshape(C, E))
            pooled = attention @ features
            logits = head(pooled) if linear else head(pooled).tanh()
            own = {"head_weight": head.weight} if linear else {"probabilities": logits.sigmoid()}
            scores = logits.sigmoid().amax(1)
            yield {"decoding": Decoded(features, attention, scores, pooled, logits, head(features), **own)}


def other_decodings() -> Iterator[Example]:
    """Decodings of several assemblies, of a head that is not linear, of both; and each without one of its parts."""
    for assemblies, linear in ((1, False), (2, True), (2, False)):
        yield from decodings(assemblies, linear)
    for example in decodings():
        full: Decoded = example["decoding"]
        yield {"decoding": full._replace(pooled=None, logits=None)}
        yield {"decoding": full._replace(snippet_logits=None)}
        yield {"decoding": full._replace(background_logits=full.features.mean(2))}
        yield {"decoding": full._replace(pooled=None, logits=None, head_weight=None)}


reading = partial(clause, "activation", decodings)


reading("a decoding with every part, one assembly and a linear head, gives attention and response, (C, T) in [0, 1]")(
    demands.form
)


@reading("decoding and the model's gradients stay as they are")
def _untouched(trial: Trial, decoding: Decoded) -> None:
    trial.call(trial.build(), decoding=decoding)
    trial.unchanged(decoding=decoding)
    for tensor in (decoding.attention, decoding.head_weight):
        require(tensor is None or tensor.grad is None, "It left a gradient in the model.")


reading("a decoding can be read twice, and gives the same maps")(demands.repeats(list))


@reading("the classes of a decoding in another order give the maps in that order")
def _classes(trial: Trial, decoding: Decoded) -> None:
    C = decoding.class_scores.shape[1]
    order = torch.arange(C).roll(1)
    order[:2] = order[:2].flip(0)
    turned = decoding._replace(
        head_weight=None if decoding.head_weight is None else decoding.head_weight[order],
        **{
            name: part.index_select(-1, order)
            for name in ("class_scores", "logits", "snippet_logits", "probabilities")
            if (part := getattr(decoding, name)) is not None
        },
    )
    expected = trial.build()(decoding)
    got = trial.call(trial.build(), decoding=turned)
    demands.same_arrays([part[order.numpy()] for part in expected], got)


@clause("activation", other_decodings, "any other decoding gives the same form, or is refused by a ValueError")
def _others(trial: Trial, **given: Any) -> None:
    demands.form_or_refusal(trial, **given)
