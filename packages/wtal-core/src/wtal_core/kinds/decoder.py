"""Decoders: they turn one stream's features into assemblies, class scores, or scores of every snippet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wtal_core import answers, binding, contracts
from wtal_core.answers import require
from wtal_core.binding import blaming
from wtal_core.contracts import Targets, Video
from wtal_core.discovery import Component
from wtal_core.errors import PluginError, WtalError, one_line
from wtal_core.testing.trial import (
    Example,
    Trial,
    all_seen,
    clause,
    devices,
    draws_in_training_alone,
    first_alone,
    is_module,
    padded,
    remembers,
    same,
)


class Decoder(Protocol):
    """Turns one stream's features into a decoding, as an `nn.Module`.

    Built as `cls(feature_dim=D, num_classes=C, aggregator=..., **options)`. An aggregator that it calls is a submodule,
    so that it is trained, moved and saved with the decoder. It may also have

    - `context`, how many snippets it looks to each side (0 if it does not say): more than 0 needs clips whose
      neighbours are neighbours in time;
    - `check_targets(targets)`, which is asked before training and raises a `ValueError` as a call does.
    """

    def __call__(
        self, features: Tensor, mask: Tensor | None = None, targets: Targets | None = None
    ) -> contracts.Decoding:
        """Decode features (B, T, D) under mask (B, T); `targets` are given in training only (teacher forcing).

        A `ValueError` about one video may carry its row in the batch as `position` and what it says of the video as
        `reason`, such as "has 3 labels"; the host then names the video.
        """

    def loss(self, decoding: contracts.Decoding, targets: Targets) -> dict[str, Tensor]:
        """Named scalar terms, of shape () and already weighted; training minimises their sum with that of the losses.

        It may be empty: then the losses of the experiment are all there is to learn from.
        """


#: What a decoder may leave out.
OPTIONAL = (
    "pooled",
    "logits",
    "snippet_logits",
    "background_logits",
    "head_weight",
    "probabilities",
    "intervals",
)


class Decoding:
    """A decoder's answer, in which every optional field can be asked for (`contracts.Decoding`)."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.answer, name, None) if name in OPTIONAL else getattr(self.answer, name)


class Bound(binding.Bound):
    """A decoder in its wrapper. What it refuses to learn from, by a `ValueError` with a `position`, passes."""

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        if not isinstance(made, nn.Module):
            raise PluginError(f"{component} must be an nn.Module, got {type(made).__name__}")
        super().__init__(made, component, given)
        context = getattr(made, "context", 0)
        if type(context) is not int or context < 0:
            raise PluginError(f"{component}: context must be a whole number of snippets, 0 or more, got {context!r}")
        self.context: int = context

    def __call__(self, features: Tensor, mask: Tensor | None = None, targets: Targets | None = None) -> Any:
        """The decoding, complete.

        Raises:
            Refusal: the decoder cannot learn from the targets, and says of which video.
        """
        with blaming(self.component):
            decoding = Decoding(_refusable(self.made, features, mask, targets))
            decoded(decoding, features, mask, self.given["num_classes"])
        return decoding

    def loss(self, decoding: Decoding, targets: Targets) -> dict[str, Tensor]:
        """The decoder's own terms; raises as a call does."""
        with blaming(self.component):
            terms: dict[str, Tensor] = _refusable(self.made.loss, decoding.answer, targets)
            loss_terms(terms)
        return terms

    def check_targets(self, targets: Targets) -> None:
        """Ask the decoder, if it can be asked, whether it can learn from these; raises as a call does."""
        check = getattr(self.made, "check_targets", None)
        if check is not None:
            with blaming(self.component, doing="fails on the labels of the training subset"):
                try:
                    check(targets)
                except ValueError as error:
                    raise Refusal(error) from error


class Refusal(WtalError):  # noqa: N818 - no error of anybody's
    """A decoder cannot learn from its targets."""

    def __init__(self, error: ValueError) -> None:
        super().__init__(one_line(error))
        self.position = getattr(error, "position", None)
        self.reason = getattr(error, "reason", None)

    def of(self, videos: Sequence[Video]) -> str:
        """The complaint with the video's name: the decoder knows its place in the batch at most."""
        if not isinstance(self.position, int):
            return str(self)
        name = f"video {videos[self.position].name!r}"
        return f"{name} {self.reason}" if self.reason is not None else f"{name}: {self}"


