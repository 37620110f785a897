"""The STAR decoder, equations (1)-(9): first the equations, then the module that runs them.

Xu et al., "Segregated Temporal Assembly Recurrent Networks for Weakly Supervised Multiple Action Detection", AAAI 2019.
B videos, T snippets, S steps (one assembly each), D features, C classes, A attention units, H hidden units. Symbol C
ends a label sequence, and stands for "no label yet" before the first step.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from torch import nn

from wtal_star import losses
from wtal_star.search import beam_search
from wtal_star.sequences import LabelOrder, Sequences, Targets, label_sequences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

Module = Literal["sparsity", "coverage", "ram"]
Normalization = Literal["sigmoid", "softmax"]
CoverageMechanism = Literal["permissive", "original"]


def energy(features: Tensor, state: Tensor, weight: Tensor, gate: Tensor | None = None) -> Tensor:
    """Energy (B, T) of each snippet: equation (2), or (7) with a gate.

    Args:
        features: U_alpha s_i, (B, T, A), and with the original coverage its term: what stands beside the state.
        state: W_alpha h_{t-1}, (B, A).
        weight: v_alpha, (A,).
        gate: COV_{t,i} in [0, 1], (B, T, A).
    """
    activated = torch.tanh(features + state[:, None])
    if gate is not None:
        activated = gate * activated
    return activated @ weight


def attention_weights(energy: Tensor, mask: Tensor, normalization: Normalization = "sigmoid") -> Tensor:
    """Assembly weights (B, T) in [0, 1] of energies (B, T), zero where mask (B, T) is False (3).

    "softmax", over a video's visible snippets, is the conventional attention that Figure 3 compares with.
    """
    if normalization == "softmax":
        energy = energy.masked_fill(~mask, torch.finfo(energy.dtype).min)  # finite: a video may have no snippet
        return torch.where(mask, energy.softmax(1), 0)
    return torch.where(mask, energy.sigmoid(), 0)


def snippet_positions(mask: Tensor, normalized: bool = True) -> Tensor:
    """Place of each snippet among the visible ones of its video, (B, T).

    Midpoints in [0, 1], so that a video's length does not matter, or the paper's indices 1..N.
    """
    rank = mask.cumsum(1).to(torch.get_default_dtype())
    return (rank - 0.5) / rank[:, -1:].clamp_min(1) if normalized else rank


def coverage_offset(attention: Tensor, positions: Tensor, normalized: bool = True) -> Tensor:
    """Signed distance (B, T) of each position from the centroid of the attention (B, T): the bracket of (6).

    The paper does not divide the centroid by the attention's mass, which puts it beyond the last snippet of a long
    video and saturates the gate; `normalized` divides.
    """
    centroid = (attention * positions).sum(1, keepdim=True)
    if normalized:
        centroid = centroid / attention.sum(1, keepdim=True).clamp_min(torch.finfo(attention.dtype).tiny)
    return positions - centroid


def coverage_gate(offset: Tensor, state: Tensor, weight: Tensor) -> Tensor:
    """Permissive coverage COV_{t,i} (B, T, A) (6).

    Args:
        offset: From `coverage_offset` on the previous step's attention, (B, T).
        state: W_alpha h_{t-1}, (B, A), with weights of its own: W_alpha of (2) has other rows.
        weight: Z, (A,). The paper has a Z_i per snippet, which ties a model to one length.
    """
    return torch.sigmoid(offset[..., None] * weight + state[:, None])


def coverage_term(covered: Tensor, weight: Tensor) -> Tensor:
    """The original coverage (B, T, A), added within the tanh of (2): V c_{t,i} (Tu et al. 2016; See et al. 2017, 11).

    Args:
        covered: c_{t,i}, the attention of all earlier steps summed, (B, T).
        weight: V, (A,).
    """
    return covered[..., None] * weight


def repetition(attention: Tensor, weight: Tensor, snippets: Tensor | None = None) -> Tensor:
    """RAM_t (B,) of sigmoid attention (B, T) and scalar W_r (8).

    Given each video's number of snippets (B,), the attention is summed as a percentage of them: independent of the
    length, and so large that a weight near 0, which an optimizer reaches, makes it a count. Of the mean attention, 15
    instances ask for a weight of 50.
    """
    mass = attention.sum(1)
    return weight * (mass if snippets is None else 100 * mass / snippets)


def noisy_or(probabilities: Tensor) -> Tensor:
    """Probability (B, C) that at least one step is of the class, from probabilities (B, S, C)."""
    return 1 - (1 - probabilities).prod(1)


class Decoding(NamedTuple):
    """STAR's output. Beyond a video's last step everything of a step is zero, and `symbols` is C.

    Each step is an assembly, the closing one, which emits the end symbol, included: classes that were not emitted have
    their likeliest assembly there as often as not.
    """

    features: Tensor  # (B, T, D), those given, zero where the mask is False
    attention: Tensor  # (B, S, T) in [0, 1], zero where the mask is False
    pooled: Tensor  # (B, S, D), x_t
    logits: Tensor  # (B, S, C), d_t; their gradient by pooled[:, s] is that of step s alone, as in (11)
    class_scores: Tensor  # (B, C) in [0, 1], noisy-or of the probabilities over all steps
    end_logits: Tensor  # (B, S), the end symbol's part of d_t
    probabilities: Tensor  # (B, S, C), y_t; the end symbol has the rest
    repetition: Tensor  # (B, S), RAM_t, zero where RAM is off
    symbols: Tensor  # (B, S) int64, emitted, or the teacher's
    steps: Tensor  # (B, S) bool
    mask: Tensor  # (B, T) bool
    head_weight: None = None  # the logits are not linear in what was pooled


class State(NamedTuple):
    """What one step hands to the next."""

    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)
    covered: Tensor  # (B, T), attention that coverage heeds: of the last step, or, the original form, of all summed


class Assembly(NamedTuple):
    """What one step takes from the video."""

    attention: Tensor  # alpha_t, (B, T)
    pooled: Tensor  # x_t, (B, D)
    repetition: Tensor  # RAM_t, (B,)


class Context(NamedTuple):
    """What every step shares."""

    features: Tensor  # (B, T, D), zero where the mask is False
    mapped: Tensor  # U_alpha s_i, (B, T, A)
    mask: Tensor  # (B, T)
    positions: Tensor  # (B, T)
    snippets: Tensor  # (B,), at least 1


class Star(nn.Module):
    """Assembles actions one by one and names them with an LSTM.

    Args:
        feature_dim: D.
        num_classes: C.
        aggregator: Called as `aggregator(features (B, T, D), attention (B, T), mask (B, T))`, returns (B, D). That of
            (1) is the weighted sum; with hundreds of snippets it saturates the LSTM, and an average does not.
        hidden_size: H, of the LSTM.
        attention_size: A.
        embedding_size: Of the previous label.
        modules: Which take part: "sparsity" (a loss), "coverage" (a gate and a loss), "ram" (an input and a loss). A
            weight of 0 switches a module off as well. RAM learns from instance counts: where the targets have none it
            stays off, with a warning.
        sparsity: Weight of the L1 norm of the attention, beta in (15).
        coverage: Weight of the coverage loss, gamma.
        ram: Weight of the repetition loss, delta.
        attention_normalization: What makes attention of energies (3): "sigmoid", or "softmax" over snippets, the
            conventional one of Figure 3. The sum of a softmax is 1 whatever was learnt: sparsity is constant then, and
            RAM counts the sigmoids of (8) still.
        coverage_mechanism: Of the module "coverage": "permissive", the gate (6, 7) with the loss (17), or "original",
            that of Figure 4: earlier attention in the energy, and what a step attends again as the loss.
        length_normalized: Divide sums over snippets (sparsity, coverage, RAM) by the video's length, and measure
            coverage by relative positions. False is the paper's form, whose scale depends on the length.
        label_order: Order in which labels are learnt: by "class" index, or by descending "count".
        max_steps: The most steps, hence labels, of a video.
        beam_width: Label sequences kept while decoding without targets; 1 is greedy.

    Attributes:
        context: How many snippets on each side a snippet is read with: none.

    Raises:
        ValueError: If an option is out of its range.
    """

    context = 0

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        aggregator: nn.Module,
        *,
        hidden_size: int = 256,
        attention_size: int = 128,
        embedding_size: int = 64,
        modules: Sequence[Module] = ("sparsity", "coverage"),
        sparsity: float = 0.01,
        coverage: float = 0.01,
        ram: float = 0.01,
        attention_normalization: Normalization = "sigmoid",
        coverage_mechanism: CoverageMechanism = "permissive",
        length_normalized: bool = True,
        label_order: LabelOrder = "class",
        max_steps: int = 10,
        beam_width: int = 1,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.aggregator = aggregator
        weights: dict[Module, float] = {"sparsity": sparsity, "coverage": coverage, "ram": ram}
        sizes = {
            "hidden_size": hidden_size,
            "attention_size": attention_size,
            "embedding_size": embedding_size,
            "max_steps": max_steps,
            "beam_width": beam_width,
        }
        choices = {
            "attention_normalization": (attention_normalization, Normalization),
            "coverage_mechanism": (coverage_mechanism, CoverageMechanism),
            "label_order": (label_order, LabelOrder),
        }
        _check_options(modules, weights, sizes, choices)
        self.weights = {name: weight for name, weight in weights.items() if name in modules and weight != 0}
        self.attention_normalization: Normalization = attention_normalization
        self.coverage_mechanism = coverage_mechanism
        self.length_normalized = length_normalized
        self.label_order = label_order
        self.max_steps = max_steps
        self.beam_width = beam_width

        self.feature_map = nn.Linear(feature_dim, attention_size)  # U_alpha
        self.state_map = nn.Linear(hidden_size, attention_size, bias=False)  # W_alpha of (2)
        self.energy_weight = nn.Parameter(torch.empty(attention_size))  # v_alpha
        if "coverage" in self.weights and coverage_mechanism == "permissive":
            self.gate_map = nn.Linear(hidden_size, attention_size)  # W_alpha of (6)
            self.gate_weight = nn.Parameter(torch.empty(attention_size))  # Z
        elif "coverage" in self.weights:
            self.covered_weight = nn.Parameter(torch.empty(attention_size))  # V
        if "ram" in self.weights:
            # Zero says nothing until counts have taught it, which is what RAM off means.
            self.repetition_weight = nn.Parameter(torch.zeros(()))  # W_r
        self.embedding = nn.Embedding(num_classes + 1, embedding_size)
        self.lstm = nn.LSTMCell(feature_dim + embedding_size + ("ram" in self.weights), hidden_size)
        self.output = nn.Linear(hidden_size, num_classes + 1)  # W_o
        for parameter in self.parameters(recurse=False):
            if parameter.ndim:  # W_r stays 0
                nn.init.uniform_(parameter, -(attention_size**-0.5), attention_size**-0.5)

    def forward(self, features: Tensor, mask: Tensor | None = None, targets: Targets | None = None) -> Decoding:
        """Decode a batch, along the targets' label sequences (teacher forcing) or along those found by beam search.

        Args:
            features: (B, T, D).
            mask: (B, T) bool, True on visible snippets, wherever they are: whatever the others, padding or hidden, hold
                has no part in the result, which is that of the visible ones alone.
            targets: Labels (B, C), and counts (B, C) or None. With them, class scores know the true previous labels.

        Raises:
            VideoError: If a video's targets cannot be learnt from; see `label_sequences`.
            ValueError: If features, mask, targets or the aggregator's output have another shape.
        """
        context = self._context(features, mask)
        if targets is None:
            with torch.no_grad():
                sequences = self._search(context)
            return self._decode(context, sequences)
        expected = (len(features), self.num_classes)
        for name, value in {"labels": targets.labels, "counts": targets.counts}.items():
            if value is not None and value.shape != expected:
                raise ValueError(f"targets.{name} must be (B, C) = {expected}, got {tuple(value.shape)}")
        counted = targets.counts is not None
        if "ram" in self.weights and not counted:
            message = (
                "RAM is off: it learns from instance counts, and the targets have none; "
                "in an experiment of wtal, data.counts = true gives them"
            )
            warnings.warn(message, stacklevel=2)
        return self._decode(context, label_sequences(targets, self.label_order, self.max_steps), counted)

    def check_targets(self, targets: Targets) -> None:
        """Whether targets can be learnt from, before any training.

        Raises:
            VideoError: If a video's cannot; see `label_sequences`.
            ValueError: If the label order needs counts and there are none.
        """
        label_sequences(targets, self.label_order, self.max_steps)

    def loss(self, decoding: Decoding, targets: Targets) -> dict[str, Tensor]:
        """Weighted terms of (15), means over videos: "classification" (16), and those of the modules that take part.

        Raises:
            VideoError: If a video's targets cannot be learnt from; see `label_sequences`.
            ValueError: If the decoding was not made with these targets.
        """
        symbols, steps = label_sequences(targets, self.label_order, self.max_steps)
        if not torch.equal(symbols, decoding.symbols):
            raise ValueError("the decoding follows other label sequences: decode with the targets of the loss")
        snippets = decoding.mask.sum(1).clamp_min(1) if self.length_normalized else None
        logits = torch.cat([decoding.logits, decoding.end_logits[..., None]], 2)
        terms = {"classification": losses.classification_loss(logits.log_softmax(2), symbols, steps)}
        if "sparsity" in self.weights:
            terms["sparsity"] = self.weights["sparsity"] * losses.sparsity_loss(decoding.attention, snippets)
        if "coverage" in self.weights:
            if self.coverage_mechanism == "permissive":
                excess = losses.coverage_loss(decoding.attention, decoding.mask, steps, snippets)
            else:
                excess = losses.overlap_loss(decoding.attention, snippets)
            terms["coverage"] = self.weights["coverage"] * excess
        if "ram" in self.weights and targets.counts is not None:
            actions = symbols < self.num_classes
            counts = targets.counts.gather(1, torch.where(actions, symbols, 0))
            terms["ram"] = self.weights["ram"] * losses.repetition_loss(decoding.repetition, counts, actions)
        return terms

    def _context(self, features: Tensor, mask: Tensor | None) -> Context:
        if features.ndim != 3 or features.shape[2] != self.feature_dim:
            raise ValueError(f"features must be (B, T, {self.feature_dim}), got {tuple(features.shape)}")
        if mask is None:
            mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        elif mask.shape != features.shape[:2] or mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be bool of shape {tuple(features.shape[:2])}, got {mask.dtype} of {tuple(mask.shape)}"
            )
        else:
            features = torch.where(mask[..., None], features, 0)
        return Context(
            features,
            self.feature_map(features),
            mask,
            snippet_positions(mask, self.length_normalized).to(features.dtype),
            mask.sum(1).clamp_min(1),
        )

    def _start(self, context: Context) -> State:
        hidden = context.features.new_zeros((len(context.features), self.lstm.hidden_size))
        return State(hidden, hidden, torch.zeros_like(context.positions))

    def _energies(self, context: Context, index: int, state: State) -> Tensor:
        """Energies (B, T) of a step: (2), or with coverage (7) or its original form."""
        mapped, gate = context.mapped, None
        if "coverage" in self.weights and index > 0:  # before the first step nothing is covered
            if self.coverage_mechanism == "permissive":
                offset = coverage_offset(state.covered, context.positions, self.length_normalized)
                gate = coverage_gate(offset, self.gate_map(state.hidden), self.gate_weight)
            else:
                mapped = mapped + coverage_term(state.covered, self.covered_weight)
        return energy(mapped, self.state_map(state.hidden), self.energy_weight, gate)

    def _assemble(self, context: Context, index: int, state: State, counted: bool = True) -> Assembly:
        energies = self._energies(context, index, state)
        attention = attention_weights(energies, context.mask, self.attention_normalization)
        pooled: Tensor = self.aggregator(context.features, attention, context.mask)  # (1)
        expected = (len(context.features), self.feature_dim)
        if pooled.shape != expected:
            raise ValueError(
                f"the aggregator {type(self.aggregator).__name__} returned pooled features of shape "
                f"{tuple(pooled.shape)}, but STAR needs (B, D) = {expected}: "
                "use an aggregator that keeps the feature dimension"
            )
        if not counted or "ram" not in self.weights:
            return Assembly(attention, pooled, attention.new_zeros(len(attention)))
        sigmoids = attention if self.attention_normalization == "sigmoid" else attention_weights(energies, context.mask)
        snippets = context.snippets if self.length_normalized else None
        return Assembly(attention, pooled, repetition(sigmoids, self.repetition_weight, snippets))

    def _recur(self, assembly: Assembly, previous: Tensor, state: State) -> State:
        """The LSTM: (4), or (9) with RAM."""
        inputs = [assembly.pooled, self.embedding(previous)]
        if "ram" in self.weights:
            inputs.append(assembly.repetition[:, None])
        hidden, cell = self.lstm(torch.cat(inputs, 1), (state.hidden, state.cell))
        original = self.coverage_mechanism == "original"
        return State(hidden, cell, state.covered + assembly.attention if original else assembly.attention)

    def _search(self, context: Context) -> Sequences:
        start = self._start(context)
        if self.beam_width > 1:
            context = Context(*(part.repeat_interleave(self.beam_width, 0) for part in context))

        def step(index: int, state: tuple[Tensor, ...], previous: Tensor) -> tuple[Tensor, State]:
            after = self._recur(self._assemble(context, index, State(*state)), previous, State(*state))
            return self.output(after.hidden).log_softmax(1), after

        return beam_search(step, start, self.num_classes, self.max_steps, self.beam_width)

    def _decode(self, context: Context, sequences: Sequences, counted: bool = True) -> Decoding:
        """Decode along given label sequences."""
        symbols, steps = sequences
        previous = torch.nn.functional.pad(symbols[:, :-1], (1, 0), value=self.num_classes)
        states = [self._start(context)]
        assemblies = [self._assemble(context, 0, states[0], counted)]
        for index in range(1, symbols.shape[1]):
            states.append(self._recur(assemblies[-1], previous[:, index - 1], states[-1]))
            assemblies.append(self._assemble(context, index, states[-1], counted))
        stacked = [torch.stack(parts, 1) for parts in zip(*assemblies, strict=True)]
        made = Assembly(*(torch.where(_like(steps, part), part, 0) for part in stacked))
        if torch.is_grad_enabled() and not made.pooled.requires_grad:  # a mean of given features depends on no weight
            made.pooled.requires_grad_()
        before = State(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*states, strict=True)))
        # The LSTM runs once more, on all steps at once: only so are the logits a function of the `pooled` that leaves
        # this module, each of its own step's alone, which is the derivative that (11) takes.
        after = self._recur(Assembly(*(part.flatten(0, 1) for part in made)), previous.flatten(), before)
        logits = self.output(after.hidden).unflatten(0, symbols.shape)
        probabilities = torch.where(steps[..., None], logits.softmax(2), 0)[..., :-1]
        logits = torch.where(steps[..., None], logits, 0)
        return Decoding(
            features=context.features,
            attention=made.attention,
            pooled=made.pooled,
            logits=logits[..., :-1],
            class_scores=noisy_or(probabilities),
            end_logits=logits[..., -1],
            probabilities=probabilities,
            repetition=made.repetition,
            symbols=symbols,
            steps=steps,
            mask=context.mask,
        )


def _check_options(
    modules: Sequence[Module],
    weights: Mapping[Module, float],
    sizes: Mapping[str, int],
    choices: Mapping[str, tuple[object, object]],
) -> None:
    """Refuse the first option that is out of its range; a choice comes with the `Literal` of its values."""
    if not isinstance(modules, list | tuple) or not all(module in tuple(weights) for module in modules):
        raise ValueError(f"modules must be a list of 'sparsity', 'coverage' and 'ram', got {modules!r}")
    for module, weight in weights.items():
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ValueError(f"{module} is the weight of a loss and must be 0 or more, got {weight!r}")
    for option, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{option} must be a whole number of 1 or more, got {size!r}")
    for option, (choice, literal) in choices.items():
        if choice not in get_args(literal):
            raise ValueError(f"{option} must be {' or '.join(map(repr, get_args(literal)))}, got {choice!r}")


def _like(steps: Tensor, part: Tensor) -> Tensor:
    """Steps (B, S) with as many dimensions as a part (B, S, ...)."""
    return steps.reshape(*steps.shape, *[1] * (part.ndim - 2))
