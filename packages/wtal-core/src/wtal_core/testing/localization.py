"""The clauses of `contracts.Activation`, `contracts.Proposer` and `contracts.Suppressor`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wtal_core import answers
from wtal_core.answers import require
from wtal_core.contracts import Activation, Detections, FloatArray, Proposer, Suppressor
from wtal_core.localization import VideoDetections, call_proposer
from wtal_core.testing.trial import Example, Trial, check, clause, once, repeats, same_arrays


def check_activation(make: Callable[[], Activation]) -> None:
    """Check an activation, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("activation", make)


def check_proposer(make: Callable[[], Proposer]) -> None:
    """Check a proposer, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("proposer", make)


def check_suppressor(make: Callable[[], Suppressor], *, across_classes: bool = False) -> None:
    """Check a suppressor, given by its class or by whatever builds one.

    Args:
        make: the suppressor, built as `make()`.
        across_classes: it is built with an option by which classes suppress each other, and need not keep them apart.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("suppressor", make, without=(CLASS_BY_CLASS,) if across_classes else ())


class Decoded(NamedTuple):
    """A decoding of one video to read activations from."""

    attention: Tensor  # (1, S, T)
    patterns: Tensor  # (1, S, D)
    logits: Tensor  # (1, S, C)
    class_scores: Tensor  # (1, C)
    head_weight: Tensor | None  # (C, D)
    probabilities: Tensor | None  # (1, S, C)


def decodings(assemblies: int = 1, linear: bool = True) -> Iterator[Example]:
    """Decodings and the features (1, T, D) that they saw, the smallest first, each with attention and without."""
    for T, D, C in ((1, 1, 1), (2, 1, 2), (3, 2, 2), (100, 3, 3)):
        features = (torch.arange(T * D) * 3 % 8 / 4 - 0.75).reshape(1, T, D)
        attended = ((torch.arange(assemblies * T) * 3 + 1) % 4 / 4 + 0.25).reshape(1, assemblies, T)
        for attention in (attended, 0 * attended):
            attention.requires_grad_()  # as a decoder's
            head = nn.Linear(D, C, bias=False)
            with torch.no_grad():
                head.weight.copy_((torch.arange(C * D) * 3 % 4 / 2 - 0.5).reshape(C, D))
            patterns = attention @ features
            logits = head(patterns) if linear else head(patterns).tanh()
            weight, probabilities = (head.weight, None) if linear else (None, logits.sigmoid())
            decoding = Decoded(attention, patterns, logits, logits.sigmoid().amax(1), weight, probabilities)
            yield {"decoding": decoding, "features": features}


def other_decodings() -> Iterator[Example]:
    """Decodings of several assemblies, of a head that is not linear, and of both."""
    for assemblies, linear in ((1, False), (2, True), (2, False)):
        yield from decodings(assemblies, linear)


reading = partial(clause, "activation", decodings)


@reading("a decoding of one assembly and a linear head gives attention and response, (C, T) in [0, 1]")
def _activation_form(trial: Trial, decoding: Decoded, features: Tensor) -> None:
    maps = trial.call(trial.build(), decoding=decoding, features=features)
    answers.maps(maps, decoding.logits.shape[2], features.shape[1])


@reading("decoding, features and the model's gradients stay as they are")
def _activation_untouched(trial: Trial, decoding: Decoded, features: Tensor) -> None:
    trial.call(trial.build(), decoding=decoding, features=features)
    trial.unchanged(decoding=decoding, features=features)
    for tensor in (decoding.attention, decoding.head_weight):
        require(tensor is None or tensor.grad is None, "It left a gradient in the model.")


@reading("a decoding can be read twice, and gives the same maps")
def _activation_again(trial: Trial, **given: Any) -> None:
    repeats(trial, trial.build(), given, decodings, list)


