"""Where a JSON text is at fault: a walk over all of it, slow and exact, for when something is or may be wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec

from ..names import as_met, one_name
from ..text import place

_TOKEN = re.compile(rb'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([{}\[\],:])|([^ \t\r\n{}\[\],:"]+))', re.DOTALL)
_CONSTANTS = {b"nan": "NaN", b"+nan": "NaN", b"-nan": "NaN", b"infinity": "Infinity", b"inf": "Infinity"}
_CONSTANTS |= {b"+infinity": "Infinity", b"-infinity": "-Infinity", b"-inf": "-Infinity"}
DEEPEST = 500
"""Levels of arrays and objects beyond which nobody meant them."""


@dataclass
class _Level:
    is_object: bool
    keys: dict[str, tuple[str, int]] = field(default_factory=dict)  # by the form that meets: the spelling, its place
    step: str | int = 0  # the key or the index that the walk is at
    awaits_key: bool = False


def fault(content: bytes, videos_key: str) -> str | None:
    """In a sentence, the first key that comes twice, constant that is no number or level too deep; None without one.

    Args:
        content: The text, in UTF-8. Where its syntax is broken the walk ends.
        videos_key: The key of the object whose keys are names of videos: two spellings of one name are twice one key.
    """
    levels: list[_Level] = []
    at = 0
    while match := _TOKEN.match(content, at):
        at = match.end()
        string, mark, other = match.groups()
        top = levels[-1] if levels else None
        if mark in (b"{", b"["):
            levels.append(_Level(mark == b"{", awaits_key=mark == b"{"))
            if len(levels) > DEEPEST:
                return f"arrays and objects nested more than {DEEPEST} deep ({place(content, match.start(2))})"
        elif mark in (b"}", b"]"):
            if not levels:
                return None
            levels.pop()
        elif mark == b"," and top:
            if isinstance(top.step, int):
                top.step += 1
            top.awaits_key = top.is_object
        elif string is not None and top and top.awaits_key:
            try:
                key = msgspec.json.decode(string, type=str)
            except msgspec.DecodeError:
                return None
            are_videos = len(levels) == 2 and levels[0].step == videos_key
            spelling, before = top.keys.setdefault(as_met(key) if are_videos else key, (key, match.start(1)))
            if before != match.start(1):
                places = f"{place(content, before)} and {place(content, match.start(1))}"
                inside = f" in `{path}`" if (path := _path(levels[:-1])) else ""
                if spelling != key:
                    return f"{one_name(spelling, key)}{inside} ({places}): join them or rename one"
                return f"the key {key!r} comes twice{inside} ({places}): join them or remove one"
            top.step, top.awaits_key = key, False
        elif other is not None and (constant := _CONSTANTS.get(other.lower())):
            return f"{_path(levels) or 'the whole'} is {constant} ({place(content, match.start(3))}): give a number"
    return None


def _path(levels: list[_Level]) -> str:
    """As `results['a'][0].score`: the top level's key bare, the next one quoted, as it is any name."""
    parts = []
    for depth, level in enumerate(levels):
        if isinstance(level.step, int):
            parts.append(f"[{level.step}]")
        elif depth == 1:
            parts.append(f"[{level.step!r}]")
        else:
            parts.append(f".{level.step}" if depth else level.step)
    return "".join(parts)
