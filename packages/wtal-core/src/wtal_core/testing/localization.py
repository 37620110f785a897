"""The clauses of `contracts.Activation`, `contracts.Proposer` and `contracts.Suppressor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wtal_core.contracts import Activation, Detections, FloatArray, Proposer, Suppressor
from wtal_core.localization import VideoDetections
from wtal_core.testing import answers
from wtal_core.testing.answers import require
from wtal_core.testing.trial import Trial, check, clause, shown


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


def check_suppressor(make: Callable[[], Suppressor]) -> None:
    """Check a suppressor, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("suppressor", make)


class Decoded(NamedTuple):
    """A decoding of one video to read activations from."""

    attention: Tensor  # (1, S, T)
    patterns: Tensor  # (1, S, D)
    logits: Tensor  # (1, S, C)
    class_scores: Tensor  # (1, C)
    head_weight: Tensor | None  # (C, D)


def decodings(assemblies: int, linear: bool) -> Iterator[tuple[Decoded, Tensor, nn.Linear]]:
    """Decodings with the features (1, T, D) that they saw and the head that made the logits, the smallest first."""
    for T, D, C in ((1, 1, 1), (2, 1, 2), (3, 2, 2)):
        features = (torch.arange(T * D) * 3 % 8 / 4 - 0.75).reshape(1, T, D)
        attention = ((torch.arange(assemblies * T) * 3 + 1) % 4 / 4 + 0.25).reshape(1, assemblies, T)
        head = nn.Linear(D, C, bias=False)
        with torch.no_grad():
            head.weight.copy_((torch.arange(C * D) * 3 % 4 / 2 - 0.5).reshape(C, D))
        patterns = (attention @ features).requires_grad_()
        logits = head(patterns) if linear else head(patterns).tanh()
        scores = logits.sigmoid().amax(1)
        yield Decoded(attention, patterns, logits, scores, head.weight if linear else None), features, head


@clause("activation", "a decoding of one assembly and a linear head gives attention and response, (C, T) in [0, 1]")
def _activation_form(trial: Trial) -> None:
    activation = trial.build()
    for decoding, features, _ in decodings(1, linear=True):
        maps = trial.call(activation, decoding=decoding, features=features)
        answers.maps(maps, decoding.logits.shape[2], features.shape[1])


@clause("activation", "decoding, features and the model's gradients stay as they are")
def _activation_untouched(trial: Trial) -> None:
    activation = trial.build()
    for decoding, features, head in decodings(1, linear=True):
        trial.call(activation, decoding=decoding, features=features)
        trial.unchanged(decoding=decoding, features=features)
        require(head.weight.grad is None, "It left a gradient in the weight of the head.")


@clause("activation", "a decoding can be read twice, and gives the same maps")
def _activation_again(trial: Trial) -> None:
    activation = trial.build()
    for decoding, features, _ in decodings(1, linear=True):
        first = [part.copy() for part in activation(decoding, features)]
        again = trial.call(activation, decoding=decoding, features=features)
        _same_arrays(first, again)


@clause("activation", "any other decoding gives the same form, or is refused by a ValueError")
def _activation_of_others(trial: Trial) -> None:
    activation = trial.build()
    for assemblies, linear in ((1, False), (2, True), (2, False)):
        for decoding, features, _ in decodings(assemblies, linear):
            try:
                maps = trial.call(activation, decoding=decoding, features=features)
            except answers.ContractError as error:
                if isinstance(error.__cause__, ValueError):
                    continue
                raise
            answers.maps(maps, decoding.logits.shape[2], features.shape[1])


