"""The clauses of `contracts.Decoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from wtal_core import answers
from wtal_core.answers import require
from wtal_core.contracts import Decoder, Decoding, Targets
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
    padded,
    remembers,
    same,
)

SIZES = ((1, 1, 1, 1), (1, 2, 1, 2), (2, 3, 2, 2), (2, 100, 3, 3))


def check_decoder(make: Callable[..., Decoder]) -> None:
    """Check a decoder, given by its class or by whatever takes `feature_dim`, `num_classes` and `aggregator`.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("decoder", make)


class WeightedMean(nn.Module):
    """The aggregator that decoders are checked with. It has something to learn, and knows whether it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.called = False

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean of features (B, T, D) weighted by attention (B, T)."""
        self.called = True
        weights = attention if mask is None else attention.masked_fill(~mask, 0)
        return self.scale * (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-6)


def examples() -> Iterator[Example]:
    """Features (B, T, D) and targets of C classes, the smallest first; every video has one label, twice."""
    for B, T, D, C in SIZES:
        features = (torch.arange(B * T * D) * 3 % 8 / 4 - 0.75).reshape(B, T, D)
        labels = torch.eye(C)[torch.arange(B) % C]
        yield {"features": features, "targets": Targets(labels, 2 * labels)}


promise = partial(clause, "decoder", examples)


def _build(
    trial: Trial, features: Tensor, targets: Targets, seed: int = 0, aggregator: WeightedMean | None = None
) -> Any:
    D, C = features.shape[2], targets.labels.shape[1]
    return trial.build(seed, feature_dim=D, num_classes=C, aggregator=aggregator or WeightedMean())


def _parts(decoding: Decoding, snippets: int) -> dict[str, Tensor]:
    """The tensors of a decoding by name, the attention of so many snippets."""
    names = ("patterns", "logits", "class_scores")
    return {"attention": decoding.attention[..., :snippets], **{name: getattr(decoding, name) for name in names}}


def _require_equal(got: dict[str, Tensor], expected: dict[str, Tensor], where: str) -> None:
    for name, part in got.items():
        told = f"{where} {name} is {expected[name].tolist()}, here {part.tolist()}."
        require(same(part, expected[name]), told)


@promise("built with feature_dim, num_classes and aggregator, it is an nn.Module")
def _module(trial: Trial, features: Tensor, targets: Targets) -> None:
    is_module(_build(trial, features, targets))


@promise("an aggregator that it calls is one of its submodules, to be trained, moved and saved with it")
def _submodule(trial: Trial, features: Tensor, targets: Targets) -> None:
    aggregator = WeightedMean()
    decoder = _build(trial, features, targets, aggregator=aggregator)
    trial.call(decoder, features=features, mask=None)
    require(not aggregator.called or aggregator in decoder.modules(), "Its modules() do not have it.")


@promise("decodings have their shapes, ranges, dtype and device, in evaluation and in training with targets")
def _form(trial: Trial, features: Tensor, targets: Targets) -> None:
    for device in devices():
        decoder = _build(trial, features, targets).to(device)
        x, learnt = features.to(device), Targets(*(part.to(device) for part in targets if part is not None))
        for mask, given in product((None, first_alone(x)), (None, learnt, Targets(learnt.labels))):
            decoder.train(given is not None)
            decoding = trial.call(decoder, features=x, mask=mask, targets=given)
            answers.decoding(decoding, x, mask, learnt.labels.shape[1])


@promise("its arguments stay as they are")
def _untouched(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets)
    given = {"features": features, "mask": first_alone(features), "targets": targets}
    decoding = trial.call(decoder, **given)
    trial.unchanged(**given)
    trial.call(decoder.loss, decoding=decoding, targets=targets)
    trial.unchanged(decoding=decoding, targets=targets)


@promise("evaluation draws nothing at random, and training only from torch's generator")
def _draws(trial: Trial, features: Tensor, targets: Targets) -> None:
    draws_in_training_alone(partial(_build, trial, features, targets), partial(_answer, trial, features, targets))


