"""`wtal convert`: features in any layout to one HDF5 file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wtal_core.cli.options import with_home


class Number(StrEnum):
    """What `--dtype` may be; a class of its own, as the oldest typer wants it."""

    float16 = "float16"
    float32 = "float32"


def command(
    features: Annotated[
        Path,
        typer.Argument(metavar="IN", parser=with_home, help="The features, a folder or a file.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT.h5", parser=with_home, help="The file to write.", show_default=False)
    ],
    reader: Annotated[
        str, typer.Option(help="How features are laid out, as data.reader: a name, or a table in quotes.")
    ] = "auto",
    streams: Annotated[
        str, typer.Option(help="Streams to convert; or their columns, as rgb=0:1024,flow=1024:2048.")
    ] = "rgb,flow",
    dtype: Annotated[Number, typer.Option(help="Of the numbers in the file.")] = Number.float32,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read W-TALC's pickled array; nothing in it is run.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished conversion.")] = False,
) -> None:
    """Write features in any layout to one HDF5 file that every experiment can read, with a checksum for each array.

    Arrays that are done are kept when the command is interrupted, and OUT.h5 appears when all are read back.

    Example: `wtal convert I3D.npy thumos14.h5 --streams rgb=0:1024,flow=1024:2048 --dtype float16 --allow-pickle`
    """
    from wtal_core.convert import convert
    from wtal_core.data.dataset import open_reader
    from wtal_core.progress import bars
    from wtal_core.registry import discover

    names, columns = _streams(streams)
    choice = _component(reader)
    if columns:
        choice["streams"] = columns
    if allow_pickle:
        choice["allow_pickle"] = True
    store = open_reader(discover(), "feature reader", choice, features)
    with bars() as progress:
        count, kept = convert(store, names, out, dtype.value, resume, progress)
    also = f", {kept} of them were there already" if kept else ""
    print(f"{out}: {count} arrays of {dtype}{also}; read back and as written")
    print("next: wtal validate EXPERIMENT --set data.features=" + str(out))


def _component(text: str) -> dict[str, Any]:
    """A component by its name, or by the table that an experiment has."""
    import tomllib

    from wtal_core.errors import ConfigError

    if not text.lstrip().startswith("{"):
        return {"name": text}
    try:
        table = tomllib.loads(f"reader = {text}")["reader"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--reader {text}: not valid TOML: {error}") from None
    if not isinstance(table.get("name"), str):
        raise ConfigError(f"--reader {text}: a table needs a `name`, such as {{ name = 'npy', transposed = true }}")
    return dict(table)


def _streams(text: str) -> tuple[list[str], dict[str, list[int]]]:
    """The names of streams, and the columns of those that have some.

    Raises:
        ConfigError: a name is empty or comes twice; or some have columns and some have none.
    """
    from wtal_core.errors import ConfigError

    pairs = [part.strip().partition("=") for part in text.split(",")]
    names = [name.strip() for name, _, _ in pairs]
    wrong = f"--streams {text}: expected names with commas between, such as rgb,flow, or rgb=0:1024,flow=1024:2048"
    if not all(names) or len(set(names)) < len(names) or len({bool(equals) for _, equals, _ in pairs}) > 1:
        raise ConfigError(wrong)
    try:
        columns = {name.strip(): [int(end) for end in ends.split(":")] for name, equals, ends in pairs if equals}
    except ValueError:
        raise ConfigError(wrong) from None
    return names, columns
