"""Arrays of arrays or lists as `numpy.save` pickles them, read by a machine that knows no more than these.

Python's own `pickle` imports and calls whatever a file names. This one calls nothing: three names are known, and each
stands for a form in which numpy writes an array, a dtype or bytes; any other name, or any opcode that writing such an
array does not need, refuses the file. Numbers become arrays only by `numpy.frombuffer`, so that a file takes no more
memory than its size.
"""

from __future__ import annotations

import math
import mmap
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wtal_core.builtin.arrays import npy_header, regular, unopened
from wtal_core.errors import one_line

_T = TypeVar("_T")


class _Array:
    """An array as pickled: (version, shape, dtype, in Fortran's order, content)."""

    state: tuple[Any, ...] | None = None


class _Dtype:
    """A dtype as pickled: its code, such as `f4`, and the order of its bytes."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "|"


_CODE = re.compile(r"[fiu](1|2|4|8)|O8?")
_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
_MARK = object()


class _Name(str):
    """What a name of the file stands for."""

    __slots__ = ()


class RefusedError(ValueError):
    """The pickle holds more than arrays of numbers."""


def load_arrays(file: Path) -> list[NDArray[np.generic]]:
    """The arrays of numbers in a `.npy` file that holds a one-dimensional object array of them.

    Raises:
        OSError: it is not there, or cannot be opened.
        ValueError: it holds anything else.
    """
    return _loaded(file, "arrays", _numbers)


def load_lists(file: Path) -> list[list[Any]]:
    """The lists in a `.npy` file that holds a one-dimensional object array of them.

    Raises:
        OSError: it is not there, or cannot be opened.
        ValueError: it holds anything else.
    """
    lists = _loaded(file, "lists", _list)
    if sum(map(len, lists)) > file.stat().st_size:  # a list may be in a pickle once and stand in many places
        raise ValueError(f"{file}: not a readable array of lists: it repeats lists without end")
    return lists


def _loaded(file: Path, what: str, made: Callable[[Any], _T]) -> list[_T]:
    """What is made of each entry of the object array in a file."""
    try:
        regular(file)
        with file.open("rb") as opened:
            shape, _, dtype = npy_header(opened)
            if not dtype.hasobject:
                raise RefusedError(f"it is no array of {what}")
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                content.seek(opened.tell())
                outer = _run(content)
        items = _content(outer, "O")
        if len(shape) != 1 or len(items) != shape[0]:
            raise RefusedError(f"its header says {shape}, and it holds {len(items)} {what}")
        return [made(item) for item in items]
    except OSError as error:
        raise unopened(file, error) from error
    except Exception as error:  # a broken pickle breaks in many ways
        raise ValueError(f"{file}: not a readable array of {what}: {one_line(error)}") from None


def _list(item: Any) -> list[Any]:
    if not isinstance(item, list):
        raise RefusedError("it holds something else than lists")
    return item


def _numbers(array: Any) -> NDArray[np.generic]:
    """An array of numbers as pickled."""
    raw = _content(array, "fiu")
    _, shape, dtype, by_column, _ = array.state
    if isinstance(raw, str):  # Python 2 wrote bytes so
        raw = raw.encode("latin-1")
    number = np.dtype(dtype.order + dtype.code if dtype.order in "<>" else dtype.code)
    if not isinstance(raw, bytes) or len(raw) != math.prod(shape) * number.itemsize:
        raise RefusedError("an array's content is not as long as its shape says")
    return np.frombuffer(raw, number).reshape(shape, order="F" if by_column else "C")


def _content(array: Any, kinds: str) -> Any:
    """What is in an array as pickled, whose dtype is of these kinds."""
    if not isinstance(array, _Array) or array.state is None:
        raise RefusedError(f"it holds a {type(array).__name__.strip('_')} where an array must be")
    _, shape, dtype, _, content = array.state
    if not isinstance(dtype, _Dtype) or dtype.code[0] not in kinds:
        raise RefusedError("it holds arrays of something else than numbers")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise RefusedError("it holds an array without a shape")
    if "O" in kinds and not isinstance(content, list):
        raise RefusedError("it holds no list of arrays")
    return content


def _run(content: mmap.mmap) -> Any:
    """What a pickle stands for."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(content):  # type: ignore[arg-type]  # a map is a file
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument)])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            stack.append(argument)
        elif name == "GLOBAL":
            stack.append(_known(argument))
        else:
            _combine(name, stack)
    raise RefusedError("it ends too early")


def _combine(name: str, stack: list[Any]) -> None:
    """Do what an opcode does to the values on the stack."""
    if name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_known(f"{module} {attribute}"))
    elif name in _TUPLES:
        stack[len(stack) - _TUPLES[name] :] = [tuple(stack[len(stack) - _TUPLES[name] :])]
    elif name in ("TUPLE", "LIST"):
        items = _since_mark(stack)
        stack.append(tuple(items) if name == "TUPLE" else items)
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name in ("APPEND", "APPENDS"):
        items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
        if not isinstance(stack[-1], list):
            raise RefusedError("it appends to what is no list")
        stack[-1].extend(items)
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append(_reduced(called, arguments))
    elif name == "BUILD":
        state = stack.pop()
        _build(stack[-1], state)
    else:
        raise RefusedError(f"it holds more than arrays of numbers (opcode {name})")


_CONSTANTS = {"MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES = {
    *("FLOAT", "BINFLOAT"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not _MARK:
        at -= 1  # at -len the list raises
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _known(name: str) -> _Name:
    if name not in _NAMES:
        raise RefusedError(f"it names {name.replace(' ', '.')!r}, which is no part of an array")
    return _Name(_NAMES[name])


def _reduced(called: Any, arguments: Any) -> Any:
    """What one of the known names makes of its arguments; nothing is called."""
    if not isinstance(called, _Name) or not isinstance(arguments, tuple) or not arguments:
        raise RefusedError("it calls what is no part of an array")
    if called == "array" and isinstance(arguments[0], _Name) and arguments[0] == "ndarray":
        return _Array()
    if called == "dtype" and isinstance(arguments[0], str | bytes):
        code = arguments[0].decode("latin-1") if isinstance(arguments[0], bytes) else arguments[0]
        if _CODE.fullmatch(code):
            return _Dtype(code)
        raise RefusedError(f"it holds arrays of dtype {code[:20]!r}, and not of numbers")
    if called == "encode" and len(arguments) == 2 and isinstance(arguments[0], str):
        return arguments[0].encode("latin-1")
    raise RefusedError("it calls what is no part of an array")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5:
        target.state = state
    elif isinstance(target, _Dtype) and isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
        target.order = state[1]
    else:
        raise RefusedError("it gives a state to what is no array")
