"""How names meet: the one rule for videos, classes and subsets, wherever they come from.

Two names are one if they are equal in Unicode's form NFC and without white space at both ends, a byte-order mark
included (from the first line of a file that names were taken from). In THUMOS text, whose
kit names the files of videos, they also lose a container suffix. What differs in more is two names; `near` says what
looks alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar
from unicodedata import normalize

from .evaluation import counted, named
from .intervals import InputError

AMBIGUOUS_LABEL = "Ambiguous"
"""The label that THUMOS gives to intervals of which nobody can say whether they show an action; never a class."""

CONTAINERS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".mpeg")
"""Suffixes of video files."""

T = TypeVar("T")


def as_met(name: str) -> str:
    """The form of a name in which it meets others."""
    return normalize("NFC", name).strip().strip("\ufeff").strip()


def without_container(name: str) -> str:
    """The name of a video without the suffix of its file."""
    for suffix in CONTAINERS:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def met(videos: Mapping[str, T], where: str) -> Mapping[str, T]:
    """The videos under the names by which they meet others.

    Raises:
        TypeError: If a name is no string.
        InputError: If two of the names are one.
    """
    for name in videos:
        if not isinstance(name, str):
            raise TypeError(f"{where}: the name of a video must be a string, not {name!r}")
    spelled: dict[str, str] = {}
    for name in videos:
        other = spelled.setdefault(as_met(name), name)
        if other != name:
            raise InputError(f"{where}: {one_name(other, name)}: rename or join the two videos")
    return {name: videos[spelling] for name, spelling in spelled.items()}


def one_name(first: str, second: str) -> str:
    """That two spellings are one name."""
    return f"{first!r} and {second!r} are one name (white space at the ends and Unicode forms do not count)"


class Spellings(dict[str, str]):
    """The name behind each spelling that a file uses."""

    def __init__(self, noun: str, plural: str) -> None:
        super().__init__()
        self._noun, self._plural = noun, plural

    def __missing__(self, spelling: str) -> str:
        self[spelling] = as_met(spelling)
        return self[spelling]

    def notes(self) -> tuple[str, ...]:
        """What names are spelled in several ways."""
        ways: dict[str, list[str]] = {}
        for spelling, name in self.items():
            ways.setdefault(name, []).append(spelling)
        several = [" and ".join(map(repr, sorted(each))) for _, each in sorted(ways.items()) if len(each) > 1]
        if not several:
            return ()
        return (
            f"{counted(len(several), self._noun, self._plural)} spelled in several ways, each taken for one (white "
            f"space at the ends and Unicode forms do not count): {named(several)}",
        )


def _folder(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _prefix(name: str) -> str:
    return name[2:] if name[:2].lower() == "v_" else name


def _joints(name: str) -> str:
    return re.sub(r"[\s_-]", "", name)


_LIKENESSES = {
    "videos": {
        "a folder before it": _folder,
        "a suffix such as .mp4": without_container,
        "a prefix v_": _prefix,
        "upper and lower case": str.casefold,
    },
    "labels": {"upper and lower case": str.casefold, "blanks, _ or -": _joints},
}
"""In what a name may differ from the one that was meant. Applied in turn, so a name may differ in several."""


def near(unmet: Iterable[str], known: Iterable[str], kind: str) -> str:
    """How many of the names that met none nearly meet one, in what they differ, and what fixes it; "" if none does.

    Args:
        unmet: The names that met none of `known`.
        known: The names that they might have met.
        kind: "videos" or "labels".
    """
    likenesses = _LIKENESSES[kind]

    def folded(name: str, but: str = "") -> str:
        for reason, fold in likenesses.items():
            name = fold(name) if reason != but else name
        return name

    meant = {folded(name): name for name in sorted(known, reverse=True)}
    pairs = [(name, meant[folded(name)]) for name in sorted(unmet) if folded(name) in meant]
    if not pairs:
        return ""
    reasons = [r for r in likenesses if any(folded(name, r) != folded(other, r) for name, other in pairs)]
    name, other = pairs[0]
    return (
        f"{len(pairs)} of them nearly {'meets' if len(pairs) == 1 else 'meet'} a name ({name!r} and {other!r}; apart "
        f"in {', '.join(reasons)}): spell them alike in both files"
    )
