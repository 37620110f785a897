"""`wtal data`: public data sets to try things on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wtal_core.cli.options import with_home


class Action(StrEnum):
    """What there is to do; a class of its own, as the oldest typer wants it."""

    list = "list"
    get = "get"


def command(
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of the data set to get.", show_default=False)
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", parser=with_home, help="A new folder for it. Default: ./NAME.", show_default=False
        ),
    ] = None,
) -> None:
    """List public data sets with their licences, or write one as annotations.json and features/.

    Nothing is downloaded: a data set is made from files that an installed package has brought, whose SHA-256 is known,
    and where they are missing it says what to install.

    Example: `wtal data get exercises --to my-exercises`
    """
    from wtal_core.data_sets import DATA_SETS, find, get

    if (action is Action.get) != (name is not None):
        raise typer.BadParameter("get takes the NAME of a data set, and list takes none")
    if name is None:
        for known, one in DATA_SETS.items():
            print(f"{known}: {one.what}")
            print(f"  licence {one.licence}; {one.source}")
            print(f"  SHA-256 {one.sha256}; its files come with: {one.install}")
        return
    folder = to or Path(name)
    get(name, folder)
    print(f"{folder}: annotations.json and features; licence {find(name).licence}; {find(name).source}")
