"""The one way to write a file: whole or absent, and never in the place of what is no file.

A regular file, or nothing, is replaced at once: the content goes to a temporary file beside the target, reaches the
disk, and takes the target's name, so that neither a killed process nor a power cut leaves half of it. A symbolic link
stays, and the file that it leads to is replaced. An existing file keeps its mode and its owner. What is no regular file
(a pipe, a device) is opened and written to.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wtal_core.errors import RunError

_PREFIX = ".wtal-"  # of every temporary file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; put its content at `path` if the block succeeds, remove it in any case.

    Raises:
        RunError: the directory cannot be made or written, or what is at `path` takes no content.
    """
    try:
        existing = _stat(path)
        through = existing is not None and not stat.S_ISREG(existing.st_mode)
        target = Path(os.path.realpath(path))  # of a link, where it leads
        if not through:
            target.parent.mkdir(parents=True, exist_ok=True)
        temporary, mode = _new_file(Path(tempfile.gettempdir()) if through else target.parent, existing)
    except OSError as error:
        raise RunError(f"{path}: cannot write here: {error.strerror or error}; choose another directory") from error
    try:
        yield temporary
        if through:
            with temporary.open("rb") as content, path.open("wb") as opened:
                shutil.copyfileobj(content, opened)
            return
        with temporary.open("rb+") as content:
            os.fsync(content.fileno())  # or a power cut leaves the new name with NULs in the place of its content
        if existing is not None and hasattr(os, "chown"):
            with suppress(PermissionError):  # only root may give a file to its owner
                os.chown(temporary, existing.st_uid, existing.st_gid)
        temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _stat(path: Path) -> os.stat_result | None:
    """What is at a path, behind links; None if nothing is."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _new_file(folder: Path, existing: os.stat_result | None) -> tuple[Path, int]:
    """Make an empty file that only its owner can read while it is written; also return the mode that it shall have."""
    path = folder / f"{_PREFIX}{secrets.token_hex(8)}"
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = (existing or os.fstat(handle)).st_mode  # of a new file, what the umask leaves
    finally:
        os.close(handle)
    path.chmod(0o600)
    return path, stat.S_IMODE(mode)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it to `path`, where nothing must be, if the block succeeds, remove it if not.

    Raises:
        RunError: the folder's parent cannot be made, or nothing can be written there.
    """
    target = Path(os.path.realpath(path))  # of a link that leads to nothing yet, what it promises
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=target.parent) as temporary:
            folder = Path(temporary) / target.name
            folder.mkdir()
            yield folder
            folder.rename(target)
    except OSError as error:
        raise RunError(f"{path}: cannot write here: {error.strerror or error}; choose another directory") from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder and below; nobody else may be writing there."""
    for path in folder.rglob(f"{_PREFIX}*"):
        if re.fullmatch(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}", path.name) and path.is_file():
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, or the one that a link leads to; what is no regular file stays.

    Raises:
        RunError: it cannot be removed.
    """
    try:
        existing = _stat(path)
        if existing is not None and stat.S_ISREG(existing.st_mode):
            Path(os.path.realpath(path)).unlink()
    except OSError as error:
        raise RunError(f"{path}: cannot remove: {error.strerror or error}") from error


def check_writable(path: Path) -> None:
    """Make sure that a directory exists or could be made, without making it.

    Raises:
        RunError: a file is in the way, or the directory cannot be written.
    """
    existing = next(parent for parent in (path, *path.absolute().parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise RunError(f"{path}: cannot write here: {existing} is not a directory; choose another directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RunError(f"{path}: cannot write here: no permission in {existing}; choose another directory")


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file at once.

    Raises:
        RunError: as `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