@promise("the logits are computed from the patterns of the decoding")
def _graph(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoding = trial.call(_build(trial, features, targets).eval(), features=features, mask=None)
    kept = decoding.logits.requires_grad and decoding.patterns.requires_grad
    require(kept, "The graph between them was cut; activations differentiate it.")
    (gradient,) = torch.autograd.grad(decoding.logits.sum(), decoding.patterns, allow_unused=True)
    require(gradient is not None, "The logits do not depend on the patterns; activations differentiate them.")


@promise("head_weight, if it has one, is the derivative of the logits by the patterns")
def _head(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoding = trial.call(_build(trial, features, targets).eval(), features=features, mask=None)
    for c, row in enumerate(() if decoding.head_weight is None else decoding.head_weight):
        (slope,) = torch.autograd.grad(decoding.logits[..., c].sum(), decoding.patterns, retain_graph=True)
        agree = same(slope, row.expand_as(slope))
        require(agree, f"Of class {c} the derivative is {slope.tolist()}, and head_weight {row.tolist()}.")


@promise("what padding holds has no part in the decoding")
def _padding(trial: Trial, features: Tensor, targets: Targets) -> None:
    T, mask = features.shape[1], padded(all_real(features), False)
    for training in (False, True):
        newly = partial(_newly_decoded, trial, features, targets, training)
        # What training draws may depend on the length: there one padding is held against another.
        expected = newly(padded(features, 0), mask) if training else newly(features, all_real(features))
        _require_equal(_parts(newly(padded(features, 8), mask), T), _parts(expected, T), "With other padding or none")


def _newly_decoded(
    trial: Trial, features: Tensor, targets: Targets, training: bool, shown: Tensor, mask: Tensor
) -> Any:
    decoder = _build(trial, features, targets).train(training)
    return trial.call(decoder, features=shown, mask=mask, targets=targets if training else None)


@promise("without a mask every snippet is real")
def _no_mask(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder, T = _build(trial, features, targets).eval(), features.shape[1]
    expected = _parts(decoder(features, all_real(features)), T)
    for without in ({}, {"mask": None}):
        got = trial.call(decoder, features=features, **without)
        _require_equal(_parts(got, T), expected, "With a mask of True")


@promise("each video of a batch is decoded for itself")
def _alone(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets).eval()
    # Only scores can be compared: videos may differ in their number of assemblies.
    alone = torch.cat([decoder(x[None], None).class_scores for x in features])
    got = trial.call(decoder, features=features, mask=None).class_scores
    _require_equal({"class_scores": got}, {"class_scores": alone}, "One by one")


@promise("the loss is a dict of named finite scalars, whose sum has a finite gradient for the parameters")
def _loss(trial: Trial, features: Tensor, targets: Targets) -> None:
    for given, mask in product((targets, Targets(targets.labels)), (None, first_alone(features))):
        decoder = _build(trial, features, targets).train()
        terms = trial.call(decoder.loss, decoding=decoder(features, mask, given), targets=given)
        answers.terms(terms)
        total = torch.stack(list(terms.values())).sum()
        learnable = {name: one for name, one in decoder.named_parameters() if one.requires_grad}
        require(total.requires_grad, "It is cut from the graph.")
        reached = torch.autograd.grad(total, list(learnable.values()), allow_unused=True)
        require(any(gradient is not None for gradient in reached), "No gradient reaches a parameter.")
        for name, gradient in zip(learnable, reached, strict=True):
            require(gradient is None or bool(gradient.isfinite().all()), f"The gradient of {name} is not finite.")


@promise(
    "what it cannot learn from is refused by a ValueError, by check_targets too if it has that; "
    "position, if given, is a row of the batch, and reason a text beside it"
)
def _refusal(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets).train()

    def learn(given: Targets) -> None:
        answers.terms(decoder.loss(decoder(features, None, given), given))

    labels, ones = targets.labels, torch.ones_like(targets.labels)
    for given in (targets, Targets(labels), Targets(ones, ones), Targets(labels, 0 * ones)):
        refusals = [_refused(trial, learn, given)]
        if hasattr(decoder, "check_targets"):
            refusals.append(_refused(trial, decoder.check_targets, given))
            told = f"Training says {refusals[0]!r}, check_targets {refusals[1]!r}."
            require((refusals[0] is None) == (refusals[1] is None), told)
        for error in refusals:
            position, reason = getattr(error, "position", None), getattr(error, "reason", None)
            row = isinstance(position, int) and 0 <= position < len(features)
            require(row or position is None, f"The position is {position!r}.")
            require(reason is None or (row and isinstance(reason, str)), f"The reason is {reason!r} at {position!r}.")


@promise("its state_dict holds all that it has learnt")
def _state(trial: Trial, features: Tensor, targets: Targets) -> None:
    remembers(lambda seed: _build(trial, features, targets, seed), partial(_answer, trial, features, targets))


def _answer(trial: Trial, features: Tensor, targets: Targets, decoder: nn.Module) -> list[Tensor]:
    given = targets if decoder.training else None
    decoding = trial.call(decoder, features=features, mask=None, targets=given)
    return list(_parts(decoding, features.shape[1]).values())


def _refused(trial: Trial, function: Callable[[Targets], object], targets: Targets) -> ValueError | None:
    try:
        trial.call(function, targets=targets)
    except ValueError as error:
        return error
    return None
