"""What is printed, so that no terminal, pipe or disk can make the command fail for it."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

CLOSED_PIPE = 141
"""The exit status where the reader of standard output has left: 128 + SIGPIPE, as a shell reports it."""

INTERRUPTED = 130
"""Likewise where someone pressed Ctrl-C: 128 + SIGINT."""


def prepare() -> None:
    """Let both streams escape what their encoding lacks, where that is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(text: str, stream: TextIO | None) -> None:
    """Print to a stream, and see that it arrives; a closed stream prints nothing.

    Raises:
        OSError: If it does not arrive. The stream is let go of then, as Python would fail again at its exit.
    """
    if stream is None:
        return
    try:
        if text:
            stream.write(text)
        stream.flush()
    except OSError as error:
        _let_go(stream)
        name = "standard error" if stream is sys.stderr else "standard output"
        raise OSError(error.errno, error.strerror, name) from error


def _let_go(stream: TextIO) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass
