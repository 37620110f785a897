"""A trial: the clauses of one kind, each tried on its examples, by a component that is built and called."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wtal_core.answers import ContractError, require
from wtal_core.discovery import Component, Origin
from wtal_core.errors import PluginError, one_line
from wtal_core.kinds import known_kind
from wtal_core.options import injected, unwrapped

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


def clauses(kind: str) -> tuple[Clause, ...]:
    """The clauses of the contract of a kind, in the order in which they are checked.

    Raises:
        PluginError: there is no such kind.
    """
    known = known_kind(kind)
    _ = known.module  # which adds them
    return tuple(_CLAUSES[known.name])


class Trial:
    """One clause on one example: it builds and calls components, and remembers as text what it last gave one."""

    def __init__(
        self,
        kind: str,
        one: Clause,
        make: Callable[..., Any],
        write: Callable[[Path, Any], object] | None,
        example: Example,
    ) -> None:
        self.kind = known_kind(kind)
        self.examples = one.examples
        self.make = make
        self.write = write
        self.given = _texts(example)
        self.offered = injected(self.kind, make)

    def build(self, seed: int = 0, /, **offered: Any) -> Any:
        """A new component that the host would bind, from torch's generator at the same state each time.

        Of what is offered it gets, as from the host, what its kind always has and what its signature asks for.
        """
        torch.manual_seed(seed)
        given = {name: value for name, value in offered.items() if name in self.offered}
        try:
            made = self.make(**given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.given = _texts(given)
            # A component is callable too, so that an instance fails here, for want of its own arguments.
            builds = inspect.isroutine(self.make) or isinstance(self.make, type | functools.partial)
            hint = "" if builds else "; give the class or what builds one, not an instance"
            raise ContractError(f"Building it raised {_described(error)}{hint}.") from error
        component = Component(self.kind.name, _name(self.make), "", Origin("a", "test", ""))
        try:
            self.bound = self.kind.module.Bound(made, component, given)
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

    @contextmanager
    def reader(self, content: Any) -> Iterator[Any]:
        """A reader of what is so written."""
        with self.written(content) as path:
            yield self.build(path=path)

    def call(self, function: Callable[..., Any], /, **given: Any) -> Any:
        """Call with these arguments, by position."""
        self.given = _texts(given)
        return function(*given.values())

    def checked(self, **given: Any) -> Any:
        """The answer of a new component, held against the contract as the host does."""
        answer = self.call(self.build(), **given)
        self.bound.check(answer, *given.values())
        return answer

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
            trial = Trial(kind, one, make, write, example)
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
    make = unwrapped(make)
    return str(getattr(make, "__qualname__", type(make).__name__))
