"""How every file is written: whole or not at all, and without taking away what others made of the place.

A regular file is written beside its place and renamed, with the mode and the owner that it had; through a symbolic
link, so that the link stays. What is no regular file (a pipe, a device, an open descriptor) is written through.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .intervals import InputError
from .text import expanded

_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?P<pid>\d+)(?:/task/\d+)?)/fd/(?P<number>\d+)")
_MOST_LINKS = 40
"""As many symbolic links as Linux follows."""


@dataclass(frozen=True)
class Target:
    """Where a file goes.

    Attributes:
        name: What the user called it.
        place: The path behind all links, or the descriptor of this process that is meant.
        regular: Whether a regular file is there, or nothing; else it is written through.
    """

    name: str
    place: Path | int
    regular: bool

    @property
    def is_standard_output(self) -> bool:
        """Whether what is written would come between what is printed."""
        return self.place == 1 and isinstance(self.place, int)


def target(name: str) -> Target:
    """What a path means; `-` is standard output.

    Raises:
        InputError: If it is a folder, or in none.
    """
    if name == "-":
        return Target(name, 1, regular=False)
    path = Path.cwd() / expanded(name)
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if descriptor := _DESCRIPTOR.fullmatch(str(path)):  # a link only in looks: what is behind it may have no path
            own = descriptor["pid"] in (None, str(os.getpid()))
            return Target(name, int(descriptor["number"]) if own else path, regular=False)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    else:
        raise InputError(f"{name}: its symbolic links lead nowhere: name a file")
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise InputError(f"{name} is a folder: name a file")
    if not place.parent.is_dir():
        raise InputError(f"{name}: there is no folder {place.parent}: make it first")
    return Target(name, place, regular=place.is_file() or not place.exists())


def refuse_clashes(targets: Iterable[Target], inputs: Iterable[str] = ()) -> None:
    """Refuse two files for one place, and one in the place of what is read.

    Raises:
        InputError: Naming both.
    """
    taken = {_identity(Path(os.path.realpath(expanded(name)))): name for name in inputs}
    read = set(taken)
    for each in targets:
        here = _identity(each.place)
        if here in read and each.regular:
            raise InputError(f"{each.name} is read: name another file to write")
        if here in taken and here not in read:
            raise InputError(f"{taken[here]} and {each.name} are one file: name two")
        taken[here] = each.name


def write(contents: Mapping[Target, bytes]) -> None:
    """Write all files, each whole; or none, if there is no room for one of them.

    Raises:
        OSError: If one cannot be written.
    """
    partials: dict[Path, Path] = {}
    try:
        for each, content in contents.items():
            if each.regular and isinstance(each.place, Path):
                partials[each.place] = each.place.with_name(f".partial-{os.urandom(8).hex()}")
                with _naming(each.name):
                    _write_beside(each.place, partials[each.place], content)
        for each, content in contents.items():
            if not each.regular:
                with _naming(each.name):
                    _write_through(each.place, content)
        for place, partial in partials.items():
            partial.replace(place)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let an error say which file it was, by the name that the user gave."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error


def _write_beside(place: Path, partial: Path, content: bytes) -> None:
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
    with partial.open("xb") as file:  # a new file's mode follows the umask
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):
        before = place.stat()
        if hasattr(os, "chown"):
            with suppress(PermissionError):
                os.chown(partial, before.st_uid, before.st_gid)
        partial.chmod(stat.S_IMODE(before.st_mode))


def _write_through(place: Path | int, content: bytes) -> None:
    if isinstance(place, int):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        with os.fdopen(os.dup(place), "wb") as file:
            file.write(content)
    else:
        with place.open("wb") as file:
            file.write(content)


def _identity(place: Path | int) -> object:
    with suppress(OSError):
        status = os.fstat(place) if isinstance(place, int) else place.stat()
        if not stat.S_ISCHR(status.st_mode):  # two may share a terminal, or the void
            return status.st_dev, status.st_ino
        return object()
    return place