@clause("activation", other_decodings, "any other decoding gives the same form, or is refused by a ValueError")
def _activation_of_others(trial: Trial, decoding: Decoded, features: Tensor) -> None:
    try:
        maps = trial.call(trial.build(), decoding=decoding, features=features)
    except ValueError:
        return
    answers.maps(maps, decoding.logits.shape[2], features.shape[1])


def activations() -> Iterator[Example]:
    """Activation (C, T), class scores (C,), edges (T + 1,) and attention (C, T), the smallest first."""
    for C, T in ((1, 1), (1, 2), (2, 3), (2, 6), (3, 100)):
        rising = (np.arange(C * T) * 3 % 8 / 8 + 0.125).reshape(C, T)
        edges, scores = np.arange(T + 1.0), 1 - np.arange(C) / 4
        for activation, class_scores, times in (
            (rising, scores, edges),
            (rising, scores, 0.5 + edges**2 / 4),  # uneven snippets, the first later than 0
            (0 * rising, scores, edges),
            (np.ones((C, T)), scores, edges),
            (rising, 0 * scores, edges),
        ):
            yield _arguments(activation.copy(), class_scores.copy(), times.copy())


def pulses() -> Iterator[Example]:
    """Activations of two classes that are 0 but in one snippet; the snippets are of very different lengths."""
    for T in (1, 2, 3, 4):
        for t in range(T):
            activation = np.zeros((2, T))
            activation[t % 2, t] = 1
            yield _arguments(activation, np.ones(2), np.cumsum([2.0, 5.0, 1.0, 0.25, 3.0][: T + 1]))


def _arguments(activation: FloatArray, class_scores: FloatArray, edges: FloatArray) -> Example:
    attention = (activation[:, ::-1] + activation) / 2
    return {"activation": activation, "class_scores": class_scores, "edges": edges, "attention": attention}


def _proposer(trial: Trial) -> Callable[..., Any]:
    """A new proposer, as the host calls it: with the attention if it names it."""
    return partial(call_proposer, trial.build())


proposing = partial(clause, "proposer", activations)


@proposing("detections are arrays (N,) of known classes, intervals within the edges, finite scores")
def _proposer_form(trial: Trial, **given: Any) -> None:
    found = trial.call(_proposer(trial), **given)
    answers.detections(found, len(given["activation"]), given["edges"][0], given["edges"][-1])


@clause("proposer", once, "attention, if its call names it, is None where it is not given")
def _proposer_attention(trial: Trial) -> None:
    parameter = inspect.signature(trial.build()).parameters.get("attention")
    require(parameter is None or parameter.default is None, "It has no such default.")


@proposing("its arguments stay as they are")
def _proposer_untouched(trial: Trial, **given: Any) -> None:
    trial.call(_proposer(trial), **given)
    trial.unchanged(**given)


@proposing("the same arguments give the same detections")
def _proposer_again(trial: Trial, **given: Any) -> None:
    repeats(trial, _proposer(trial), given, activations, _parts)


@proposing("time comes from the edges alone: later edges give later intervals, and nothing else changes")
def _proposer_time(trial: Trial, **given: Any) -> None:
    label, start, end, score = _parts(_proposer(trial)(*given.values()))
    late = trial.call(_proposer(trial), **{**given, "edges": given["edges"] + 8})
    same_arrays([label, start + 8, end + 8, score], _parts(late))


@clause(
    "proposer", pulses, "snippet t lasts from edges[t] to edges[t + 1]: if it alone is active, the best overlaps it"
)
def _proposer_place(trial: Trial, **given: Any) -> None:
    found = trial.call(_proposer(trial), **given)
    label, start, end, score = _parts(found)
    (c,), (t,) = given["activation"].nonzero()
    first, last = given["edges"][t : t + 2]
    best = score == score.max(initial=-np.inf)
    right = (label == c) & (start < last) & (end > first)
    told = f"Class {c} is active in [{first}, {last}), and the answer is {_rows(found)}."
    require(not len(label) or bool((best & right).any()), told)


CLASS_BY_CLASS = "what it does to one class depends on no other"


