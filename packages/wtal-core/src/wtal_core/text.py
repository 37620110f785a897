"""Text files, and JSON in them: the one way in which this package opens what a person or a script wrote.

Text is UTF-8, with or without a byte-order mark; everything else is refused with its place, because a wrong guess gives
wrong names in silence. In JSON a key that comes twice in one object is refused too: a parser would keep the last and
drop the rest. An unreadable file is the `OSError` that it is; the caller knows what the file was wanted for.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wtal_core.errors import DataError, WtalError

# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# Where the NULs of an ASCII character are, when no mark says it.
_PATTERNS = {
    re.compile(rb"\0\0\0[^\0]|[^\0]\0\0\0"): "UTF-32",
    re.compile(rb"(\0[^\0]){2}|([^\0]\0){2}"): "UTF-16",
}
_SAVE = "save it as UTF-8"


def read_text(path: Path, wrong: type[WtalError] = DataError) -> str:
    r"""The text of a file, without a byte-order mark and with `\n` at the end of each line.

    Raises:
        OSError: the file cannot be read.
        WtalError: of the class `wrong`, if the text is not UTF-8 or has a NUL in it; with file and line.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content:
        encoding = next((name for pattern, name in _PATTERNS.items() if pattern.match(content)), None)
        if encoding is None:
            raise wrong(f"{path}: line {_line(content, content.index(0))}: a NUL byte, which no text has; {_SAVE}")
    if encoding is not None:
        raise wrong(f"{path}: line 1: the file is in {encoding}; {_SAVE}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The error's place does not count a mark that was taken off.
        content = content.removeprefix(codecs.BOM_UTF8)
        raise wrong(
            f"{path}: line {_line(content, error.start)}: byte 0x{content[error.start]:02x} is not UTF-8; {_SAVE}"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, wrong: type[WtalError] = DataError, constant: Callable[[str], float] = float) -> Any:
    """The value in a JSON file.

    NaN and Infinity, which Python writes, are read as what `constant` makes of them: who wants a number refuses them,
    and can say where. A whole number of hundreds of digits is read too, as a float that may be infinite.

    Raises:
        OSError: the file cannot be read.
        WtalError: of the class `wrong`, if the file is no text or no JSON, or has a key twice; with file and place.
    """
    text = read_text(path, wrong)
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_int=_whole, parse_constant=constant)
        half = _half_character(text, value)
    except json.JSONDecodeError as error:
        raise wrong(f"{path}: line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise wrong(f"{path}: not readable JSON: its arrays or objects are nested too deeply") from None
    except _RepeatedKeyError:
        raise wrong(f"{path}: {_repeated_key(text)}") from None
    if half is not None:
        raise wrong(f"{path}: line {_line(text, half)}: not valid JSON: an escape stands for half a character")
    return value


class Constant(float):
    """NaN or an infinity that stood as such in a file, which Python writes and JSON does not have."""


def constant_in(value: Any) -> tuple[list[str | int], float] | None:
    """The keys and indices that lead to the first `Constant` in decoded JSON, and its value; None without one."""
    if isinstance(value, Constant):
        return [], value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if (found := constant_in(item)) is not None:
            return [key, *found[0]], found[1]
    return None


class _RepeatedKeyError(Exception):
    """An object has a key twice; the parser cannot say where."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    distinct = dict(pairs)
    if len(distinct) < len(pairs):
        raise _RepeatedKeyError
    return distinct


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 100 else float(digits)


_TOKEN = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*")(?P<colon>\s*:)?|[{}]', re.DOTALL)


def _repeated_key(text: str) -> str:
    """Where an object of a JSON text has the first key that comes twice, told as a clause."""
    objects: list[dict[str, int]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            objects.append({})
        elif token[0] == "}":
            objects.pop()
        elif token["colon"]:
            key = json.loads(token["string"])
            first = objects[-1].setdefault(key, token.start())
            if first != token.start():
                places = (f"line {_line(text, at)}, column {_column(text, at)}" for at in (first, token.start()))
                return f"key {key!r} comes twice in one object, at {' and '.join(places)}; keep one of them"
    raise AssertionError("the parser found a key twice")


def _half_character(text: str, value: Any) -> int | None:
    r"""The place of an escape such as `\ud800` that is not one of a pair: no encoding can write it."""
    if not re.search(r"\\u[dD][89a-fA-F]", text):
        return None
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        escape = f"\\u{ord(error.object[error.start]):04x}"
        return text.lower().index(escape)
    return None


def _line(text: str | bytes, position: int) -> int:
    newline: Any = "\n" if isinstance(text, str) else b"\n"
    return text.count(newline, 0, position) + 1


def _column(text: str, position: int) -> int:
    return position - text.rfind("\n", 0, position)
