"""Arguments that several subcommands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from wtal_core.source import Source, source_of


def with_home(path: str) -> Path:
    """A path of the command line, where `~` at the beginning may come in quotes, past the shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - keeps what it cannot expand


Experiment = Annotated[
    Source,
    typer.Argument(
        metavar="EXPERIMENT",
        parser=source_of,
        help="The experiment: a TOML file, or the name of a preset such as maan-thumos14.",
        show_default=False,
    ),
]
Annotations = Annotated[
    Path | None,
    typer.Option(metavar="PATH", parser=with_home, help="Where the annotations are: data.annotations."),
]
Features = Annotated[
    Path | None,
    typer.Option(metavar="PATH", parser=with_home, help="Where the features are: data.features."),
]
RunDirectory = Annotated[
    Path, typer.Argument(metavar="RUN", parser=with_home, help="A run directory.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one value, e.g. model.aggregator=maa. Repeatable."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        parser=with_home,
        help="Where runs go: one folder per seed. Default: runs/NAME of the file or preset.",
        show_default=False,
    ),
]
Seeds = Annotated[
    str | None, typer.Option(help="Seeds to run, as 0,1,2. Default: the experiment's own.", show_default=False)
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes on this machine. Default: one a core, at most one a task.", show_default=False),
]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Compute on an existing Dask cluster, whose workers see the same folders as this machine; the address of "
        "its scheduler, as tcp://HOST:8786. Needs the extra: pip install 'wtal-core[cluster]'.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