def _refusable(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except ValueError as error:
        if hasattr(error, "position"):
            raise Refusal(error) from error
        raise


def decoded(answer: Decoding, features: Tensor, mask: Tensor | None, num_classes: int) -> None:
    """Hold a decoding of features (B, T, D) under mask (B, T) against the contract."""
    B, T, _ = features.shape
    embedded = answers.attribute(answer.answer, "features")
    fits = isinstance(embedded, Tensor) and embedded.ndim == 3 and embedded.shape[:2] == (B, T)
    require(fits, f"features must be a tensor (B, T, E) = ({B}, {T}, E), got {answers.form(embedded)}")
    E = embedded.shape[2]
    answers.tensor("features", embedded, (B, T, E), features)
    attention = answers.attribute(answer.answer, "attention")
    require(
        isinstance(attention, Tensor) and attention.ndim == 3 and attention.shape[1] > 0,
        f"attention must be a tensor (B, S, T) with S >= 1, got {answers.form(attention)}",
    )
    S = attention.shape[1]
    answers.tensor("attention", attention, (B, S, T), features, unit_range=True)
    if mask is not None and binding.checking():
        hidden = attention.masked_select(~mask.unsqueeze(1))
        require(not hidden.nan_to_num().any(), "attention must be zero where the mask is False")
    answers.tensor("class_scores", answers.attribute(answer.answer, "class_scores"), (B, num_classes), features, True)
    pools, scores = answer.pooled is not None, answer.snippet_logits is not None
    require(pools == (answer.logits is not None), "pooled and logits come together")
    require(pools or scores, "there must be pooled with logits, or snippet_logits")
    for name, shape, ranged in (
        ("pooled", (B, S, E), False),
        ("logits", (B, S, num_classes), False),
        ("probabilities", (B, S, num_classes), True),
        ("snippet_logits", (B, T, num_classes), False),
        ("background_logits", (B, T), False),
        ("head_weight", (num_classes, E), False),
    ):
        if (part := getattr(answer, name)) is not None:
            answers.tensor(name, part, shape, features, unit_range=ranged)
    require(scores or answer.background_logits is None, "background_logits compete with snippet_logits, which are None")
    if answer.intervals is not None:
        answers.intervals(answer.intervals, num_classes, 0.0, float(T), "lie within the snippets'")


def loss_terms(answer: Any) -> None:
    """Hold named scalar terms against the contract."""
    require(
        isinstance(answer, dict) and all(isinstance(name, str) for name in answer),
        f"the loss must be a dict of named terms, got {answer!r}",
    )
    for name, term in answer.items():
        require(
            isinstance(term, Tensor) and term.shape == () and term.is_floating_point(),
            f"loss term {name!r} must be a scalar tensor, of shape (), got {answers.form(term)}",
        )
        if binding.checking() and binding.finite() and not term.isfinite():
            raise answers.ContractError(f"loss term {name!r} must be finite, got {term.item()}")


# Clauses of the kit

SIZES = ((1, 1, 1, 1), (1, 2, 1, 2), (2, 3, 2, 2), (2, 100, 3, 3))


class WeightedMean(nn.Module):
    """The aggregator that decoders are checked with. It has something to learn, and knows whether it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.called = False

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean of features (B, T, E) weighted by attention (B, T) or (B, S, T)."""
        self.called = True
        several = attention if attention.ndim == 3 else attention.unsqueeze(1)
        weights = several if mask is None else several.masked_fill(~mask.unsqueeze(1), 0)
        pooled = self.scale * (weights @ features) / weights.sum(2, keepdim=True).clamp(min=1e-6)
        return pooled if attention.ndim == 3 else pooled.squeeze(1)


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


#: The parts of a decoding that are compared, and the dimension that is time, if one is.
PARTS = {
    "features": 1,
    "attention": 2,
    "pooled": None,
    "logits": None,
    "snippet_logits": 1,
    "background_logits": 1,
    "class_scores": None,
}


def _parts(answer: Any, seen: Tensor | None = None) -> dict[str, Tensor]:
    """The tensors of a decoding by name, of the snippets `seen` (T,) alone."""
    parts = {name: getattr(Decoding(answer), name) for name in PARTS}
    return {
        name: part if dim is None or seen is None else part.index_select(dim, seen.nonzero().squeeze(1))
        for (name, part), dim in zip(parts.items(), PARTS.values(), strict=True)
        if part is not None
    }


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
            answer = trial.call(decoder, features=x, mask=mask, targets=given)
            decoded(Decoding(answer), x, mask, learnt.labels.shape[1])


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


@promise("the logits, if it pools, are computed from what is pooled")
def _graph(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoding = Decoding(trial.call(_build(trial, features, targets).eval(), features=features, mask=None))
    if decoding.logits is None:
        return
    kept = decoding.logits.requires_grad and decoding.pooled.requires_grad
    require(kept, "The graph between them was cut; activations differentiate it.")
    (gradient,) = torch.autograd.grad(decoding.logits.sum(), decoding.pooled, allow_unused=True)
    require(gradient is not None, "The logits do not depend on the pooled features; activations differentiate them.")


@promise(
    "head_weight, if it has one, is the derivative of the logits by what is pooled, or of snippet_logits by features"
)
def _head(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoding = Decoding(trial.call(_build(trial, features, targets).eval(), features=features, mask=None))
    logits, inputs = decoding.logits, decoding.pooled
    if logits is None:
        logits, inputs = decoding.snippet_logits, decoding.features
    for c, row in enumerate(() if decoding.head_weight is None else decoding.head_weight):
        (slope,) = torch.autograd.grad(logits[..., c].sum(), inputs, retain_graph=True)
        agree = same(slope, row.expand_as(slope))
        require(agree, f"Of class {c} the derivative is {slope.tolist()}, and head_weight {row.tolist()}.")


@promise("features are what is pooled: without them, and with all else, the answer is another")
def _pools_its_features(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoding = Decoding(trial.call(_build(trial, features, targets).eval(), features=features, mask=None))
    of = decoding.pooled if decoding.pooled is not None else decoding.snippet_logits
    if decoding.features is features or not decoding.features.requires_grad:
        return  # the input itself, of which nothing can be asked by the graph
    (reached,) = torch.autograd.grad(of.sum(), decoding.features, allow_unused=True)
    require(reached is not None, "What is pooled does not depend on the features that it says it pooled.")


@promise("what padding holds has no part in the decoding")
def _padding(trial: Trial, features: Tensor, targets: Targets) -> None:
    seen = padded(all_seen(features), False)

    def newly(training: bool, shown: Tensor, mask: Tensor) -> Any:
        decoder = _build(trial, features, targets).train(training)
        return trial.call(decoder, features=shown, mask=mask, targets=targets if training else None)

    for training in (False, True):
        # What training draws may depend on the length: there one padding is held against another.
        expected = (
            _parts(newly(True, padded(features, 0), seen), seen[0])
            if training
            else _parts(newly(False, features, all_seen(features)))
        )
        got = _parts(newly(training, padded(features, 8), seen), seen[0])
        _require_equal(got, expected, "With other padding or none")


@promise("a mask may have holes, and what a hidden snippet holds has no part in the decoding")
def _holes(trial: Trial, features: Tensor, targets: Targets) -> None:
    T = features.shape[1]
    decoder, mask = _build(trial, features, targets).eval(), all_seen(features)
    mask[:, T // 2] = T == 1  # one row of a video always stays visible
    other = torch.where(mask.unsqueeze(-1), features, 8)
    expected = _parts(decoder(features, mask), mask[0])
    got = trial.call(decoder, features=other, mask=mask)
    _require_equal(_parts(got, mask[0]), expected, "With something else in the hole")


@promise("without a mask every snippet is seen")
def _no_mask(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets).eval()
    expected = _parts(decoder(features, all_seen(features)))
    for without in ({}, {"mask": None}):
        got = trial.call(decoder, features=features, **without)
        _require_equal(_parts(got), expected, "With a mask of True")


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
        loss_terms(terms)
        if not terms:
            continue  # it leaves learning to the losses of the experiment
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
        loss_terms(decoder.loss(decoder(features, None, given), given))

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
    return list(_parts(trial.call(decoder, features=features, mask=None, targets=given)).values())


def _refused(trial: Trial, function: Callable[[Targets], object], targets: Targets) -> ValueError | None:
    try:
        trial.call(function, targets=targets)
    except ValueError as error:
        return error
    return None
