"""Outputs that are whole or absent: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wtal_core.errors import RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` if the block succeeds, remove it if not.

    Raises:
        RunError: the directory cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise RunError(f"{path}: cannot write here: {error.strerror or error}; choose another directory") from error
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it to `path`, where nothing must be, if the block succeeds, remove it if not.

    Raises:
        RunError: the folder's parent cannot be made, or nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            folder = Path(temporary) / path.name
            folder.mkdir()
            yield folder
            folder.rename(path)
    except OSError as error:
        raise RunError(f"{path}: cannot write here: {error.strerror or error}; choose another directory") from error


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
