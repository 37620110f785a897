"""The options of a component: the parameters of its class or function, less those that the host gives."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from wtal_core.errors import nearest
from wtal_core.kinds import Kind

_UNKNOWN = inspect.Parameter.empty


class Option(NamedTuple):
    """One option. `type` and `default` are `inspect.Parameter.empty` where there is none."""

    name: str
    type: Any  # what its annotation means, or the annotation as written where that cannot be told
    written: str  # the type as its author wrote it; the values themselves where it is a choice of some
    default: Any

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is _UNKNOWN


class Options(NamedTuple):
    """All options of a component."""

    named: tuple[Option, ...]
    any_other: bool  # it takes options of any other name as well, or does not say which it takes


def options_of(target: Callable[..., Any], injected: Collection[str]) -> Options:
    """The options of a class or function, in the order of its signature, less the parameters that the host injects."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # compiled code that does not say what it takes
        return Options((), any_other=True)
    named = tuple(
        _option(p, target)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in injected
    )
    return Options(named, any(p.kind is p.VAR_KEYWORD for p in parameters) and not _inherits_from_torch(target))


def injected(kind: Kind, target: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a class or function that the host fills: those always given, and of those offered its own."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    return kind.given + tuple(name for name in kind.offered if name in parameters)


def option_problem(options: Options, values: Mapping[str, Any]) -> str | None:
    """What is wrong with a user's options, as the rest of a sentence about the component; None if nothing is."""
    known = {option.name: option for option in options.named}
    listed = f"its options: {', '.join(known) or 'none'}"
    for name, value in values.items():
        if name not in known:
            if not options.any_other:
                return " ".join(filter(None, (f"has no option {name!r};", nearest(name, list(known)), listed)))
        elif not _fits(value, known[name].type):
            return f"wants {known[name].written} for the option {name!r}, got {value!r}"
    for option in options.named:
        if option.required and option.name not in values:
            return f"needs the option {option.name!r}; {listed}"
    return None


def _fits(value: Any, meant: Any) -> bool:
    """Whether a value of an experiment file is of a type; anything else, and an unknown type, passes."""
    import msgspec  # here, because listing plugins must not pay for it

    def stranger(*_: Any) -> Any:
        raise NotImplementedError

    if meant is _UNKNOWN or type(value) not in (str, bool, int, float, list, dict):
        return True
    try:
        msgspec.convert(value, meant, strict=True, dec_hook=stranger)
    except msgspec.ValidationError:
        return False
    except Exception:  # a type that only the component's author knows
        return True
    return True


def _option(parameter: inspect.Parameter, target: Callable[..., Any]) -> Option:
    annotation = parameter.annotation
    meant = _meaning(annotation, target)
    if annotation is _UNKNOWN:
        written = ""
    elif get_origin(meant) is Literal:
        written = " | ".join(map(repr, get_args(meant)))
    else:
        written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return Option(parameter.name, meant, written, parameter.default)


def _meaning(annotation: Any, target: Callable[..., Any]) -> Any:
    """The type that an annotation means, where its module has the names in it."""
    if not isinstance(annotation, str):
        return annotation
    target = unwrapped(target)
    function = inspect.unwrap(inspect.getattr_static(target, "__init__") if isinstance(target, type) else target)
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except Exception:
        return annotation


def unwrapped(target: Callable[..., Any]) -> Callable[..., Any]:
    """What `functools.partial` was given, however often."""
    while isinstance(target, functools.partial):
        target = target.func
    return target


def _inherits_from_torch(target: Callable[..., Any]) -> bool:
    """Whether a class without `__init__` has that of `nn.Module`, which takes options of any name to refuse them."""
    module = getattr(inspect.getattr_static(target, "__init__"), "__module__", None)
    return isinstance(target, type) and str(module).startswith("torch.")