def activations() -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Activation (C, T), class scores (C,) and edges (T + 1,), the smallest first."""
    for C, T in ((1, 1), (1, 2), (2, 3), (2, 6)):
        rising = (np.arange(C * T) * 3 % 8 / 8 + 0.125).reshape(C, T)
        edges = np.arange(T + 1.0)
        scores = 1 - np.arange(C) / 4
        yield rising, scores, edges
        yield rising, scores, 0.5 + edges**2 / 4  # uneven snippets, the first later than 0
        yield np.zeros((C, T)), scores, edges
        yield np.ones((C, T)), scores, edges
        yield rising, np.zeros(C), edges


@clause("proposer", "detections are arrays (N,) of known classes, intervals within the edges, finite scores")
def _proposer_form(trial: Trial) -> None:
    proposer = trial.build()
    for activation, scores, edges in activations():
        found = trial.call(proposer, activation=activation, class_scores=scores, edges=edges)
        answers.detections(found, len(activation), edges[0], edges[-1])


@clause("proposer", "its arguments stay as they are")
def _proposer_untouched(trial: Trial) -> None:
    proposer = trial.build()
    for arrays in activations():
        given = dict(zip(("activation", "class_scores", "edges"), arrays, strict=True))
        trial.call(proposer, **given)
        trial.unchanged(**given)


@clause("proposer", "the same arguments give the same detections")
def _proposer_again(trial: Trial) -> None:
    proposer = trial.build()
    for given in activations():
        first = [part.copy() for part in _parts(proposer(*given))]
        again = trial.call(proposer, **dict(zip(("activation", "class_scores", "edges"), given, strict=True)))
        _same_arrays(first, _parts(again))


@clause("proposer", "time comes from the edges alone: later edges give later intervals, and nothing else changes")
def _proposer_time(trial: Trial) -> None:
    proposer = trial.build()
    for activation, scores, edges in activations():
        label, start, end, score = _parts(proposer(activation, scores, edges))
        late = trial.call(proposer, activation=activation, class_scores=scores, edges=edges + 8)
        _same_arrays([label, start + 8, end + 8, score], _parts(late))


def crowds() -> Iterator[VideoDetections]:
    """Detections of one video, the smallest first: none, one, one twice, overlaps within and across two classes."""
    rows = np.array(
        [
            (0, 0.0, 2.0, 0.5),
            (0, 0.0, 2.0, 0.25),
            (1, 0.0, 2.0, 0.375),
            (0, 1.0, 3.0, 0.75),
            (1, 8.0, 9.0, 0.125),
            (0, 0.25, 2.0, 1.0),
        ]
    )
    for N in range(len(rows) + 1):
        label, start, end, score = rows[:N].T.copy()
        yield VideoDetections(label.astype(np.int64), start, end, score)


@clause("suppressor", "detections are arrays (N,), of as many classes and within the same time as those given")
def _suppressor_form(trial: Trial) -> None:
    suppressor = trial.build()
    for crowd in crowds():
        kept = trial.call(suppressor, detections=crowd)
        answers.detections(kept, 2, crowd.start.min(initial=0.0), crowd.end.max(initial=0.0))


@clause("suppressor", "its argument stays as it is")
def _suppressor_untouched(trial: Trial) -> None:
    suppressor = trial.build()
    for crowd in crowds():
        trial.call(suppressor, detections=crowd)
        trial.unchanged(detections=crowd)


@clause("suppressor", "the same detections give the same answer")
def _suppressor_again(trial: Trial) -> None:
    suppressor = trial.build()
    for crowd in crowds():
        first = [part.copy() for part in _parts(suppressor(crowd))]
        _same_arrays(first, _parts(trial.call(suppressor, detections=crowd)))


@clause("suppressor", "what it keeps was given, once for each time, and with no higher score")
def _suppressor_subset(trial: Trial) -> None:
    suppressor = trial.build()
    for crowd in crowds():
        left = _rows(crowd)
        for row in _rows(trial.call(suppressor, detections=crowd)):
            origin = next((one for one in left if one[:3] == row[:3] and one[3] >= row[3]), None)
            require(origin is not None, f"Of {left} none is {row}.")
            assert origin is not None
            left.remove(origin)


@clause("suppressor", "the best detection, and what overlaps no other, stay as they are")
def _suppressor_keeps(trial: Trial) -> None:
    suppressor = trial.build()
    for crowd in crowds():
        rows = _rows(crowd)
        kept = _rows(trial.call(suppressor, detections=crowd))
        best = max(rows, key=lambda row: row[3], default=None)
        for row in rows:
            free = all(row is other or row[2] <= other[1] or other[2] <= row[1] for other in rows)
            require(row in kept or not (free or row is best), f"{row} became part of {kept}.")


@clause("suppressor", "the order of the detections decides nothing")
def _suppressor_order(trial: Trial) -> None:
    suppressor = trial.build()
    for crowd in crowds():
        expected = sorted(_rows(suppressor(crowd)))
        label, start, end, score = (part[::-1].copy() for part in _parts(crowd))
        got = sorted(_rows(trial.call(suppressor, detections=VideoDetections(label, start, end, score))))
        require(got == expected, f"It keeps {got}, and {expected} in the opposite order.")


def _parts(detections: Detections) -> list[Any]:
    return [detections.label, detections.start, detections.end, detections.score]


def _rows(detections: Detections) -> list[tuple[float, float, float, float]]:
    return [tuple(map(float, row)) for row in zip(*_parts(detections), strict=True)]  # type: ignore[misc]


def _same_arrays(first: Any, again: Any) -> None:
    same = all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=1e-9)
        for one, other in zip(first, again, strict=True)
    )
    require(same, f"It gave {[shown(part) for part in first]}, then {[shown(part) for part in again]}.")
