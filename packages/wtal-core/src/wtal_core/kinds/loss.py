"""Losses: terms that are learnt from beside the decoder's own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from wtal_core import binding, contracts
from wtal_core.answers import require
from wtal_core.contracts import Batch, Targets
from wtal_core.discovery import Component
from wtal_core.errors import PluginError
from wtal_core.kinds.activation import Decoded
from wtal_core.kinds.decoder import OPTIONAL, loss_terms
from wtal_core.testing.trial import Example, Trial, clause, same


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
        features = (torch.arange(B * T * E) * 3 % 8 / 4 - 0.75).reshape(B, T, E)
        mask = torch.ones(B, T, dtype=torch.bool)
        if holes:
            mask[0, 4], mask[1, 6:] = False, False
        attention = (((torch.arange(B * T) * 3 + 1) % 4 / 4 + 0.25).reshape(B, 1, T)) * mask.unsqueeze(1)
        head = torch.linspace(-1, 1, C * E).reshape(C, E).requires_grad_()
        embedded = features.clone().requires_grad_()
        attention = attention.requires_grad_()
        pooled = attention @ embedded / T
        logits = pooled @ head.T
        labels = torch.eye(C)[torch.arange(B) % C]
        teacher = (labels.unsqueeze(2) * (torch.arange(T) % 2)).masked_fill(~mask.unsqueeze(1), torch.nan)
        decoding = Decoded(
            embedded,
            attention,
            logits.squeeze(1).sigmoid(),
            pooled,
            logits,
            embedded @ head.T,
            embedded.mean(2),
            head,
            None,
        )
        rows = torch.arange(T).expand(B, T).masked_fill(~mask, -1)
        batch = Batch(features, mask if holes else None, Targets(labels, 2 * labels, teacher), rows)
        yield {"decoding": decoding, "batch": batch}


promise = partial(clause, "loss", batches)


def _build(trial: Trial, batch: Batch) -> Any:
    asked = "num_classes" in inspect.signature(trial.make).parameters
    return trial.build(**({"num_classes": batch.targets.labels.shape[1]} if asked else {}))


@promise("it is a dict of named finite scalars, whose sum has a finite gradient")
def _form(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    terms = trial.call(_build(trial, batch), decoding=decoding, batch=batch)
    loss_terms(terms)
    total = torch.stack(list(terms.values())).sum() if terms else torch.zeros(())
    if not total.requires_grad:  # nothing in this batch that it has a word about
        return
    leaves = [part for part in (decoding.features, decoding.attention, decoding.head_weight) if part is not None]
    for gradient in torch.autograd.grad(total, leaves, allow_unused=True):
        require(gradient is None or bool(gradient.isfinite().all()), "Its gradient is not finite.")


@promise("its arguments stay as they are")
def _untouched(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    trial.call(_build(trial, batch), decoding=decoding, batch=batch)
    trial.unchanged(decoding=decoding, batch=batch)


@promise("what a hidden snippet holds has no part in it")
def _hidden(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    if batch.mask is None:
        return
    unseen = ~batch.mask
    other = decoding._replace(
        features=decoding.features.masked_fill(unseen.unsqueeze(2), 8),
        snippet_logits=None
        if decoding.snippet_logits is None
        else decoding.snippet_logits.masked_fill(unseen.unsqueeze(2), 8),
        background_logits=None
        if decoding.background_logits is None
        else decoding.background_logits.masked_fill(unseen, 8),
    )
    torch.manual_seed(0)
    expected = _build(trial, batch)(decoding, batch)
    torch.manual_seed(0)
    got = trial.call(_build(trial, batch), decoding=other, batch=batch)
    for name, term in expected.items():
        require(
            same(term, got[name]),
            f"Term {name!r} is {term.item()}, with something else in the hole {got[name].item()}.",
        )


@promise("the fields that it names in `needs` are all that it reads of the optional ones")
def _needs(trial: Trial, decoding: Decoded, batch: Batch) -> None:
    built = _build(trial, batch)
    needs = set(getattr(built, "needs", ()))
    fewer = decoding._replace(**dict.fromkeys([name for name in OPTIONAL if name not in needs]))  # type: ignore[arg-type]
    kept = {
        name: value for name, value in batch.targets._asdict().items() if name == "labels" or f"targets.{name}" in needs
    }
    terms = trial.call(built, decoding=fewer, batch=batch._replace(targets=Targets(**kept)))
    loss_terms(terms)
