"""How names meet. Videos, classes, subsets and streams are called the same in several files, written by several hands.

Two names are the same if they are equal once each is in Unicode's normal form NFC (`é` may be one character or two, and
macOS writes two) and without white space around it, of which a byte-order mark is a kind: it comes from the start of a
file that a list of names was made of. Two videos of one file whose names so become the same are an error; two such
labels are one class.

Features may besides lie under a name that differs from the video's by folders before it (`train/`), the `v_` that
ActivityNet puts before its files, or the suffix of a file (`.mp4`): `meet` takes one where none is equal and no other
is as near. Case counts: what differs in it is never taken for the same, only named (`nearly`).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import PurePath
from typing import NamedTuple

#: What no name and no path has.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_SUFFIX = re.compile(r"\.(mp4|mkv|webm|avi|mov|m4v|mpg|mpeg|flv|wmv|npy)$", re.IGNORECASE)


def normal(name: str) -> str:
    """The form in which names are compared: NFC, without white space around it."""
    return unicodedata.normalize("NFC", name).strip().strip("\ufeff").strip()


def by_normal_form(names: Iterable[str]) -> dict[str, str]:
    """Each name by its normal form.

    Raises:
        ValueError: two different names have the same one; the message shows both in ASCII, for they look alike.
    """
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(normal(name), name)
        if other != name:
            raise ValueError(f"{other!a} and {name!a} are the same name; rename or remove one")
    return found


def writable(name: str) -> bool:
    """Whether UTF-8 can write a name: what the system gives of a name in another encoding has halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def misplaced(name: str) -> bool:
    """Whether a name, taken for a path below some folder, is none, or has a second spelling, or leaves the folder."""
    parts = name.replace(os.sep, "/").split("/")
    return bool(CONTROL.search(name)) or bool(PurePath(name).drive) or not {"", ".", ".."}.isdisjoint(parts)


class Meeting(NamedTuple):
    """How the names of videos meet those of their features."""

    met: dict[str, str]  # features' names by videos'
    differences: list[str]  # in what some differ
    several: dict[str, list[str]]  # of a video, the names that are equally near


def meet(wanted: Collection[str], present: Collection[str]) -> Meeting:
    """The features of each video: those of its name, else the only ones that differ in folder, `v_` or suffix.

    What is another video's by its very name, or as near to another, is nobody else's.
    """
    there, bare_wanted = set(present), Counter(map(_bare, set(wanted) - set(present)))
    candidates: dict[str, list[str]] = {}
    for name in there - set(wanted):
        candidates.setdefault(_bare(name), []).append(name)
    meeting = Meeting({name: name for name in wanted if name in there}, [], {})
    for name in wanted:
        near = candidates.get(_bare(name), [])
        if name in there or not near:
            continue
        if len(near) == 1 == bare_wanted[_bare(name)]:
            meeting.met[name] = near[0]
            if (difference := _difference(name, near[0])) not in meeting.differences:
                meeting.differences.append(difference)
        else:
            meeting.several[name] = sorted(near)
    return meeting


def nearly(wanted: Iterable[str], present: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Pairs of a wanted and a present name that nearly meet, by what the two differ in."""
    by_core = {_core(name): name for name in present}
    pairs: dict[str, list[tuple[str, str]]] = {}
    for name in wanted:
        other = by_core.get(_core(name))
        if other is not None and other != name:
            pairs.setdefault(_difference(name, other), []).append((name, other))
    return pairs


def _parts(name: str) -> tuple[str, str, str, str]:
    """Folder, prefix, what is left, and suffix of a name."""
    folder, _, rest = name.rpartition("/")
    suffix = _SUFFIX.search(rest)
    rest = rest[: suffix.start()] if suffix else rest
    stem = rest.removeprefix("v_")
    return folder, rest[: len(rest) - len(stem)], stem, suffix[0] if suffix else ""


def _bare(name: str) -> str:
    return _parts(name)[2]


def _core(name: str) -> str:
    return _parts(name)[2].casefold()


def _difference(one: str, other: str) -> str:
    words = (
        "the folder before the name",
        "the prefix 'v_'",
        "upper and lower case",
        "the suffix of a file",
    )
    pairs = zip(words, _parts(one), _parts(other), strict=True)
    return " and ".join(word for word, mine, theirs in pairs if mine != theirs)
