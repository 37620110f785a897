"""A folder that one process has to itself, so that two runs never mix their files.

The operating system's lock on the file `.lock` decides, and goes with the process that holds it, however that ends.
What the file says, a process number and a host, is for people. It is removed with the lock.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wtal_core.errors import RunError

#: The folders that this process holds: it may take one again, as a command does whose steps each take it.
_held: set[Path] = set()


@contextmanager
def taking(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if it is not there, and goes if nothing is written to it.

    Where the file system has no locks, a warning says so and the block runs without.

    Raises:
        RunError: another process holds it; the message says which. Or nothing can be written there.
    """
    where = Path(os.path.realpath(folder))
    if where in _held:
        yield
        return
    path = folder / ".lock"
    made = [parent for parent in (where, *where.parents) if not parent.exists()]
    try:
        try:
            where.mkdir(parents=True, exist_ok=True)
            handle = _lock(where / path.name)
        except _HeldError as held:
            raise RunError(f"{folder}: in use by {held}; wait until it ends, or choose another directory") from None
        except OSError as error:
            raise RunError(f"{path}: cannot write here: {error.strerror or error}; choose another directory") from error
        _held.add(where)
        try:
            yield
        finally:
            _held.discard(where)
            _unlock(where / path.name, handle)
    finally:
        for parent in made:
            with suppress(OSError):  # it holds something now, or never came to be
                parent.rmdir()


class _HeldError(Exception):
    """Another process has the lock; the message names it."""


def _lock(path: Path) -> int:
    """Open and lock a file; return its descriptor."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock_descriptor(handle)
        except (BlockingIOError, PermissionError):
            holder = _holder(handle)
            os.close(handle)
            raise _HeldError(holder) from None
        except OSError as error:
            warnings.warn(
                f"{path.parent}: this file system has no locks ({error.strerror or error}); "
                "make sure that no other process writes there",
                stacklevel=2,
            )
        except BaseException:
            os.close(handle)
            raise
        # Whoever held the lock removed the file before it let go, perhaps after it was opened here.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)
    with suppress(OSError):  # a full disk: the lock is what counts
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return handle


def _holder(handle: int) -> str:
    with suppress(OSError):
        return os.read(handle, 400).decode(errors="replace").strip() or "another process"
    return "another process"


def _unlock(path: Path, handle: int) -> None:
    """Remove the file first: after the lock is gone, it may be another's."""
    with suppress(OSError):
        path.unlink()
    os.close(handle)
    if os.name == "nt":  # where an open file cannot be removed
        with suppress(OSError):
            path.unlink()


if os.name == "nt":
    import msvcrt

    def _lock_descriptor(handle: int) -> None:
        os.lseek(handle, 1 << 30, os.SEEK_SET)  # far behind the text, which others could not read otherwise
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        finally:
            os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock_descriptor(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
