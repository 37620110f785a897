"""Walking tables and their types: every mistake is found at once, and what is wrong is as if it were not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from wtal_core.errors import did_you_mean

_T = TypeVar("_T")
#: The keys and indices that lead to a value.
KeyPath = Sequence[str | int]
#: What is wrong, and the path of what must go, so that the rest can be looked at.
Problem = tuple[str, KeyPath]


class Walk:
    """Makes structures of tables; `problems` are what was wrong with them, in the order of the tables.

    Args:
        stand_ins: for what has no default, by its path, so that one missing key does not hide the others' mistakes.
    """

    def __init__(self, stand_ins: Mapping[tuple[str | int, ...], Any]) -> None:
        self.stand_ins = stand_ins
        self.problems: list[Problem] = []

    def table(self, table: Mapping[str, Any], kind: type[_T], path: KeyPath = ()) -> _T:
        """What can be made of a table, with defaults for what is wrong, which goes to `problems`."""
        fields = {one.name: one for one in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
        given = {}
        for key, value in table.items():
            here = [*path, key]
            if key not in fields:
                self.problems.append((f"unknown key `{dotted(here)}`; {did_you_mean(key, list(fields))}", here))
            elif (decoded := self._value(value, fields[key].type, here)) is not msgspec.UNSET:
                given[key] = decoded
        for key in (key for key, one in fields.items() if one.required and key not in given):
            here = [*path, key]
            given[key] = self.stand_ins[tuple(here)]
            if key not in table:
                self.problems.append((f"missing key `{dotted(here)}`", here))
        return kind(**given)

    def _value(self, value: Any, kind: Any, path: KeyPath) -> Any:
        """As `table`, of any value; `UNSET` if it is wrong."""
        members = _members(kind)
        for member in members:
            if isinstance(value, dict) and isinstance(member, type) and issubclass(member, Struct):
                return self.table(value, member, path)
            if isinstance(value, list) and get_origin(member) is list:
                (item,) = get_args(member)
                parts = [self._value(one, item, [*path, number]) for number, one in enumerate(value)]
                if isinstance(item, type) and issubclass(item, Struct):  # without one the others had other numbers
                    return [item() if part is msgspec.UNSET else part for part in parts]
                if msgspec.UNSET in parts:
                    return msgspec.UNSET
        where = dotted(path)
        try:
            if str not in members or not isinstance(value, dict) or isinstance(value.get("name"), str):
                return msgspec.convert(value, kind)
            told = f"`{where}` is a table without a `name`, a string that says which component it is"
        except msgspec.ValidationError as error:
            choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
            if choices and isinstance(value, str):
                told = f"`{where}`: no such choice {value!r}; {did_you_mean(value, choices)}"
            else:
                told = f"`{where}`: {str(error).replace('object', 'table')}"  # msgspec's words are JSON's
        self.problems.append((told, path))
        return msgspec.UNSET


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type; a constraint is left out."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def drop(table: Any, path: KeyPath) -> None:
    """Remove a value from tables in tables, if it is there."""
    for key in path[:-1]:
        table = table[int(key)] if isinstance(table, list) else table.get(key, {})
    if path:
        table.pop(path[-1], None)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `stages[0].training`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
