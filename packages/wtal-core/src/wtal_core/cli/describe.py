"""`wtal describe`: what one component does, and its options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

#: What the host gives a component of a kind when it builds one; all other parameters are options.
INJECTED = {"decoder": ("feature_dim", "num_classes", "aggregator"), "feature reader": ("path",)}


def command(
    kind: Annotated[str, typer.Argument(help="Such as aggregator or feature-reader.", show_default=False)],
    name: Annotated[str, typer.Argument(help="A name that `wtal plugins` lists.", show_default=False)],
) -> None:
    """Print what a component does, its options with types and defaults, its source and its distribution.

    Example: `wtal describe aggregator maa`
    """
    from rich.table import Table
    from rich.text import Text

    from wtal_core.plugins import discover, known_kind
    from wtal_core.report import console

    kind = known_kind(kind)
    registry = discover()
    component = registry.find(kind, name)
    target = registry.load(kind, name)
    print(f"{kind} {name}\n\n{inspect.getdoc(target) or 'It does not say what it does.'}\n")
    options = [p for p in inspect.signature(target).parameters.values() if p.name not in INJECTED.get(kind, ())]
    if options:
        table = Table("option", "type", "default", box=None, pad_edge=False)
        for option in options:
            default = "required" if option.default is option.empty else repr(option.default)
            table.add_row(*map(Text, (option.name, _type(option.annotation, target), default)))
        console().print(table)
    else:
        print("no options")
    print(f"\nclass: {component.target}\nsource: {inspect.getsourcefile(target)}\ndistribution: {component.origin}")


def _type(annotation: Any, target: Callable[..., Any]) -> str:
    """A type as its author wrote it; the values that a name stands for, where it stands for some."""
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    meant = getattr(sys.modules.get(target.__module__), text, annotation)
    return " | ".join(map(repr, get_args(meant))) if get_origin(meant) is Literal else text
