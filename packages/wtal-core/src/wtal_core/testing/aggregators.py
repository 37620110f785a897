"""The clauses of `contracts.Aggregator`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from wtal_core.contracts import Aggregator
from wtal_core.testing import answers
from wtal_core.testing.answers import require
from wtal_core.testing.trial import Trial, check, clause, devices, is_module, restored, same

SIZES = ((1, 1, 1), (1, 2, 1), (2, 3, 2))


def check_aggregator(make: Callable[[], Aggregator]) -> None:
    """Check an aggregator, given by its class or by whatever builds one.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("aggregator", make)


def examples() -> Iterator[tuple[Tensor, Tensor]]:
    """Features (B, T, D) and attention (B, T), the smallest first."""
    for B, T, D in SIZES:
        features = (torch.arange(B * T * D) * 3 % 8 / 4 - 0.75).reshape(B, T, D)
        yield features, ((torch.arange(B * T) * 3 + 1) % 4 / 4 + 0.25).reshape(B, T)


@clause("aggregator", "it is an nn.Module")
def _module(trial: Trial) -> None:
    is_module(trial.build())


@clause("aggregator", "features (B, T, D) give patterns (B, D), finite, with their dtype and on their device")
def _form(trial: Trial) -> None:
    for device in devices():
        for dtype in (torch.float32, torch.float64):
            pool = trial.build().to(device, dtype)
            for features, attention in examples():
                mask = torch.ones(attention.shape, dtype=torch.bool)
                mask[0, 1:] = False
                for which in (None, mask.to(device)):
                    x = features.to(device, dtype)
                    a = attention.to(device, dtype)
                    answers.patterns(trial.call(pool, features=x, attention=a, mask=which), x)


@clause("aggregator", "its arguments stay as they are")
def _untouched(trial: Trial) -> None:
    pool = trial.build()
    for features, attention in examples():
        given: dict[str, Any] = {"features": features, "attention": attention}
        given["mask"] = torch.ones(attention.shape, dtype=torch.bool)
        trial.call(pool, **given)
        trial.unchanged(**given)


@clause("aggregator", "evaluation draws nothing at random, and training only from torch's generator")
def _deterministic(trial: Trial) -> None:
    for training in (False, True):
        pool = trial.build().train(training)
        for features, attention in examples():
            torch.manual_seed(0)
            first = pool(features, attention, None)
            torch.manual_seed(0 if training else 1)
            again = trial.call(pool, features=features, attention=attention, mask=None)
            require(torch.equal(first, again), f"It gave {first.tolist()}, then {again.tolist()}.")


@clause("aggregator", "patterns are finite without attention, with full attention, and for a video of padding alone")
def _extremes(trial: Trial) -> None:
    pool = trial.build().eval()
    for features, attention in examples():
        real = torch.ones(attention.shape, dtype=torch.bool)
        for a, mask in ((attention * 0, real), (attention * 0 + 1, real), (attention * 0, ~real)):
            answers.patterns(trial.call(pool, features=features, attention=a, mask=mask), features)


@clause("aggregator", "what padding holds has no part in the patterns")
def _padding(trial: Trial) -> None:
    pool = trial.build().eval()
    for features, attention in examples():
        expected = pool(features, attention, torch.ones(attention.shape, dtype=torch.bool))
        padded = torch.cat([features, torch.full_like(features[:, :1], 8.0)], 1)
        attended = torch.cat([attention, torch.ones_like(attention[:, :1])], 1)
        mask = torch.arange(padded.shape[1]).expand(attended.shape) < features.shape[1]
        got = trial.call(pool, features=padded, attention=attended, mask=mask)
        require(same(got, expected), f"Padding turned {expected.tolist()} into {got.tolist()}.")


@clause("aggregator", "without a mask every snippet is real")
def _no_mask(trial: Trial) -> None:
    pool = trial.build().eval()
    for features, attention in examples():
        expected = pool(features, attention, torch.ones(attention.shape, dtype=torch.bool))
        got = trial.call(pool, features=features, attention=attention, mask=None)
        require(same(got, expected), f"A mask of True gives {expected.tolist()}, no mask {got.tolist()}.")


@clause("aggregator", "each video of a batch is pooled for itself")
def _alone(trial: Trial) -> None:
    pool = trial.build().eval()
    for features, attention in examples():
        got = trial.call(pool, features=features, attention=attention, mask=None)
        alone = torch.cat([pool(x[None], a[None], None) for x, a in zip(features, attention, strict=True)])
        require(same(got, alone), f"Together {got.tolist()}, one by one {alone.tolist()}.")


@clause("aggregator", "gradients reach the features, and are finite at any attention")
def _gradient(trial: Trial) -> None:
    for training in (False, True):
        pool = trial.build().train(training)
        for features, attention in examples():
            for values in (attention, attention * 0, attention * 0 + 1):
                x, a = features.clone().requires_grad_(), values.clone().requires_grad_()
                patterns = trial.call(pool, features=x, attention=a, mask=None)
                require(patterns.requires_grad, "The patterns do not depend on the features by torch's graph.")
                reached = torch.autograd.grad(patterns.sum(), [x, a], allow_unused=True)
                require(reached[0] is not None, "No gradient reaches the features.")
                for name, gradient in zip(("features", "attention"), reached, strict=True):
                    finite = gradient is None or bool(gradient.isfinite().all())
                    require(finite, f"The gradient of the {name} is not finite.")


@clause("aggregator", "its state_dict holds all that it has learnt")
def _state(trial: Trial) -> None:
    trained = trial.build().eval()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.25)
    other = restored(trained, trial.build()).eval()
    for features, attention in examples():
        got = trial.call(other, features=features, attention=attention, mask=None)
        expected = trained(features, attention, None)
        require(same(got, expected), f"Restored from a checkpoint it gives {got.tolist()}, not {expected.tolist()}.")


@clause(
    "aggregator", "coefficients, if it has them, are (B, T), zero on padding, and weigh the features to the patterns"
)
def _coefficients(trial: Trial) -> None:
    pool = trial.build().eval()
    if not hasattr(pool, "coefficients"):
        return
    for features, attention in examples():
        mask = torch.ones(attention.shape, dtype=torch.bool)
        mask[0, 1:] = False
        weights = trial.call(pool.coefficients, attention=attention, mask=mask)
        require(weights.shape == attention.shape, f"They are {tuple(weights.shape)}.")
        require(not weights[~mask].any(), f"They are {weights.tolist()}.")
        got, expected = (weights.unsqueeze(-1) * features).sum(1), pool(features, attention, mask)
        require(same(got, expected), f"They weigh {features.tolist()} to {got.tolist()}, not to {expected.tolist()}.")
