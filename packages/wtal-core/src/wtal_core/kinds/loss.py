"""Losses: terms that are learnt from beside the decoder's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wtal_core import binding, contracts
from wtal_core.answers import require
from wtal_core.contracts import Batch, Targets
from wtal_core.discovery import Component
from wtal_core.errors import PluginError
from wtal_core.kinds.activation import Decoded
from wtal_core.kinds.decoder import OPTIONAL, loss_terms
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Example, Trial, clause, shown


class Loss(Protocol):
    """Terms that training adds to the decoder's. An `nn.Module`, if it has something to learn itself.

    It says by `needs` which optional fields it reads, such as `("snippet_logits", "targets.snippets")`: fields of the
    decoding, and those of the targets after `targets.`; before training the host asks whether they are there.
    """

    def __call__(self, decoding: contracts.Decoding, batch: Batch) -> Mapping[str, Tensor]:
        """Map a batch's decoding to named scalar terms, of shape () and already weighted."""


class Bound(binding.Bound):
    """A loss in its wrapper."""

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        super().__init__(made, component, given)
        needs = getattr(made, "needs", ())
        known = {*contracts_fields(), *(f"targets.{name}" for name in Targets._fields)}
        if not isinstance(needs, tuple | list) or not set(needs) <= known:
            raise PluginError(f"{component}: needs must be names among {', '.join(sorted(known))}; got {needs!r}")
        self.needs = tuple(needs)

    def check(self, answer: Any, *_: Any) -> None:
        """Named scalars."""
        loss_terms(answer)


def contracts_fields() -> list[str]:
    """The fields of a decoding."""
    return [name for name in vars(contracts.Decoding) if not name.startswith("_")]


def missing(bound: Bound, decoding: Any, targets: Targets) -> list[str]:
    """The fields that a loss needs and does not find."""
    found = {name: getattr(decoding, name) for name in contracts_fields()}
    found |= {f"targets.{name}": value for name, value in targets._asdict().items()}
    return [name for name in bound.needs if found[name] is None]


# Clauses of the kit


def batches() -> Iterator[Example]:
    """Decodings of batches with every part, and the batches; the last with hidden snippets. The smallest first."""
    for B, T, E, C, holes in ((1, 1, 1, 1, False), (2, 2, 1, 2, False), (3, 9, 2, 3, False), (3, 9, 2, 3, True)):
        features = inputs.numbers(B, T, E)
        mask = inputs.all_seen(features)
        if holes:
            mask[0, 4], mask[1, 6:] = False, False
        attention = (inputs.shares(B, 1, T) * mask.unsqueeze(1)).requires_grad_()
        head = torch.linspace(-1, 1, C * E).reshape(C, E).requires_grad_()
        embedded = features.clone().requires_grad_()
        pooled = attention @ embedded / T
        logits = pooled @ head.T
        labels = torch.eye(C)[torch.arange(B) % C]
        teacher = (labels.unsqueeze(2) * (torch.arange(T) % 2)).masked_fill(~mask.unsqueeze(1), torch.nan)
        scores, snippets, background = logits.squeeze(1).sigmoid(), embedded @ head.T, embedded.mean(2)
        decoding = Decoded(embedded, attention, scores, pooled, logits, snippets, background, head)
        rows = torch.arange(T).expand(B, T).masked_fill(~mask, -1)
        batch = Batch(features, mask if holes else None, Targets(labels, 2 * labels, teacher), rows)
        yield {"decoding": decoding, "batch": batch}


promise = partial(clause, "loss", batches)

#: The parts of a decoding over time, and the dimension that is time.
TIME = {"features": 1, "attention": 2, "snippet_logits": 1, "background_logits": 1}


def _build(trial: Trial, batch: Batch, seed: int = 0) -> Any:
    return trial.build(seed, num_classes=batch.targets.labels.shape[1])


@promise("it is a dict of named finite scalars, whose sum has a finite gradient")
def _form(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    terms = trial.call(_build(trial, batch), decoding=decoding, batch=batch)
    loss_terms(terms)
    total = torch.stack(list(terms.values())).sum() if terms else torch.zeros(())
    if not total.requires_grad:
        require(not total, "It is cut from the graph, and not zero, as where it has nothing to say.")
        return
    leaves = [part for part in (decoding.features, decoding.attention, decoding.head_weight) if part is not None]
    for gradient in torch.autograd.grad(total, leaves, allow_unused=True):
        require(gradient is None or bool(gradient.isfinite().all()), "Its gradient is not finite.")


@promise("its arguments stay as they are")
def _untouched(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    trial.call(_build(trial, batch), decoding=decoding, batch=batch)
    trial.unchanged(decoding=decoding, batch=batch)


def _drawn(trial: Trial, loss: Any, decoding: Decoded, batch: Batch) -> Mapping[str, Tensor]:
    torch.manual_seed(0)
    answer: Mapping[str, Tensor] = trial.call(loss, decoding=decoding, batch=batch)
    return answer


@promise("it depends on nothing but its arguments, torch's generator, and what the state_dict of an nn.Module holds")
def _state(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    def answer(loss: Any) -> list[Tensor]:
        return list(_drawn(trial, loss, decoding, batch).values())

    built = _build(trial, batch)
    if isinstance(built, nn.Module):
        demands.remembers(lambda seed: _build(trial, batch, seed), answer)
        return
    first = answer(built)
    for again in (answer(built), answer(_build(trial, batch, 1))):
        require(all(map(demands.same, first, again)), f"It gave {shown(first)}, then {shown(again)}.")


@promise("a snippet that the mask hides, padding at the end or a hole, has no part in it")
def _hidden(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    mask = inputs.all_seen(batch.features) if batch.mask is None else batch.mask
    end, hole = inputs.places(mask)

    def terms(at: int, value: float) -> Mapping[str, Tensor]:
        parts: dict[str, Any] = {
            name: inputs.opened(getattr(decoding, name), at, 0 if name == "attention" else value, dim)
            for name, dim in TIME.items()
        }
        x, seen, rows = (
            inputs.opened(batch.features, at, value),
            inputs.opened(mask, at, False),
            inputs.opened(batch.rows, at, -1),
        )
        taught = None if batch.targets.snippets is None else inputs.opened(batch.targets.snippets, at, torch.nan, 2)
        given = Batch(x, seen, batch.targets._replace(snippets=taught), rows)
        return _drawn(trial, _build(trial, batch), decoding._replace(**parts), given)

    expected = _drawn(trial, _build(trial, batch), decoding, batch)
    # A hole may part neighbours, so that there one hidden snippet is held against another.
    for at, without in ((end, expected), (hole, terms(hole, 0))):
        got = terms(at, 8)
        told = f"With another snippet hidden, or none, it is {shown(without)}, here {shown(got)}."
        require(got.keys() == without.keys() and all(demands.same(got[name], without[name]) for name in got), told)


@promise("the optional fields that it names in `needs` are all that it needs")
def _needs(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    built = _build(trial, batch)
    needs = set(getattr(built, "needs", ()))
    fewer = decoding._replace(**dict.fromkeys([name for name in OPTIONAL if name not in needs]))  # type: ignore[arg-type]
    kept = {
        name: value for name, value in batch.targets._asdict().items() if name == "labels" or f"targets.{name}" in needs
    }
    terms = trial.call(built, decoding=fewer, batch=batch._replace(targets=Targets(**kept)))
    loss_terms(terms)
