"""The `wtal` command. One module per subcommand; torch is imported only by those that compute."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from wtal_core.cli import (
    compare,
    convert,
    data,
    demo,
    describe,
    evaluate,
    localize,
    new_plugin,
    plugins,
    run,
    sweep,
    train,
    tune,
    validate,
)
from wtal_core.cli.output import unfailing
from wtal_core.errors import WtalError, one_line

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def wtal(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Find out when actions happen in videos, from labels that only say what happens.

    Start with `wtal demo`. Exit codes: 0 done, 1 a bug in wtal or a plugin, 2 something for you to fix. What cannot be
    printed, because a reader went away or a disk is full, changes none of them.
    """


COMMANDS = (
    *(run, compare, train, localize, evaluate, sweep, tune, validate, convert),
    *(plugins, describe, new_plugin, data, demo),
)

for module in COMMANDS:
    app.command(name=module.__name__.rpartition(".")[2].replace("_", "-"))(module.command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error that the user can fix is one message and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    with unfailing():
        try:
            with plain_warnings():
                app([argument for argument in arguments if argument != "--debug"], prog_name="wtal")
        except WtalError as error:
            if debug:
                raise
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            sys.exit(2)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print a warning as one sentence, and each only once: a decoder may repeat its own at every iteration."""
    shown = set()

    def show(message: Warning | str, *_where: Any, **_more: Any) -> None:
        text = one_line(message)
        if text not in shown:
            shown.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
