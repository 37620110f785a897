"""`wtal new-plugin`: a package to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wtal_core.cli.options import with_home


def command(
    name: Annotated[str, typer.Argument(help="Of the package, such as wtal-power-mean.", show_default=False)],
    kind: Annotated[str, typer.Option(help="Such as aggregator or feature-reader.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", parser=with_home, help="A new folder. Default: NAME.", show_default=False),
    ] = None,
) -> None:
    """Write a package with one component, which keeps the contract of its kind as it is and waits to be changed.

    Example: `wtal new-plugin wtal-power-mean --kind aggregator`
    """
    from wtal_core.kinds import known_kind
    from wtal_core.new_plugin import component_name, write_plugin
    from wtal_core.registry import discover

    known = known_kind(kind)
    folder = out or Path(name)
    written = write_plugin(name, known, folder, discover())
    component = component_name(name)
    print(f"{folder}: a package with the {known.name} {component!r}")
    for file in written:
        print(f"  {file}")
    print(
        f"next: pip install -e {shlex.quote(f'{folder}[test]')}; "
        f"wtal describe {known.name.replace(' ', '-')} {component}; python -m pytest {shlex.quote(str(folder))}"
    )
