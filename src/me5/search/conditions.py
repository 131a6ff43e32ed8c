"""Conditions on passages: the tree that a filter is read into, and the SQL that the store is given of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["string", "integer", "number", "boolean", "time"]
Value = str | int | float | bool | datetime

KINDS: dict[str, Kind] = {
    "id": "string", "source": "string", "title": "string", "text": "string", "start": "integer", "end": "integer",
    "at": "integer", "language": "string", "kind": "string", "modified": "time",
}  # fmt: skip
FIELDS: dict[str, Kind] = {
    "json_get_string": "string", "json_get_int": "number", "json_get_float": "number", "json_get_bool": "boolean",
}  # fmt: skip
OPERATORS = ("=", "!=", "<=", ">=", "<", ">")


@dataclass(frozen=True)
class Column:
    """A column of the store."""

    name: str

    @property
    def kind(self) -> Kind:
        """What its values are."""
        return KINDS[self.name]

    def __str__(self) -> str:
        return f"`{self.name}`"  # `end` is a word of SQL


@dataclass(frozen=True)
class Field:
    """A field of the metadata, by the keys that lead to it, read by one of `FIELDS`."""

    reader: str
    path: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """What its values are."""
        return FIELDS[self.reader]

    def __str__(self) -> str:
        inner = "metadata"
        for key in self.path[:-1]:
            inner = f"json_get({inner}, {quoted(key)})"
        return f"{self.reader}({inner}, {quoted(self.path[-1])})"


Operand = Column | Field


@dataclass(frozen=True)
class Compare:
    """`operator` is one of `OPERATORS`."""

    operand: Operand
    operator: str
    value: Value

    def __str__(self) -> str:
        return f"{self.operand} {self.operator} {_written(self.value)}"


@dataclass(frozen=True)
class In:
    """One of these values."""

    operand: Operand
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.operand} IN ({', '.join(map(_written, self.values))})"


@dataclass(frozen=True)
class Like:
    """`%` stands for any characters and `_` for one; a backslash before a character takes it as it is."""

    operand: Operand
    pattern: str

    def __str__(self) -> str:
        return f"{self.operand} LIKE {quoted(self.pattern)}"


@dataclass(frozen=True)
class IsNull:
    """There is no value."""

    operand: Operand

    def __str__(self) -> str:
        return f"{self.operand} IS NULL"


@dataclass(frozen=True)
class Not:
    """The opposite; unknown where there is no value, as everywhere in SQL."""

    part: "Condition"

    def __str__(self) -> str:
        return f"NOT {_within(self.part, And, Or)}"


@dataclass(frozen=True)
class And:
    """All of at least two."""

    parts: tuple["Condition", ...]

    def __str__(self) -> str:
        return " AND ".join(_within(part, And, Or) for part in self.parts)


@dataclass(frozen=True)
class Or:
    """Any of at least two."""

    parts: tuple["Condition", ...]

    def __str__(self) -> str:
        return " OR ".join(_within(part, Or) for part in self.parts)


Condition = Compare | In | Like | IsNull | Not | And | Or


def quoted(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def any_of(column: str, values: Sequence[str]) -> In:
    """A column that is one of these strings."""
    return In(Column(column), tuple(values))


def contains(column: str, text: str) -> Like:
    """A column that holds a text anywhere."""
    return Like(Column(column), "%" + re.sub(r"([%_\\])", r"\\\1", text) + "%")


def all_of(*conditions: Condition | None) -> Condition | None:
    """Those of the conditions that are there, together; None where none is."""
    there = tuple(condition for condition in conditions if condition is not None)
    return And(there) if len(there) > 1 else there[0] if there else None


def _within(part: Condition, *looser: type) -> str:
    """A part as it stands within another: in parentheses only where it would be read otherwise."""
    return f"({part})" if isinstance(part, looser) else str(part)


def _written(value: Value) -> str:
    """A value as SQL writes it."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"timestamp '{value.isoformat()}'" if isinstance(value, datetime) else repr(value)
