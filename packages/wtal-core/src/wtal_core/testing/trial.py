"""A trial: the clauses of one kind, tried one by one on a component that remembers what it was last given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from wtal_core.errors import one_line
from wtal_core.testing.answers import ContractError, require


class Clause(NamedTuple):
    """A sentence of the contract of one kind, and a function that raises `ContractError` where it does not hold."""

    sentence: str
    check: Callable[[Trial], None]


_CLAUSES: dict[str, list[Clause]] = {}


def clause(kind: str, sentence: str) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Make a function the check of a clause of this kind; clauses are tried in the order of their definition."""

    def add(check: Callable[[Trial], None]) -> Callable[[Trial], None]:
        _CLAUSES.setdefault(kind, []).append(Clause(sentence, check))
        return check

    return add


def clauses(kind: str) -> tuple[str, ...]:
    """The sentences of the contract that are checked for a kind, in order."""
    return tuple(one.sentence for one in _CLAUSES[kind])


class Trial:
    """What a clause tries: it builds and calls components, and remembers the arguments of the last call as text.

    Attributes:
        make: builds a component.
        write: of a feature reader's trial: writes a store for it.
    """

    def __init__(self, make: Callable[..., Any], write: Callable[[Path, Any], object] | None = None) -> None:
        self.make = make
        self.write = write
        self.given: dict[str, str] = {}

    def build(self, **injected: Any) -> Any:
        """A new component, from torch's generator at the same state each time."""
        torch.manual_seed(0)
        self.given = {}
        try:
            return self.make(**injected)
        except Exception as error:
            raise ContractError(f"Building it raised {type(error).__name__}: {one_line(error)}.") from error

    def call(self, function: Callable[..., Any], /, **given: Any) -> Any:
        """Call with these arguments, by position; whatever it raises breaks the contract."""
        self.given = {name: shown(value) for name, value in given.items()}
        try:
            return function(*given.values())
        except Exception as error:
            raise ContractError(f"It raised {type(error).__name__}: {one_line(error)}") from error

    def unchanged(self, **given: Any) -> None:
        """Require that the arguments of the last call are as they were."""
        for name, value in given.items():
            require(shown(value) == self.given[name], f"{name} became {shown(value)}")


def check(kind: str, make: Callable[..., Any], write: Callable[[Path, Any], object] | None = None) -> None:
    """Try every clause of a kind.

    Raises:
        ContractError: the first clause that does not hold, what happened, and the smallest input that shows it.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for sentence, holds in _CLAUSES[kind]:
            trial = Trial(make, write)
            try:
                holds(trial)
            except ContractError as broken:
                given = ", ".join(f"{name} = {text}" for name, text in trial.given.items())
                raise ContractError(
                    f"{kind} {_name(make)} breaks the contract: {sentence}. {broken}"
                    + (f"\nThe smallest input that shows it: {given}" if given else "")
                ) from broken.__cause__


def devices() -> list[torch.device]:
    """The CPU, and the GPU if there is one."""
    return [torch.device(name) for name in (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])]


def is_module(component: Any) -> None:
    """Require an `nn.Module`, whose parameters are trained, moved between devices and saved."""
    require(isinstance(component, nn.Module), f"It is a {type(component).__name__}.")


def same(one: Tensor, other: Tensor) -> bool:
    """Whether tensors are equal up to the rounding of float32."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def restored(trained: nn.Module, fresh: nn.Module) -> nn.Module:
    """The fresh module with the trained one's state, after a way through a checkpoint."""
    state = {name: tensor.detach().contiguous() for name, tensor in trained.state_dict().items()}
    try:
        fresh.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    except (RuntimeError, ValueError) as error:
        raise ContractError(f"Its state_dict cannot be saved and loaded: {one_line(error)}") from error
    return fresh


def shown(value: Any) -> str:
    """An argument as text, all its numbers included."""
    if isinstance(value, Tensor | np.ndarray):
        return str(value.tolist())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return "(" + ", ".join(f"{name}={shown(part)}" for name, part in zip(value._fields, value, strict=True)) + ")"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {shown(part)}" for key, part in value.items()) + "}"
    return repr(value)


def _name(make: Callable[..., Any]) -> str:
    while isinstance(make, functools.partial):
        make = make.func
    return str(getattr(make, "__qualname__", type(make).__name__))
