"""`wtal describe`: what one component does, and its options."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer


def command(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND NAME", help="Such as aggregator maa; `wtal plugins` lists them.", show_default=False
        ),
    ],
    disable: Annotated[
        list[str] | None,
        typer.Option(metavar="DISTRIBUTION", help="Leave out a plugin, where two have the name. Repeatable."),
    ] = None,
) -> None:
    """Print what a component does, its options with types and defaults, its source and its distribution.

    Of a preset, print its file: `wtal describe preset maan-thumos14 > mine.toml` is one to edit.

    Example: `wtal describe aggregator maa`
    """
    from rich.table import Table
    from rich.text import Text

    from wtal_core.binding import blaming
    from wtal_core.kinds import known_kind
    from wtal_core.options import injected, options_of, unwrapped
    from wtal_core.registry import discover
    from wtal_core.report import console
    from wtal_core.source import preset_file

    if len(words) < 2:
        raise typer.BadParameter("give a kind and a name")
    registry = discover(disable or ())
    if words[0] == "preset" and len(words) == 2:
        print(preset_file(registry, words[1]).read_text(encoding="utf-8"), end="")
        return
    kind, name = known_kind(" ".join(words[:-1])), words[-1]
    component = registry.find(kind.name, name)
    target = registry.load(kind.name, name)
    with blaming(component, doing="cannot be described"):
        text, source = _read(unwrapped(target))
        options = options_of(target, injected(kind, target))
        rows = [(o.name, o.written, "required" if o.required else repr(o.default)) for o in options.named]
    print(f"{kind.name} {name}\n\n{text}\n")
    if options.any_other:
        rows.append(("any other option", "", ""))
    if rows:
        table = Table("option", "type", "default", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        console().print(table)
    else:
        print("no options")
    print(f"\nclass: {component.target}\nsource: {source}\ndistribution: {component.origin}")


def _read(target: Any) -> tuple[str, str]:
    """The docstring of a class or function, and the file that it stands in."""
    try:
        source = inspect.getsourcefile(target)
    except TypeError:  # compiled, or an object
        source = None
    own = inspect.cleandoc(target.__doc__ or "")  # inspect.getdoc would give that of nn.Module to a class without one
    return own or "It does not say what it does.", source or "unknown"
