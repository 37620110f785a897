"""The clauses of `contracts.Decoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from wtal_core.contracts import Decoder, Targets
from wtal_core.testing import answers
from wtal_core.testing.answers import require
from wtal_core.testing.trial import Trial, check, clause, devices, is_module, restored, same

SIZES = ((1, 1, 1, 1), (1, 2, 1, 2), (2, 3, 2, 2))


def check_decoder(make: Callable[..., Decoder]) -> None:
    """Check a decoder, given by its class or by whatever takes `feature_dim`, `num_classes` and `aggregator`.

    Raises:
        ContractError: a clause does not hold; the message names it, with the smallest input that shows it.
    """
    check("decoder", make)


class WeightedMean(nn.Module):
    """The aggregator that decoders are checked with."""

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean of features (B, T, D) weighted by attention (B, T)."""
        weights = attention if mask is None else attention.masked_fill(~mask, 0)
        return (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-6)


def examples() -> Iterator[tuple[Tensor, Targets]]:
    """Features (B, T, D) and targets of C classes, the smallest first; every video has a label, one has all."""
    for B, T, D, C in SIZES:
        features = (torch.arange(B * T * D) * 3 % 8 / 4 - 0.75).reshape(B, T, D)
        labels = torch.eye(C)[torch.arange(B) % C]
        labels[-1] = 1
        yield features, Targets(labels, 2 * labels)


def _build(trial: Trial, features: Tensor, targets: Targets) -> Any:
    return trial.build(feature_dim=features.shape[2], num_classes=targets.labels.shape[1], aggregator=WeightedMean())


@clause("decoder", "built with feature_dim, num_classes and aggregator, it is an nn.Module")
def _module(trial: Trial) -> None:
    for features, targets in examples():
        is_module(_build(trial, features, targets))


@clause("decoder", "decodings have their shapes, ranges, dtype and device, in evaluation and in training with targets")
def _form(trial: Trial) -> None:
    for device in devices():
        for features, targets in examples():
            x, C = features.to(device), targets.labels.shape[1]
            learnt = Targets(*(part.to(device) for part in targets if part is not None))
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=device)
            mask[0, 1:] = False
            decoder = _build(trial, features, targets).to(device)
            for which in (None, mask):
                for given in (None, learnt, Targets(learnt.labels)):
                    decoder.train(given is not None)
                    decoding = trial.call(decoder, features=x, mask=which, targets=given)
                    answers.decoding(decoding, x, which, C)


@clause("decoder", "its arguments stay as they are")
def _untouched(trial: Trial) -> None:
    for features, targets in examples():
        decoder = _build(trial, features, targets)
        given: dict[str, Any] = {"features": features}
        given |= {"mask": torch.ones(features.shape[:2], dtype=torch.bool), "targets": targets}
        decoding = trial.call(decoder, **given)
        trial.unchanged(**given)
        trial.call(decoder.loss, decoding=decoding, targets=targets)
        trial.unchanged(decoding=decoding, targets=targets)


@clause("decoder", "evaluation draws nothing at random, and training only from torch's generator")
def _deterministic(trial: Trial) -> None:
    for training in (False, True):
        for features, targets in examples():
            decoder = _build(trial, features, targets).train(training)
            given = targets if training else None
            torch.manual_seed(0)
            first = decoder(features, None, given).class_scores
            torch.manual_seed(0 if training else 1)
            again = trial.call(decoder, features=features, mask=None, targets=given).class_scores
            require(torch.equal(first, again), f"It gave {first.tolist()}, then {again.tolist()}.")


@clause("decoder", "the logits are computed from the patterns of the decoding")
def _graph(trial: Trial) -> None:
    for features, targets in examples():
        decoding = trial.call(_build(trial, features, targets).eval(), features=features, mask=None)
        kept = decoding.logits.requires_grad and decoding.patterns.requires_grad
        require(kept, "The graph between them was cut; activations differentiate it.")
        (gradient,) = torch.autograd.grad(decoding.logits.sum(), decoding.patterns, allow_unused=True)
        require(gradient is not None, "The logits do not depend on the patterns; activations differentiate them.")


