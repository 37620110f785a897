"""An experiment file that says where each of its values came from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wtal_core import config
from wtal_core.grid import bare, inline

#: The keys that lead to a value.
Path = tuple[str, ...]


def annotated(experiment: config.Experiment, sources: Mapping[str, Sequence[Path]], header: Sequence[str]) -> str:
    """The experiment as TOML with a comment at each value; a default is written only as a part of a component.

    Args:
        experiment: what to write; read back, it is the same.
        sources: the keys that were set, by what set them, the last that did so first.
        header: comments at the beginning.
    """
    table = config.to_table(experiment)
    stages = table.pop("stages")
    lines = [f"# {line}" for line in header]
    lines += _lines(((path, value) for path, value in _leaves(table) if len(path) == 1), 0, sources)
    for section, inner in table.items():
        if isinstance(inner, dict) and (found := _lines(_leaves(inner, (section,)), 1, sources)):
            lines += ["", f"[{section}]", *found]
    for number, stage in enumerate(stages):
        found = _lines(_leaves(stage, ("stages", str(number))), 2, sources)
        if found or len(stages) > 1:
            lines += ["", "[[stages]]", *found]
    return "\n".join(lines) + "\n"


def keys_of(text: str) -> list[Path]:
    """The keys that a TOML text sets."""
    table = tomllib.loads(text)
    stages = table.pop("stages", [])
    found = [path for path, _ in _leaves(table)]
    return found + [path for number, one in enumerate(stages) for path, _ in _leaves(one, ("stages", str(number)))]


def key_of(setting: str) -> Path:
    """The key that a setting `key.path=value` sets."""
    return tuple(part.strip() for part in setting.partition("=")[0].split("."))


def _leaves(table: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _lines(leaves: Iterator[tuple[Path, Any]], depth: int, sources: Mapping[str, Sequence[Path]]) -> list[str]:
    """A line for each value, whose key is written without its first `depth` parts."""
    lines = []
    for path, value in leaves:
        source = _source(path, sources)
        if source is None and len(path) < (5 if path[0] == "stages" else 3):
            continue
        key = ".".join(map(bare, path[depth:]))
        lines.append(f"{key} = {inline(value)}  # {source or 'default'}")
    return lines


def _source(path: Path, sources: Mapping[str, Sequence[Path]]) -> str | None:
    """What set a value: in a stage that was given only a part of a component, the rest is the whole experiment's."""
    for source, keys in sources.items():
        if any(key == path[: len(key)] or path == key[: len(path)] for key in keys):
            return source
    return _source(path[2:], sources) if path[0] == "stages" and len(path) > 4 else None
