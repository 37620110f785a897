"""The page of every key of an experiment, made from the structures that read it: `wtal_core.config`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from sphinx.pycode import ModuleAnalyzer
from wtal_core import config

INTRODUCTION = """# The keys of an experiment

An experiment is a TOML file. An unknown key or a wrong type is an error with its path, and `wtal validate` finds all of
them at once. `--set training.iterations=500` changes one key for one command, `--set stages.0.models=3` one of a list.

A *component* is its name, or a table with `name` and its options: `"threshold"`, or
`{ name = "threshold", threshold = 0.3 }`.
`wtal plugins` lists the components of each kind, and `wtal describe KIND NAME` the options of one.
"""


def page() -> str:
    """Markdown: a section for each table of the file, a row for each key."""
    return "\n".join([INTRODUCTION, *sections(config.Experiment, "")])


def sections(table: type[msgspec.Struct], path: str) -> Iterator[str]:
    """The section of a table at a path, then those of the tables in it."""
    comments = ModuleAnalyzer.for_module(config.__name__).find_attr_docs()
    yield f"## {f'`{path}`' if path else 'The file'}\n\n{inspect.cleandoc(table.__doc__ or '')}\n"
    yield "| key | type | default | |\n|---|---|---|---|"
    inner = []
    for field in msgspec.structs.fields(table):
        key = f"{path}.{field.name}" if path else field.name
        tables = [one for one in members(field.type) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        within = {list: f"{key}[i]", dict: f"{key}.NAME"}.get(get_origin(field.type), key)
        inner += [(one, within) for one in tables]
        meaning = " ".join(comments.get((table.__name__, field.name), ())).strip()
        cells = [f"`{key}`", written(field.type, key), default(field), meaning or "see its section"]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for one, key in inner:
        yield from sections(one, key)


def members(kind: Any) -> list[Any]:
    """A type, and those that it is made of."""
    return [kind, *(inner for part in get_args(kind) for inner in members(part))]


def written(kind: Any, key: str) -> str:
    """The type of a key in words."""
    if kind in (config.Component, config.Component | None):
        return f"component: {KINDS[key]}"
    if get_origin(kind) is Annotated:
        base, meta = get_args(kind)
        return written(base, key) + bounds(meta)
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(kind))
    if get_origin(kind) is list:
        item = written(get_args(kind)[0], key)
        return f"list, each {item}" if " or " in item else f"list of {item}"
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "table"
    if parts := [part for part in get_args(kind) if part is not type(None)]:
        return " or ".join(written(part, key) for part in parts)
    return {str: "text", bool: "true or false", int: "whole number", float: "number"}[kind]


def bounds(meta: msgspec.Meta) -> str:
    """What a number must be, as the rest of a sentence."""
    lower = f" above {meta.gt:g}" if meta.gt is not None else f" from {meta.ge:g}" if meta.ge is not None else ""
    return lower + (f" and below {meta.lt:g}" if meta.lt is not None else "")


def default(field: Any) -> str:
    """A key's default as TOML, which for these values is JSON; nothing where it is a table or none."""
    if field.required:
        return "must be given"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    one = value[0] if isinstance(value, list) and value else value
    return "" if one is None or isinstance(one, dict | msgspec.Struct) else f"`{json.dumps(value)}`"


def kinds() -> Mapping[str, str]:
    """The kind of component that each key holds."""
    everything = config.Experiment(
        config.Data("", "", "duration"),
        training=config.Training(losses=[""]),
        stages=[config.Stage(teacher="")],
        trackers=[""],
    )
    return {re.sub(r"\[0\]$", "", path).replace("[0]", "[i]"): kind for path, kind, _ in config.components(everything)}


KINDS = kinds()