@clause("decoder", "head_weight, if it has one, is the derivative of the logits by the patterns")
def _head(trial: Trial) -> None:
    for features, targets in examples():
        decoding = trial.call(_build(trial, features, targets).eval(), features=features, mask=None)
        if decoding.head_weight is None:
            return
        for c, row in enumerate(decoding.head_weight):
            (slope,) = torch.autograd.grad(decoding.logits[..., c].sum(), decoding.patterns, retain_graph=True)
            agree = same(slope, row.expand_as(slope))
            require(agree, f"Of class {c} the derivative is {slope.tolist()}, and head_weight {row.tolist()}.")


@clause("decoder", "what padding holds has no part in class scores and attention")
def _padding(trial: Trial) -> None:
    for features, targets in examples():
        decoder = _build(trial, features, targets).eval()
        T = features.shape[1]
        alone = decoder(features, torch.ones(features.shape[:2], dtype=torch.bool))
        padded = torch.cat([features, torch.full_like(features[:, :1], 8.0)], 1)
        mask = torch.arange(T + 1).expand(padded.shape[:2]) < T
        got = trial.call(decoder, features=padded, mask=mask)
        _equal_scores(got.class_scores, alone.class_scores, "Without the padding the class scores are")
        require(
            same(got.attention[..., :T], alone.attention),
            f"Without the padding the attention is {alone.attention.tolist()}, with it {got.attention.tolist()}.",
        )


@clause("decoder", "without a mask every snippet is real")
def _no_mask(trial: Trial) -> None:
    for features, targets in examples():
        decoder = _build(trial, features, targets).eval()
        expected = decoder(features, torch.ones(features.shape[:2], dtype=torch.bool)).class_scores
        got = trial.call(decoder, features=features, mask=None).class_scores
        _equal_scores(got, expected, "With a mask of True the class scores are")


@clause("decoder", "each video of a batch is decoded for itself")
def _alone(trial: Trial) -> None:
    for features, targets in examples():
        decoder = _build(trial, features, targets).eval()
        alone = torch.cat([decoder(x[None], None).class_scores for x in features])
        got = trial.call(decoder, features=features, mask=None).class_scores
        _equal_scores(got, alone, "One by one the class scores are")


@clause("decoder", "the loss is a dict of named finite scalars, whose sum has a finite gradient for the parameters")
def _loss(trial: Trial) -> None:
    for features, targets in examples():
        for given in (targets, Targets(targets.labels)):
            decoder = _build(trial, features, targets).train()
            decoding = decoder(features, None, given)
            terms = trial.call(decoder.loss, decoding=decoding, targets=given)
            answers.terms(terms)
            total = torch.stack([term.reshape(()) for term in terms.values()]).sum()
            learnable = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
            require(total.requires_grad and bool(learnable), "No gradient reaches a parameter.")
            reached = torch.autograd.grad(total, learnable, allow_unused=True)
            require(any(g is not None for g in reached), "No gradient reaches a parameter.")
            for (name, _), gradient in zip(decoder.named_parameters(), reached, strict=False):
                require(gradient is None or bool(gradient.isfinite().all()), f"The gradient of {name} is not finite.")


@clause("decoder", "its state_dict holds all that it has learnt")
def _state(trial: Trial) -> None:
    for features, targets in examples():
        trained = _build(trial, features, targets).eval()
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter.add_(0.25)
        other = restored(trained, _build(trial, features, targets)).eval()
        expected = trained(features, None).class_scores
        got = trial.call(other, features=features, mask=None).class_scores
        _equal_scores(got, expected, "Before its way through a checkpoint the class scores were")


def _equal_scores(got: Tensor, expected: Tensor, what: str) -> None:
    require(same(got, expected), f"{what} {expected.tolist()}, here {got.tolist()}.")
