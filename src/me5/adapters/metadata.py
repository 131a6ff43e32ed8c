"""Other libraries' filters over metadata → conditions of a store."""

from collections.abc import Iterable, Mapping
from typing import Any

from me5.errors import InputError
from me5.search.conditions import And, Compare, Condition, Field, In, IsNull, Not, Or

_ORDERED = ("<", "<=", ">", ">=")
# As MongoDB writes them, and after it most of LangChain's stores.
_DOLLARS = {"$eq": "=", "$ne": "!=", "$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">=", "$in": "in", "$nin": "not in"}


def condition(field: str, operator: str, value: Any) -> Condition:
    """One comparison of a field of the metadata: `=`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`.

    A field that is not there is unequal to everything, and neither less nor more. Raises `InputError` for a value that
    cannot be compared so.
    """
    if operator in ("!=", "not in"):
        there = condition(field, {"!=": "=", "not in": "in"}[operator], value)
        return Not(there) if value is None else Or((Not(there), IsNull(Field("json_get_string", (field,)))))
    if operator == "in":
        if not isinstance(value, list | tuple | set) or not value:
            raise InputError(f"the values of {field!r} are {value!r:.60}, expected a list of at least one")
        return In(Field("json_get_string", (field,)), tuple(map(_text, value)))
    if operator == "=":
        operand = Field("json_get_string", (field,))
        return IsNull(operand) if value is None else Compare(operand, "=", _text(value))
    if operator not in _ORDERED:
        raise InputError(f"unknown comparison {operator!r} of {field!r}; expected =, !=, in, not in, {_ORDERED}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InputError(f"{field!r} is compared with {value!r:.60}, expected a number or a string")
    reader = "json_get_string" if isinstance(value, str) else "json_get_float"
    return Compare(Field(reader, (field,)), operator, value)


def mongo_filter(filters: Mapping[str, Any]) -> Condition:
    """`{"year": 2026, "kind": {"$in": ["a", "b"]}, "$or": [{…}, {…}]}` as a condition. Raises `InputError`."""
    parts: list[Condition] = []
    for key, value in filters.items():
        if key in ("$and", "$or"):
            parts.append(joined("AND" if key == "$and" else "OR", map(mongo_filter, value)))
        elif key == "$not":
            parts.append(Not(mongo_filter(value)))
        elif key.startswith("$"):
            raise InputError(f"unknown operator {key!r} in a filter; expected $and, $or, $not, or a field's name")
        elif isinstance(value, Mapping):
            for name, operand in value.items():
                if name not in _DOLLARS:
                    raise InputError(f"unknown operator {name!r} of {key!r}; expected one of {', '.join(_DOLLARS)}")
                parts.append(condition(key, _DOLLARS[name], operand))
        else:
            parts.append(condition(key, "=", value))
    return joined("AND", parts)


def joined(word: str, parts: Iterable[Condition]) -> Condition:
    """Conditions under `AND`, `OR` or `NOT` (not all of them). Raises `InputError` where there is none."""
    listed = tuple(parts)
    if not listed:
        raise InputError("a filter needs at least one condition")
    if word == "NOT":
        return Not(joined("AND", listed))
    return listed[0] if len(listed) == 1 else And(listed) if word == "AND" else Or(listed)


def _text(value: Any) -> str:
    """A value as the store reads it from JSON as a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise InputError(f"a filter compares strings, numbers, true and false, got {value!r:.60}")
    return str(value)
