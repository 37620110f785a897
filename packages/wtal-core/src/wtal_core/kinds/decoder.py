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
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Example, Trial, clause, shown


class Decoder(Protocol):
    """Turns one stream's features into a decoding, as an `nn.Module`.

    Built as `cls(feature_dim=D, num_classes=C, aggregator=..., **options)`. An aggregator that it calls is a submodule,
    so that it is trained, moved and saved with the decoder. One whose signature has `snippet_seconds` is given the time
    from one snippet to the next in seconds, or None where the training videos differ by more than a tenth. It may also
    have

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
OPTIONAL = ("pooled", "logits", "snippet_logits", "background_logits", "head_weight", "probabilities", "intervals")


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
        """The decoding, complete; a `Refusal` says of which video the decoder cannot learn from the targets."""
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
        labels = torch.eye(C)[torch.arange(B) % C]
        yield {"features": inputs.numbers(B, T, D), "targets": Targets(labels, 2 * labels)}


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
    "probabilities": None,
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
        require(demands.same(part, expected[name]), told)


@promise("built with feature_dim, num_classes and aggregator, it is an nn.Module")
def _module(trial: Trial, features: Tensor, targets: Targets) -> None:
    _build(trial, features, targets)


@promise("an aggregator that it calls is one of its submodules, to be trained, moved and saved with it")
def _submodule(trial: Trial, features: Tensor, targets: Targets) -> None:
    aggregator = WeightedMean()
    decoder = _build(trial, features, targets, aggregator=aggregator)
    trial.call(decoder, features=features, mask=None)
    require(not aggregator.called or aggregator in decoder.modules(), "Its modules() do not have it.")


@promise("decodings have their shapes, ranges, dtype and device, in evaluation and in training with targets")
def _form(trial: Trial, features: Tensor, targets: Targets) -> None:
    for device in inputs.devices():
        decoder = _build(trial, features, targets).to(device)
        x, learnt = features.to(device), Targets(*(part.to(device) for part in targets if part is not None))
        for mask, given in product((None, inputs.some_seen(x)), (None, learnt, Targets(learnt.labels))):
            decoder.train(given is not None)
            answer = trial.call(decoder, features=x, mask=mask, targets=given)
            decoded(Decoding(answer), x, mask, learnt.labels.shape[1])


@promise("its arguments stay as they are")
def _untouched(trial: Trial, features: Tensor, targets: Targets) -> None:
    for training in (False, True):
        decoder = _build(trial, features, targets).train(training)
        given = {"features": features, "mask": inputs.some_seen(features), "targets": targets if training else None}
        decoding = trial.call(decoder, **given)
        trial.unchanged(**given)
    trial.call(decoder.loss, decoding=decoding, targets=targets)
    trial.unchanged(decoding=decoding, targets=targets)


@promise("evaluation draws nothing at random, and training only from torch's generator")
def _draws(trial: Trial, features: Tensor, targets: Targets) -> None:
    demands.draws_in_training_alone(
        partial(_build, trial, features, targets), partial(_answer, trial, features, targets)
    )


@promise(
    "logits come from what is pooled; head_weight, if given, is their slope, or that of snippet_logits in features"
)
def _head(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets).eval()
    # The input may be what is pooled or classified, so that it must be in the graph, as the host has it.
    decoding = Decoding(trial.call(decoder, features=features.clone().requires_grad_(), mask=None))
    names, weight = ("logits", "pooled"), decoding.head_weight
    if decoding.logits is None:
        if weight is None:
            return
        names = ("snippet_logits", "features")
    outputs, inputs = (getattr(decoding, name) for name in names)
    connected = f"The {names[0]} must depend on {names[1]} by torch's graph, which activations differentiate."
    require(outputs.requires_grad and inputs.requires_grad, connected)
    for c in range(outputs.shape[2]):
        (slope,) = torch.autograd.grad(outputs[..., c].sum(), inputs, retain_graph=True, allow_unused=True)
        require(slope is not None, connected)
        agree = weight is None or demands.same(slope, weight[c].expand_as(slope))
        require(agree, f"Of class {c} the slope is {slope.tolist()}, and head_weight is {shown(weight)}.")


@promise(
    "pooled is the aggregator's answer to features and attention, or without one, of a snippet its features, scaled"
)
def _pooled(trial: Trial, features: Tensor, targets: Targets) -> None:
    aggregator = WeightedMean()
    decoder = _build(trial, features, targets, aggregator=aggregator).eval()
    for mask in (None, inputs.some_seen(features)):
        decoding = Decoding(trial.call(decoder, features=features, mask=mask))
        if decoding.pooled is None:
            return
        if aggregator.called:
            _require_equal(
                {"pooled": decoding.pooled},
                {"pooled": aggregator(decoding.features, decoding.attention, mask)},
                "By features and attention",
            )
        elif mask is not None:  # of the first video the first snippet alone is seen
            pooled, own = decoding.pooled[0], decoding.features[:1, 0]
            scale = (pooled * own).sum(1, keepdim=True) / (own**2).sum().clamp(min=1e-12)
            require(demands.same(pooled, scale * own), f"Of features {own.tolist()} alone it pools {pooled.tolist()}.")


@promise("the loss is a dict of named finite scalars, whose sum has a finite gradient for the parameters")
def _loss(trial: Trial, features: Tensor, targets: Targets) -> None:
    for given, mask in product((targets, Targets(targets.labels)), (None, inputs.some_seen(features))):
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


@promise("a snippet that the mask hides, padding at the end or a hole, has no part in decoding and loss")
def _hidden(trial: Trial, features: Tensor, targets: Targets) -> None:
    T = features.shape[1]
    for training, at in product((False, True), inputs.places(features)):

        def parts(value: float | None, training: bool = training, at: int = at) -> dict[str, Tensor]:
            decoder = _build(trial, features, targets).train(training)
            given = targets if training else None
            if value is None:
                return _parts(decoder(features, inputs.all_seen(features)))
            hiding = {
                "features": inputs.opened(features, at, value),
                "mask": inputs.opened(inputs.all_seen(features), at, False),
            }
            decoding = trial.call(decoder, **hiding, targets=given)
            terms = decoder.loss(decoding, targets) if training else {}
            return _parts(decoding, torch.arange(T + 1) != at) | terms

        # What training draws may depend on the length, and where there is context a hole parts neighbours: there one
        # hidden snippet is held against another, and else against none.
        apart = training or (at < T and getattr(_build(trial, features, targets), "context", 0) > 0)
        _require_equal(parts(8), parts(0 if apart else None), "With another snippet hidden, or none,")


@promise("without a mask every snippet is seen")
def _no_mask(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets).eval()
    expected = _parts(decoder(features, inputs.all_seen(features)))
    for without in ({}, {"mask": None}):
        got = trial.call(decoder, features=features, **without)
        _require_equal(_parts(got), expected, "With a mask of True")


@promise("each video of a batch is decoded for itself")
def _alone(trial: Trial, features: Tensor, targets: Targets) -> None:
    decoder = _build(trial, features, targets).eval()
    alone = [_parts(decoder(x[None], None)) for x in features]
    got = _parts(trial.call(decoder, features=features, mask=None))
    # Not of assemblies, whose number may differ between videos.
    names = got.keys() & {"features", "snippet_logits", "background_logits", "class_scores"}
    one_by_one = {name: torch.cat([parts[name] for parts in alone]) for name in names}
    _require_equal({name: got[name] for name in sorted(names)}, one_by_one, "One by one")


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
    demands.remembers(lambda seed: _build(trial, features, targets, seed), partial(_answer, trial, features, targets))


def _answer(trial: Trial, features: Tensor, targets: Targets, decoder: nn.Module) -> list[Tensor]:
    given = targets if decoder.training else None
    answer = Decoding(trial.call(decoder, features=features, mask=None, targets=given))
    return [*_parts(answer).values(), *(torch.from_numpy(part) for part in answer.intervals or ())]


def _refused(trial: Trial, function: Callable[[Targets], object], targets: Targets) -> ValueError | None:
    try:
        trial.call(function, targets=targets)
    except ValueError as error:
        return error
    return None
