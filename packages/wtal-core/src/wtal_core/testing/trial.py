"""A trial: the clauses of one kind, each tried on its examples, by a component that is built and called."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wtal_core.answers import ContractError, require
from wtal_core.discovery import Component, Origin
from wtal_core.errors import PluginError, one_line
from wtal_core.kinds import known_kind

Example = Mapping[str, Any]
Examples = Callable[[], Iterable[Example]]
Check = Callable[..., None]


class Clause(NamedTuple):
    """A sentence of the contract of one kind, and how it is checked."""

    name: str  # in code, such as "padding"; what a waiver names
    sentence: str  # what a component promises
    examples: Examples  # gives the inputs on which it is tried, the smallest first, made anew at each call
    holds: Check  # called as `holds(trial, **example)`; raises `ContractError` where the sentence does not hold


_CLAUSES: dict[str, list[Clause]] = {}


def clause(kind: str, examples: Examples, sentence: str) -> Callable[[Check], Check]:
    """Make a function the check of a clause of this kind; clauses are tried in the order of their definition."""

    def add(holds: Check) -> Check:
        _CLAUSES.setdefault(kind, []).append(Clause(holds.__name__.strip("_"), sentence, examples, holds))
        return holds

    return add


def once() -> Iterator[Example]:
    """For a clause that needs no example, or makes its own."""
    yield {}


def clauses(kind: str) -> tuple[Clause, ...]:
    """The clauses of the contract of a kind, in the order in which they are checked.

    Raises:
        PluginError: there is no such kind.
    """
    known = known_kind(kind)
    _ = known.module  # which adds them
    return tuple(_CLAUSES[known.name])


class Trial:
    """One clause on one example: it builds and calls components, and remembers as text what it last gave one.

    Attributes:
        make: builds a component.
        kind: of the component.
        write: of a reader's trial: writes what it reads.
    """

    def __init__(
        self, kind: str, make: Callable[..., Any], write: Callable[[Path, Any], object] | None, example: Example
    ) -> None:
        self.kind = known_kind(kind)
        self.make = make
        self.write = write
        self.given = _texts(example)

    def build(self, seed: int = 0, /, **injected: Any) -> Any:
        """A new component that the host would bind, from torch's generator at the same state each time."""
        torch.manual_seed(seed)
        try:
            made = self.make(**injected)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.given = _texts(injected)
            # A component is callable too, so that an instance fails here, for want of its own arguments.
            builds = inspect.isroutine(self.make) or isinstance(self.make, type | functools.partial)
            hint = "" if builds else "; give the class or what builds one, not an instance"
            raise ContractError(f"Building it raised {_described(error)}{hint}.") from error
        component = Component(self.kind.name, _name(self.make), "", Origin("a", "test", ""))
        try:
            self.kind.module.Bound(made, component, injected)
        except PluginError as error:
            raise ContractError(f"The host refuses it: {error}.") from error
        return made

    @contextmanager
    def written(self, content: Any) -> Iterator[Path]:
        """Where `write` has written what a reader shall read: a file or a folder, with room beside it."""
        if self.write is None:
            raise ContractError("A reader is tried with `write`, which writes what it reads.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.kind.identifier
            self.write(path, content)
            yield path

    def call(self, function: Callable[..., Any], /, **given: Any) -> Any:
        """Call with these arguments, by position."""
        self.given = _texts(given)
        return function(*given.values())

    def unchanged(self, **given: Any) -> None:
        """Require that the arguments of the last call are as they were."""
        for name, value in given.items():
            require(shown(value) == self.given[name], f"{name} became {shown(value)}.")


def check(
    kind: str,
    make: Callable[..., Any],
    *,
    write: Callable[[Path, Any], object] | None = None,
    waive: Mapping[str, str] | None = None,
) -> None:
    """Try every clause of a kind on each of its examples.

    Args:
        kind: such as "aggregator".
        make: the component's class, or whatever builds one: `functools.partial(MyPooling, power=2)`.
        write: of a reader: `write(path, content)` writes what is to be read, in the reader's layout, a file or a folder
            at `path`, where there is nothing yet.
        waive: clauses that the component does not promise, by name, each with the reason.

    Raises:
        ContractError: the first clause that does not hold, what happened, and the smallest input that shows it. What a
            component raises breaks the clause, and so does an answer that the check can make nothing of.
        ValueError: a waiver names no clause, or gives no reason.
    """
    for one in unwaived(kind, waive or {}):
        check_clause(kind, one, make, write)


def unwaived(kind: str, waive: Mapping[str, str]) -> list[Clause]:
    """The clauses of a kind that are not waived."""
    known = clauses(kind)
    for name, reason in waive.items():
        if name not in {one.name for one in known}:
            raise ValueError(f"no clause {name!r} of the kind {kind}: {', '.join(one.name for one in known)}")
        if not reason.strip():
            raise ValueError(f"the waiver of {name!r} needs a reason")
    return [one for one in known if one.name not in waive]


def check_clause(
    kind: str, one: Clause, make: Callable[..., Any], write: Callable[[Path, Any], object] | None = None
) -> None:
    """Try one clause; as `check`."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for example in one.examples():
            trial = Trial(kind, make, write, example)
            try:
                one.holds(trial, **example)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                known = isinstance(error, ContractError)
                broken = str(error) if known else f"Checking it raised {_described(error)}."
                given = ", ".join(f"{name} = {text}" for name, text in trial.given.items())
                raise ContractError(
                    f"{kind} {_name(make)} breaks the contract: {one.sentence}. {broken}"
                    + (f"\nThe smallest input that shows it: {given}" if given else "")
                ) from (error.__cause__ if known else error)


# What the clauses of several kinds require


def refused(
    trial: Trial,
    file: Path,
    errors: type[Exception] | tuple[type[Exception], ...],
    function: Callable[..., Any],
    **given: Any,
) -> None:
    """Require that a call raises an error whose message has the whole path of the file, or of the folder it lies in."""
    try:
        answer = trial.call(function, **given)
    except errors as error:
        require(str(file) in str(error), f"{str(error)!r} does not name {str(file)!r}.")
    else:
        require(False, f"It gave {answer!r}.")


def spoil(path: Path) -> None:
    """Write what no layout has into a file, or into all files of a folder."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            file.write_bytes(b"\xff malformed \x00")


def untouched(trial: Trial, **given: Any) -> None:
    """Require that a call of the component leaves its arguments as they are."""
    trial.call(trial.build(), **given)
    trial.unchanged(**given)


def draws_in_training_alone(build: Callable[[], nn.Module], answer: Callable[[nn.Module], list[Tensor]]) -> None:
    """Require that evaluation leaves torch's generator alone, and that training draws from nothing else."""
    for training in (False, True):
        answers, states = [], []
        for seed in (0, 0, 1):
            module = build().train(training)
            seeded = torch.manual_seed(seed).get_state()
            answers.append(answer(module))
            states.append(torch.get_rng_state())
            require(training or torch.equal(states[-1], seeded), "Evaluation moved torch's generator.")
        for again in answers[1:2] if training else answers[1:]:
            equal = all(map(torch.equal, answers[0], again))
            require(equal, f"It gave {shown(answers[0])}, then {shown(again)}.")
        require(not torch.equal(states[0], states[2]), "It seeded torch's generator.")


def remembers(build: Callable[[int], nn.Module], answer: Callable[[nn.Module], list[Tensor]]) -> None:
    """Require that what a step of training left in a module returns from a checkpoint, into one of other weights."""
    trained = build(0).train()
    answer(trained)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.25)
    state = {name: tensor.detach().contiguous() for name, tensor in trained.state_dict().items()}
    fresh = build(1)
    fresh.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    for training in (False, True):
        torch.manual_seed(0)
        expected = answer(trained.train(training))
        torch.manual_seed(0)
        got = answer(fresh.train(training))
        equal = all(map(same, got, expected))
        require(equal, f"Restored from a checkpoint it gives {shown(got)}, not {shown(expected)}.")


