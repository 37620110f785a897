"""`wtal plugins`: what is installed."""

from __future__ import annotations

from typing import Annotated

import typer


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """List every component by kind with the distribution that provides it, and the plugins set aside with their errors.

    Example: `wtal plugins --json`
    """
    from wtal_core.registry import discover

    registry = discover()
    if as_json:
        import msgspec

        content = {"components": registry.components, "quarantined": registry.quarantined}
        print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
        return
    from rich.table import Table
    from rich.text import Text

    from wtal_core.report import console

    table = Table("kind", "name", "distribution", "version", "class", box=None, pad_edge=False)
    for component in registry.components:
        origin = component.origin
        row = component.kind, component.name, origin.distribution, origin.version, component.target
        table.add_row(*map(Text, row))
    console().print(table)
    for plugin in registry.quarantined:
        print(f"\nquarantined: {plugin.origin} ({plugin.origin.entry_point}): {plugin.error}")
