"""The clauses of `contracts.Aggregator`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from wtal_core import answers
from wtal_core.answers import require
from wtal_core.contracts import Aggregator
from wtal_core.testing.trial import (
    Example,
    Trial,
    all_real,
    check,
    clause,
    devices,
    draws_in_training_alone,
    first_alone,
    is_module,
    once,
    padded,
    remembers,
    same,
)

SIZES = ((1, 1, 1), (1, 2, 1), (2, 3, 2), (2, 100, 3))
MODES = (False, True)  # of training


def check_aggregator(make: Callable[[], Aggregator]) -> None:
    """Check an aggregator, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("aggregator", make)


def examples() -> Iterator[Example]:
    """Features (B, T, D) and attention (B, T), the smallest first."""
    for B, T, D in SIZES:
        features = (torch.arange(B * T * D) * 3 % 8 / 4 - 0.75).reshape(B, T, D)
        yield {"features": features, "attention": ((torch.arange(B * T) * 3 + 1) % 4 / 4 + 0.25).reshape(B, T)}


promise = partial(clause, "aggregator", examples)


@clause("aggregator", once, "it is an nn.Module")
def _module(trial: Trial) -> None:
    is_module(trial.build())


@promise("features (B, T, D) give patterns (B, D), finite, with their dtype and on their device")
def _form(trial: Trial, features: Tensor, attention: Tensor) -> None:
    for device, dtype, training in product(devices(), (torch.float32, torch.float64), MODES):
        pool = trial.build().to(device, dtype).train(training)
        x, a = features.to(device, dtype), attention.to(device, dtype)
        for mask in (None, first_alone(x)):
            answers.patterns(trial.call(pool, features=x, attention=a, mask=mask), x)


@promise("its arguments stay as they are")
def _untouched(trial: Trial, features: Tensor, attention: Tensor) -> None:
    for training in MODES:
        pool = trial.build().train(training)
        given = {"features": features, "attention": attention, "mask": first_alone(features)}
        trial.call(pool, **given)
        trial.unchanged(**given)
        if hasattr(pool, "coefficients"):
            del given["features"]
            trial.call(pool.coefficients, **given)
            trial.unchanged(**given)


@promise("evaluation draws nothing at random, and training only from torch's generator")
def _draws(trial: Trial, features: Tensor, attention: Tensor) -> None:
    draws_in_training_alone(trial.build, partial(_answer, trial, features, attention))


@promise("patterns are finite without attention, with full attention, and for a video of padding alone")
def _extremes(trial: Trial, features: Tensor, attention: Tensor) -> None:
    real = all_real(features)
    for training in MODES:
        pool = trial.build().train(training)
        for a, mask in ((attention * 0, real), (attention * 0 + 1, real), (attention, ~real)):
            answers.patterns(trial.call(pool, features=features, attention=a, mask=mask), features)


@promise("what padding holds has no part in the patterns")
def _padding(trial: Trial, features: Tensor, attention: Tensor) -> None:
    mask = padded(all_real(features), False)
    for training in MODES:
        pool = partial(_newly_pooled, trial, training)
        # What training draws may depend on the length: there one padding is held against another.
        if training:
            expected = pool(features=padded(features, 0), attention=padded(attention, 0), mask=mask)
        else:
            expected = pool(features=features, attention=attention, mask=all_real(features))
        got = pool(features=padded(features, 8), attention=padded(attention, 1), mask=mask)
        require(same(got, expected), f"Padding turned {expected.tolist()} into {got.tolist()}.")


def _newly_pooled(trial: Trial, training: bool, **given: Tensor) -> Any:
    return trial.call(trial.build().train(training), **given)


@promise("without a mask every snippet is real")
def _no_mask(trial: Trial, features: Tensor, attention: Tensor) -> None:
    pool = trial.build().eval()
    expected = pool(features, attention, all_real(features))
    for without in ({}, {"mask": None}):
        got = trial.call(pool, features=features, attention=attention, **without)
        require(same(got, expected), f"A mask of True gives {expected.tolist()}, no mask {got.tolist()}.")


@promise("each video of a batch is pooled for itself")
def _alone(trial: Trial, features: Tensor, attention: Tensor) -> None:
    pool = trial.build().eval()
    alone = torch.cat([pool(x[None], a[None], None) for x, a in zip(features, attention, strict=True)])
    got = trial.call(pool, features=features, attention=attention, mask=None)
    require(same(got, alone), f"Together {got.tolist()}, one by one {alone.tolist()}.")


@promise("gradients reach the features, and are finite at any attention")
def _gradient(trial: Trial, features: Tensor, attention: Tensor) -> None:
    masks = (None, first_alone(features), ~all_real(features))
    for training, values, mask in product(MODES, (attention, attention * 0, attention * 0 + 1), masks):
        x, a = features.clone().requires_grad_(), values.clone().requires_grad_()
        patterns = trial.call(trial.build().train(training), features=x, attention=a, mask=mask)
        require(patterns.requires_grad, "The patterns do not depend on the features by torch's graph.")
        reached = torch.autograd.grad(patterns.sum(), [x, a], allow_unused=True)
        require(reached[0] is not None, "No gradient reaches the features.")
        for name, gradient in zip(("features", "attention"), reached, strict=True):
            finite = gradient is None or bool(gradient.isfinite().all())
            require(finite, f"The gradient of the {name} is not finite.")


@promise("its state_dict holds all that it has learnt")
def _state(trial: Trial, features: Tensor, attention: Tensor) -> None:
    remembers(trial.build, partial(_answer, trial, features, attention))


def _answer(trial: Trial, features: Tensor, attention: Tensor, pool: nn.Module) -> list[Tensor]:
    return [trial.call(pool, features=features, attention=attention, mask=None)]


@promise("coefficients, if it has them, are (B, T), zero on padding, and weigh the features to the patterns")
def _coefficients(trial: Trial, features: Tensor, attention: Tensor) -> None:
    pool = trial.build().eval()
    if not hasattr(pool, "coefficients"):
        return
    mask = first_alone(features)
    for given, padding in (({}, ~all_real(features)), ({"mask": mask}, ~mask)):
        weights = trial.call(pool.coefficients, attention=attention, **given)
        answers.coefficients(weights, attention)
        require(not weights[padding].any(), f"On padding they are not zero: {weights.tolist()}.")
        got, expected = (weights.unsqueeze(-1) * features).sum(1), pool(features, attention, **given)
        require(same(got, expected), f"They weigh {features.tolist()} to {got.tolist()}, not to {expected.tolist()}.")