def repeats(
    trial: Trial,
    component: Callable[..., Any],
    given: Example,
    examples: Examples,
    arrays: Callable[[Any], Sequence[NDArray[Any]]],
    again: Example | None = None,
) -> None:
    """Require the same arrays of a second call, made as `again` if that is given, and of a third after all examples."""
    first = [part.copy() for part in arrays(component(*given.values()))]
    for between in ((), examples()):
        for other in between:
            component(*other.values())
        same_arrays(first, arrays(trial.call(component, **(again or given))))


def same(one: Tensor, other: Tensor) -> bool:
    """Whether tensors are equal up to the rounding of float32."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def same_arrays(first: Sequence[NDArray[Any]], again: Sequence[NDArray[Any]]) -> None:
    """Require equal arrays, up to rounding."""
    equal = all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=1e-9, equal_nan=True)
        for one, other in zip(first, again, strict=True)
    )
    require(equal, f"It gave {shown(first)}, then {shown(again)}.")


# Inputs


def devices() -> list[torch.device]:
    """The CPU, and the GPU if there is one."""
    return [torch.device(name) for name in (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])]


def some_seen(batch: Tensor) -> Tensor:
    """A mask (B, T) for a batch (B, T, ...): of the first video the first snippet alone, others have a hole."""
    mask = all_seen(batch)
    mask[0, 1:] = False
    mask[1:, batch.shape[1] // 2] = False
    return mask


def all_seen(batch: Tensor) -> Tensor:
    """A mask (B, T) of True for a batch (B, T, ...)."""
    return torch.ones(batch.shape[:2], dtype=torch.bool, device=batch.device)


def opened(batch: Tensor, at: int, value: float, dim: int = 1) -> Tensor:
    """The batch with one snippet more, before that of index `at` along the dimension that is time; it holds `value`."""
    before, after = batch.tensor_split([at], dim)
    return torch.cat([before, torch.full_like(batch.narrow(dim, 0, 1), value), after], dim)


def places(batch: Tensor) -> tuple[int, int]:
    """Where to hide a snippet more of a batch (B, T, ...): at the end, which is padding, and in a hole."""
    return batch.shape[1], batch.shape[1] // 2


# Texts


def shown(value: Any) -> str:
    """An argument as text, all its numbers included."""
    if isinstance(value, Tensor | np.ndarray):
        return str(value.tolist())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return "(" + ", ".join(f"{name}={shown(part)}" for name, part in zip(value._fields, value, strict=True)) + ")"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return repr(value)


def _texts(given: Example) -> dict[str, str]:
    return {name: shown(value) for name, value in given.items()}


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _name(make: Callable[..., Any]) -> str:
    while isinstance(make, functools.partial):
        make = make.func
    return str(getattr(make, "__qualname__", type(make).__name__))
