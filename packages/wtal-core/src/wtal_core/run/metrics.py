"""The log of a run's losses: a line of JSON for every few iterations of each model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import msgspec

from wtal_core.errors import RunError
from wtal_core.files import write


class _Logged(msgspec.Struct):
    """What a line must say; the loss terms beside it are the model's."""

    stream: str
    iteration: int


def append(path: Path, model: str, iteration: int, terms: Mapping[str, float]) -> None:
    """Add a line.

    Raises:
        RunError: the file cannot be written.
    """
    line = json.dumps({"stream": model, "iteration": iteration, **terms}) + "\n"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from error


def cut(path: Path, reached: Mapping[str, int]) -> None:
    """Drop the lines of each model beyond the iteration that it has reached, which will be computed again.

    Nor is kept what is no line of metrics: a killed process leaves half of one, a power cut leaves NULs.

    Raises:
        RunError: the file cannot be read or written.
    """
    kept, spoilt = [], 0
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    except OSError as error:
        raise RunError(f"{path}: cannot read: {error.strerror or error}") from error
    for line in lines:
        try:
            if not line.endswith(b"\n"):
                raise ValueError("half a line")
            record = msgspec.json.decode(line, type=_Logged)
        except (msgspec.DecodeError, ValueError, RecursionError):
            spoilt += 1
            continue
        if record.iteration <= reached.get(record.stream, record.iteration):
            kept.append(line)
    if spoilt:
        warnings.warn(f"{path}: lines that are no metrics are dropped: {spoilt}", stacklevel=2)
    write(path, b"".join(kept))
