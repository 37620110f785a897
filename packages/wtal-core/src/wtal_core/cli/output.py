"""What the command prints can be lost, but cannot fail the work: a long training must not end at a `±`."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO


class _Stream:
    """Standard output or error that takes every character, and goes on in silence when nobody takes it any more.

    A character that the encoding lacks is written as an escape. A reader that went away (`| head`) is no news; a full
    disk is said once on standard error.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        # Python's other error handlers cannot fail either, and somebody asked for them.
        if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        # What comes later, and what Python flushes at its end, goes nowhere.
        with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())
        if error.errno != errno.EPIPE and self is not sys.stderr:
            print(f"warning: {self._name} is lost: {error.strerror or error}", file=sys.stderr)


@contextmanager
def unfailing() -> Iterator[None]:
    """Let nothing that is printed in this block raise; a standard stream that is closed swallows what is printed."""
    _occupy_standard_numbers()
    with contextlib.ExitStack() as stack:
        streams = []
        for redirect, name in ((contextlib.redirect_stdout, "stdout"), (contextlib.redirect_stderr, "stderr")):
            stream = getattr(sys, name)
            if stream is None:  # closed by the shell (`>&-`)
                stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
            streams.append(_Stream(stream, f"standard {'output' if name == 'stdout' else 'error'}"))
            stack.enter_context(redirect(streams[-1]))
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()


def _occupy_standard_numbers() -> None:
    """Where the shell closed a standard stream, what is opened next must not get its number: processes inherit it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free, which is this one
