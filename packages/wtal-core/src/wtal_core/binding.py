"""Bound components: what the registry builds comes back in a wrapper that guards the border, once.

The wrapper calls the component, holds its answer against the contract, and turns whatever goes wrong inside into an
error that names the component and what the host was doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

from wtal_core.discovery import Component
from wtal_core.errors import PluginError, WtalError, failure

_DOING: ContextVar[str] = ContextVar("doing", default="fails")
_CHECKING: ContextVar[bool] = ContextVar("checking", default=True)
_FINITE: ContextVar[bool] = ContextVar("finite", default=True)


@contextmanager
def during(doing: str, *, checked: bool = True, finite: bool = True) -> Iterator[None]:
    """Say what the host is doing while components run, such as "fails on video 'v1'", as errors will print it.

    Args:
        doing: the rest of a sentence that begins with the component's name.
        checked: look at the values of tensors too; on a GPU that waits, so that training does it now and then. Types
            and shapes are always held against the contract.
        finite: hold tensors to be finite. Once a step was taken it may be the step that was too large, so that training
            looks at the loss instead.
    """
    said, held, limited = _DOING.set(doing), _CHECKING.set(checked), _FINITE.set(finite)
    try:
        yield
    finally:
        _FINITE.reset(limited)
        _DOING.reset(said)
        _CHECKING.reset(held)


def checking() -> bool:
    """Whether the values of tensors are to be looked at now."""
    return _CHECKING.get()


def finite() -> bool:
    """Whether a tensor that is not finite is the fault of who gave it."""
    return _FINITE.get()


@contextmanager
def blaming(
    component: Component, refusals: tuple[type[Exception], ...] = (), doing: str | None = None
) -> Iterator[None]:
    """Turn whatever a component's code raises, a wish to exit included, into an error that names the component.

    Args:
        component: whose code runs.
        refusals: by which it says what is wrong with its arguments; they pass unchanged.
        doing: what the host is doing; by default as `during` says.

    Raises:
        PluginError: anything else was raised. Errors of ours pass unchanged.
    """
    try:
        yield
    except refusals:
        raise
    except (WtalError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{component} {doing or _DOING.get()}: {failure(error)}") from error


class Bound:
    """A component in its wrapper; a kind's file derives from this what its border needs."""

    refusals: ClassVar[tuple[type[Exception], ...]] = ()  # errors by which it says what is wrong with its arguments

    def __init__(self, made: Any, component: Component, given: Mapping[str, Any]) -> None:
        self.made = made  # by the component's own code
        self.component = component
        self.given = given  # what of the host's reached its constructor

    def __call__(self, *arguments: Any) -> Any:
        """The component's answer, held against the contract."""
        with blaming(self.component, self.refusals):
            answer = self.made(*arguments)
            self.check(answer, *arguments)
        return answer

    def rehearse(self, num_classes: int) -> None:
        """Try the component on a small example, if its kind has one; raises as a call does."""

    def check(self, answer: Any, *arguments: Any) -> None:
        """Raise `ContractError` where the answer is not what the kind promises."""