def crowds() -> Iterator[Example]:
    """Detections of one video, the smallest first: none, one, overlaps in and across classes, equal scores, many."""
    few = [
        (0, 0.0, 2.0, 0.5),
        (0, 0.0, 2.0, 0.25),
        (1, 0.0, 2.0, 0.375),
        (0, 1.0, 3.0, 0.75),
        (1, 8.0, 9.0, 0.125),
        (0, 0.25, 2.0, 1.0),
        (1, 8.25, 9.25, 0.125),
    ]
    many = [(n % 2, n * 7 % 50 / 2, n * 7 % 50 / 2 + 1 + n % 5, n * 13 % 60 / 64) for n in range(60)]
    for rows in (*(few[:N] for N in range(len(few) + 1)), many):
        label, start, end, score = np.array(rows).reshape(-1, 4).T.copy()
        yield {"detections": VideoDetections(label.astype(np.int64), start, end, score)}


suppressing = partial(clause, "suppressor", crowds)


@suppressing("detections are arrays (N,), of as many classes and within the same time as those given")
def _suppressor_form(trial: Trial, detections: VideoDetections) -> None:
    kept = trial.call(trial.build(), detections=detections)
    answers.detections(kept, 2, detections.start.min(initial=0.0), detections.end.max(initial=0.0))


@suppressing("its argument stays as it is")
def _suppressor_untouched(trial: Trial, detections: VideoDetections) -> None:
    trial.call(trial.build(), detections=detections)
    trial.unchanged(detections=detections)


@suppressing("the same detections give the same answer")
def _suppressor_again(trial: Trial, **given: Any) -> None:
    repeats(trial, trial.build(), given, crowds, _parts)


@suppressing("what it keeps was given, once for each time, and with no higher score")
def _suppressor_subset(trial: Trial, detections: VideoDetections) -> None:
    left = _rows(detections)
    for row in _rows(trial.call(trial.build(), detections=detections)):
        origin = next((one for one in left if one[:3] == row[:3] and one[3] >= row[3]), None)
        require(origin is not None, f"Of {left} none is {row}.")
        assert origin is not None
        left.remove(origin)


@suppressing("the best detection, and what overlaps no other, stay as they are")
def _suppressor_keeps(trial: Trial, detections: VideoDetections) -> None:
    rows = _rows(detections)
    kept = _rows(trial.call(trial.build(), detections=detections))
    best = max(rows, key=lambda row: row[3], default=None)
    for row in rows:
        free = all(row is other or row[2] <= other[1] or other[2] <= row[1] for other in rows)
        require(row in kept or not (free or row is best), f"{row} became part of {kept}.")


@suppressing("the order of the detections decides nothing")
def _suppressor_order(trial: Trial, detections: VideoDetections) -> None:
    expected = sorted(_rows(trial.build()(detections)))
    backwards = _take(detections, np.arange(len(detections.label))[::-1])
    got = sorted(_rows(trial.call(trial.build(), detections=backwards)))
    require(got == expected, f"It keeps {got}, and {expected} in the opposite order.")


@suppressing(CLASS_BY_CLASS)
def _suppressor_classes(trial: Trial, detections: VideoDetections) -> None:
    for label in (0, 1):
        alone = _take(detections, detections.label == label)
        expected = sorted(_rows(trial.build()(alone)))
        got = sorted(row for row in _rows(trial.call(trial.build(), detections=detections)) if row[0] == label)
        require(got == expected, f"Of class {label} it keeps {got}, and {expected} where that class is alone.")


def _take(detections: VideoDetections, which: NDArray[Any]) -> VideoDetections:
    return VideoDetections(*(part[which].copy() for part in detections))


def _parts(detections: Detections) -> list[Any]:
    return [detections.label, detections.start, detections.end, detections.score]


def _rows(detections: Detections) -> list[tuple[float, float, float, float]]:
    return [tuple(map(float, row)) for row in zip(*_parts(detections), strict=True)]  # type: ignore[misc]
