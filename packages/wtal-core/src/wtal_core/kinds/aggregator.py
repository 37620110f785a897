"""Aggregators: they pool the features of a video's snippets under an attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wtal_core import answers
from wtal_core.answers import require
from wtal_core.binding import blaming, checking
from wtal_core.discovery import Component
from wtal_core.errors import PluginError
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Example, Trial, clause


class Aggregator(Protocol):
    """Pools snippet features under an attention, as an `nn.Module`.

    Built as `cls(**options)`: it is not told E, and works for any. One whose signature has `num_classes` is given that,
    and pools under an attention for each class, S = C. One that is linear in the features may also give
    `coefficients(attention, mask=None)`, the weight (B, T) or (B, S, T) of each snippet in each answer, zero if hidden.
    """

    def __call__(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map features (B, T, E), attention (B, T) or (B, S, T) in [0, 1] and mask (B, T) to (B, E) or (B, S, E)."""


class Bound(nn.Module):
    """An aggregator in its wrapper, a module itself, because a decoder holds it.

    It says of itself whatever goes wrong in it, so that the decoder around it is not blamed.
    """

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        super().__init__()
        if not isinstance(made, nn.Module):
            raise PluginError(f"{component} must be an nn.Module, got {type(made).__name__}")
        self.made = made
        self.component = component
        self.num_classes: int | None = given.get("num_classes")

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """The pooled features."""
        with blaming(self.component):
            answer: Tensor = self.made(features, attention, mask)
            # Where an argument is not finite, it was not the aggregator that first went wrong.
            sound = checking() and bool(features.isfinite().all() & attention.isfinite().all())
            pooled(answer, features, attention, self.num_classes, values=False)
            if sound and not answer.isfinite().all():
                raise answers.ContractError(f"pooled features must be finite, got {answer.tolist()}")
        return answer

    def __getattr__(self, name: str) -> Any:
        """What else it has, such as `coefficients`, whose failures are its own too."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            found = getattr(super().__getattr__("made"), name)
        return partial(self._call, found) if inspect.ismethod(found) else found

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with blaming(self.component):
            return method(*arguments, **options)

    def rehearse(self, num_classes: int) -> None:
        """Try it on a small example."""
        features = torch.rand(2, 6, 8)
        for attention in (torch.rand(2, 6), torch.rand(2, num_classes, 6)):
            self(features, attention, None)


def pooled(answer: Any, features: Tensor, attention: Tensor, num_classes: int | None, values: bool = True) -> None:
    """Hold an answer against the contract: (B, E), or (B, S, E) under S attentions or if it was told of S classes."""
    several = num_classes is not None and isinstance(answer, Tensor) and answer.ndim == 3
    rows = (len(features), num_classes) if attention.ndim == 2 and several else attention.shape[:-1]
    answers.tensor("pooled features", answer, (*rows, features.shape[2]), features, values=values)


# Clauses of the kit

SIZES = ((1, 1, 1), (1, 2, 1), (2, 3, 2), (2, 100, 3))
CLASSES = 2  # of an aggregator that asks for them, and assemblies of an attention that has several
MODES = (False, True)  # of training


def examples() -> Iterator[Example]:
    """Features (B, T, E) and attention (B, T), then (B, S, T): the smallest first."""
    for B, T, E in SIZES:
        features, several = inputs.numbers(B, T, E), inputs.shares(B, CLASSES, T)
        for attention in (several[:, 0].clone(), several):
            yield {"features": features, "attention": attention}


promise = partial(clause, "aggregator", examples)


def _build(trial: Trial, seed: int = 0) -> Any:
    return trial.build(seed, num_classes=CLASSES)


def _hold(trial: Trial, pool: Any, **given: Any) -> None:
    pooled(trial.call(pool, **given), given["features"], given["attention"], trial.bound.num_classes)


@clause("aggregator", inputs.once, "it is an nn.Module")
def _module(trial: Trial) -> None:
    _build(trial)


@promise(
    "features (B, T, E) give (B, E), or (B, S, E) under S attentions: finite, with their dtype and on their device"
)
def _form(trial: Trial, features: Tensor, attention: Tensor) -> None:
    for device, dtype, training in product(inputs.devices(), (torch.float32, torch.float64), MODES):
        pool = _build(trial).to(device, dtype).train(training)
        x, a = features.to(device, dtype), attention.to(device, dtype)
        for mask in (None, inputs.some_seen(x)):
            _hold(trial, pool, features=x, attention=a, mask=mask)


@promise("its arguments stay as they are")
def _untouched(trial: Trial, features: Tensor, attention: Tensor) -> None:
    for training in MODES:
        pool = _build(trial).train(training)
        given = {"features": features, "attention": attention, "mask": inputs.some_seen(features)}
        trial.call(pool, **given)
        trial.unchanged(**given)
        if hasattr(pool, "coefficients"):
            del given["features"]
            trial.call(pool.coefficients, **given)
            trial.unchanged(**given)


@promise("evaluation draws nothing at random, and training only from torch's generator")
def _draws(trial: Trial, features: Tensor, attention: Tensor) -> None:
    demands.draws_in_training_alone(partial(_build, trial), partial(_answer, trial, features, attention))


@promise("the answer is finite without attention, with full attention, and for a video of which nothing is seen")
def _extremes(trial: Trial, features: Tensor, attention: Tensor) -> None:
    seen = inputs.all_seen(features)
    for training in MODES:
        pool = _build(trial).train(training)
        for a, mask in ((attention * 0, seen), (attention * 0 + 1, seen), (attention, ~seen)):
            _hold(trial, pool, features=features, attention=a, mask=mask)


@promise("a snippet that the mask hides, padding at the end or a hole, is as if it were not there")
def _hidden(trial: Trial, features: Tensor, attention: Tensor) -> None:
    for training, at in product(MODES, inputs.places(features)):

        def pool(value: float, weight: float, training: bool = training, at: int = at) -> Any:
            given = {
                "features": inputs.opened(features, at, value),
                "attention": inputs.opened(attention, at, weight, -1),
            }
            mask = inputs.opened(inputs.all_seen(features), at, False)
            return trial.call(_build(trial).train(training), **given, mask=mask)

        # What training draws may depend on the length: there one hidden snippet is held against another.
        expected = pool(0, 0) if training else _build(trial).eval()(features, attention, inputs.all_seen(features))
        got = pool(8, 1)
        require(demands.same(got, expected), f"A hidden snippet turned {expected.tolist()} into {got.tolist()}.")


@promise("without a mask every snippet is seen")
def _no_mask(trial: Trial, features: Tensor, attention: Tensor) -> None:
    pool = _build(trial).eval()
    expected = pool(features, attention, inputs.all_seen(features))
    for without in ({}, {"mask": None}):
        got = trial.call(pool, features=features, attention=attention, **without)
        require(demands.same(got, expected), f"A mask of True gives {expected.tolist()}, no mask {got.tolist()}.")


@promise("each video of a batch is pooled for itself, under each attention for itself")
def _alone(trial: Trial, features: Tensor, attention: Tensor) -> None:
    pool = _build(trial).eval()
    one_by_one = torch.cat([pool(x[None], a[None], None) for x, a in zip(features, attention, strict=True)])
    got = trial.call(pool, features=features, attention=attention, mask=None)
    require(demands.same(got, one_by_one), f"Together {got.tolist()}, one by one {one_by_one.tolist()}.")
    if attention.ndim == 3:
        dark = attention.clone()
        dark[:, 1:] = 0
        first = trial.call(pool, features=features, attention=dark, mask=None)[:, 0]
        require(demands.same(first, got[:, 0]), f"Beside others {got[:, 0].tolist()}, beside none {first.tolist()}.")


@promise("gradients reach the features, and are finite at any attention")
def _gradient(trial: Trial, features: Tensor, attention: Tensor) -> None:
    masks = (None, inputs.some_seen(features), ~inputs.all_seen(features))
    for training, values, mask in product(MODES, (attention, attention * 0, attention * 0 + 1), masks):
        x, a = features.clone().requires_grad_(), values.clone().requires_grad_()
        answer = trial.call(_build(trial).train(training), features=x, attention=a, mask=mask)
        require(answer.requires_grad, "The answer does not depend on the features by torch's graph.")
        reached = torch.autograd.grad(answer.sum(), [x, a], allow_unused=True)
        require(reached[0] is not None, "No gradient reaches the features.")
        for name, slope in zip(("features", "attention"), reached, strict=True):
            finite = slope is None or bool(slope.isfinite().all())
            require(finite, f"The gradient of the {name} is not finite.")


@promise("its state_dict holds all that it has learnt")
def _state(trial: Trial, features: Tensor, attention: Tensor) -> None:
    demands.remembers(partial(_build, trial), partial(_answer, trial, features, attention))


def _answer(trial: Trial, features: Tensor, attention: Tensor, pool: nn.Module) -> list[Tensor]:
    return [trial.call(pool, features=features, attention=attention, mask=None)]


@promise("coefficients, if it has them, are a weight of each snippet in each answer, zero on what is hidden")
def _coefficients(trial: Trial, features: Tensor, attention: Tensor) -> None:
    pool = _build(trial).eval()
    if not hasattr(pool, "coefficients"):
        return
    mask = inputs.some_seen(features)
    for given, hidden in (({}, ~inputs.all_seen(features)), ({"mask": mask}, ~mask)):
        weights = trial.call(pool.coefficients, attention=attention, **given)
        expected = pool(features, attention, **given)
        form = (*expected.shape[:-1], features.shape[1])
        fits = isinstance(weights, Tensor) and weights.shape == form
        require(fits, f"Of pooled features {tuple(expected.shape)} they must be {form}, got {answers.form(weights)}.")
        rows = weights if weights.ndim == 3 else weights.unsqueeze(1)
        unseen = rows.masked_select(hidden.unsqueeze(1))
        require(not unseen.any(), f"On what is hidden they are not zero: {weights.tolist()}.")
        got = (rows.unsqueeze(-1) * features.unsqueeze(1)).sum(2).reshape(expected.shape)
        require(
            demands.same(got, expected),
            f"They weigh {features.tolist()} to {got.tolist()}, not to {expected.tolist()}.",
        )
