"""How every text file is opened: UTF-8, with or without a byte-order mark, and nothing else."""

from __future__ import annotations

import codecs
import io
import math
from collections.abc import Iterator
from pathlib import Path

from .intervals import InputError

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_NUL_PATTERNS = {  # of the first four bytes, where the text starts with ASCII; 0 is NUL
    b"0001": "UTF-32",
    b"1000": "UTF-32",
    b"0101": "UTF-16",
    b"1010": "UTF-16",
}


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` or `~user` replaced by that home directory, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def read_bytes(path: Path) -> bytes:
    """The content of a text file in UTF-8, without its byte-order mark.

    Raises:
        OSError: If the file cannot be read.
        InputError: If it is a folder, in another encoding, or holds a NUL byte; the message says which and where (line
            and byte of the line, from 1).
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file")
    content = path.read_bytes()
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            raise InputError(f"{path}, line 1, byte 1: {encoding}, not UTF-8: save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    if (at := content.find(b"\0")) >= 0:
        found = _NUL_PATTERNS.get(bytes(48 + (byte > 0) for byte in content[:4]))
        found = f"{found}, not UTF-8" if found else "a NUL byte, which no text holds"
        raise InputError(f"{path}, {place(content, at)}: {found}: save it as UTF-8")
    if not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, {place(content, error.start)}: byte {content[error.start]:#04x} is not UTF-8, "
                "but Latin-1 or another encoding: save it as UTF-8"
            ) from None
    return content


def read_text(path: Path) -> str:
    """The content of a text file; errors as `read_bytes`.

    Raises:
        InputError: Also if a byte-order mark comes later, as where two files were joined: it would hide in a name.
    """
    text = read_bytes(path).decode()
    if (at := text.find("\ufeff")) >= 0:
        where = place(text.encode(), len(text[:at].encode()))
        raise InputError(f"{path}, {where}: a byte-order mark inside the text: remove it")
    return text


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, stripped, after its place (`FILE, line N`); errors as `read_text`."""
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if stripped := line.strip():
            yield f"{path}, line {number}", stripped


def finite(text: str) -> float:
    """The number that a text says.

    Raises:
        ValueError: If it says none, or none that is finite. Python's `1_0` is none: elsewhere nobody reads ten there.
    """
    value = math.nan
    if "_" not in text:
        try:
            value = float(text)
        except ValueError:
            pass
        else:
            if not math.isfinite(value):
                raise ValueError(f"{text!r} is not finite")
    if math.isnan(value):
        raise ValueError(f"{text!r} is not a number")
    return value


def place(content: bytes, at: int) -> str:
    """The place of a byte: its line, and its number in the line, both from 1."""
    line_start = content.rfind(b"\n", 0, at) + 1
    return f"line {content.count(bytes([10]), 0, at) + 1}, byte {at - line_start + 1}"
