"""The language of filters: a small part of SQL, read here, bounded, and written anew for the store.

    language = 'de' AND (source LIKE '%.pdf' OR json_get_int(metadata, 'year') >= 2020)

The store never sees a user's text: what `parse` returns is a tree of conditions, and `str` of a tree is SQL that
`parse` reads back to the same tree. The bounds are there because the store's own SQL has none: a long sum overflowed
its stack, `lpad` took all memory, 40 nested NOTs took its planner 161 s.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeVar

from me5.errors import InputError
from me5.search.conditions import (
    FIELDS,
    KINDS,
    OPERATORS,
    And,
    Column,
    Compare,
    Condition,
    Field,
    In,
    IsNull,
    Kind,
    Like,
    Not,
    Operand,
    Or,
    Value,
)

T = TypeVar("T")

LONGEST = 10_000  # characters
MOST_TERMS = 100
MOST_VALUES = 1_000  # of an IN
DEEPEST = 16  # parentheses, NOTs and json_gets within each other
LONGEST_PATTERN = 200
# Each can make the store try a text again: over 60,000 passages of 900 characters 8 of them took 1 s, 800 took 23 s.
MOST_WILDCARDS = 32

_EXPECTED: dict[Kind, str] = {
    "string": "a string such as 'de'",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "time": "a time such as timestamp '2026-01-31T12:00:00' or date '2026-01-31'",
}
_LARGEST = 2**63 - 1
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<column>"\w+"|`\w+`)
      | (?P<number>-?\s*(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?(?!\w))
      | (?P<word>[^\W\d]\w*)
      | (?P<symbol><=|>=|<>|!=|==|[=<>(),])
      | (?P<end>\Z)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_HINT = f"Columns are {', '.join(KINDS)}; a field of the metadata is json_get_string(metadata, 'author')"


def parse(text: str) -> Condition:
    """The tree of a filter. Raises `InputError` that tells the place and what was expected there."""
    if not isinstance(text, str):
        raise InputError(f"a filter is a string, got {type(text).__name__}. {_HINT}")
    if len(text) > LONGEST:
        raise InputError(f"the filter has {len(text):,} characters, at most {LONGEST:,} are read")
    return _Parser(text).parse()


@dataclass(frozen=True)
class _Token:
    type: str  # a group of `_TOKEN`
    text: str
    at: int  # characters before it

    @property
    def word(self) -> str:
        """In capitals, where it is a word or a symbol."""
        return self.text.upper() if self.type in ("word", "symbol") else ""


class _Parser:
    """Recursive descent, one method per rule."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._terms = 0
        self._wildcards = 0
        self._next = self._token()

    def parse(self) -> Condition:
        """The whole text."""
        tree = self._any()
        if self._next.type != "end":
            raise self._expected("AND, OR or the end")
        return tree

    def _any(self) -> Condition:
        return self._joined("OR", Or, lambda: self._joined("AND", And, self._one))

    def _joined(
        self, word: str, node: Callable[[tuple[Condition, ...]], Condition], rule: Callable[[], Condition]
    ) -> Condition:
        parts = [rule()]
        while self._take(word):
            parts.append(rule())
        return node(tuple(parts)) if len(parts) > 1 else parts[0]

    def _one(self) -> Condition:
        if self._take("NOT"):
            return Not(self._deeper(self._one))
        if self._take("("):
            tree = self._deeper(self._any)
            self._need(")", "AND, OR or )")
            return tree
        return self._term()

    def _deeper(self, rule: Callable[[], T]) -> T:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"parentheses and NOTs are at most {DEEPEST} deep")
        result = rule()
        self._depth -= 1
        return result

    def _term(self) -> Condition:
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise self._wrong(f"it has more than {MOST_TERMS} comparisons")
        operand = self._operand()
        operator = {"<>": "!=", "==": "="}.get(self._next.text, self._next.text)
        if operator in OPERATORS:
            self._advance()
            return Compare(operand, operator, self._value(operand.kind))
        if self._take("IS"):
            return self._unless(self._take("NOT"), self._null(operand))
        negated = self._take("NOT")
        for word, rule in (("IN", self._in), ("LIKE", self._like), ("BETWEEN", self._between)):
            if self._take(word):
                return self._unless(negated, rule(operand))
        if operand.kind == "boolean" and not negated:
            return Compare(operand, "=", True)
        raise self._expected(
            "IN, LIKE or BETWEEN" if negated else f"{', '.join(OPERATORS)}, IN, LIKE, BETWEEN, IS NULL or IS NOT NULL"
        )

    @staticmethod
    def _unless(negated: bool, condition: Condition) -> Condition:
        return Not(condition) if negated else condition

    def _null(self, operand: Operand) -> Condition:
        self._need("NULL", "NULL or NOT NULL")
        return IsNull(operand)

    def _in(self, operand: Operand) -> Condition:
        self._need("(", "( and values")
        values = [self._value(operand.kind)]
        while self._take(","):
            values.append(self._value(operand.kind))
            if len(values) > MOST_VALUES:
                raise self._wrong(f"an IN has at most {MOST_VALUES:,} values")
        self._need(")", ", or )")
        return In(operand, tuple(values))

    def _between(self, operand: Operand) -> Condition:
        low = self._value(operand.kind)
        self._need("AND", "AND and the other end")
        return And((Compare(operand, ">=", low), Compare(operand, "<=", self._value(operand.kind))))

    def _like(self, operand: Operand) -> Condition:
        if operand.kind != "string":
            raise self._wrong(f"LIKE compares strings, and {operand} is none")
        token = self._next
        pattern = self._string("a pattern such as '%.pdf'")
        plain = re.sub(r"\\.", "x", pattern, flags=re.DOTALL)
        self._wildcards += plain.count("%") + plain.count("_")
        if plain.endswith("\\"):
            raise self._wrong("a backslash at the end of a pattern stands before nothing; write two for one", token)
        if len(pattern) > LONGEST_PATTERN:
            raise self._wrong(f"a pattern has at most {LONGEST_PATTERN} characters, got {len(pattern):,}", token)
        if self._wildcards > MOST_WILDCARDS:
            raise self._wrong(f"patterns have at most {MOST_WILDCARDS} % and _ together", token)
        return Like(operand, pattern)

    def _operand(self) -> Operand:
        token = self._next
        name = token.text.strip('"`').lower()
        if token.type == "word" and name in FIELDS:
            self._advance()
            return Field(name, self._path())
        if token.type not in ("word", "column") or name not in KINDS:
            if name == "metadata":
                raise self._wrong(f"a field of the metadata is read by {', '.join(FIELDS)}")
            raise self._expected("a column")
        self._advance()
        return Column(name)

    def _path(self) -> tuple[str, ...]:
        """What stands in the parentheses of a reader: the metadata, or a part of it, and a key."""
        self._need("(", "(metadata, 'key')")
        outer: tuple[str, ...] = ()
        if self._take("JSON_GET"):
            outer = self._deeper(self._path)
        else:
            self._need("METADATA", "metadata")
        self._need(",", ", and a key")
        key = self._string("a key such as 'author'")
        self._need(")", ")")
        return (*outer, key)

    def _value(self, kind: Kind) -> Value:
        if kind == "string":
            return self._string()
        if kind == "time":
            return self._time()
        token = self._next
        if kind == "boolean":
            if token.word not in ("TRUE", "FALSE"):
                raise self._expected(_EXPECTED[kind])
            self._advance()
            return token.word == "TRUE"
        return self._number(kind)

    def _string(self, what: str = _EXPECTED["string"]) -> str:
        token = self._next
        if token.type != "string":
            raise self._expected(what)
        self._advance()
        return token.text[1:-1].replace("''", "'")

    def _number(self, kind: Kind) -> int | float:
        token = self._next
        written = "".join(token.text.split())  # - 1 is -1
        whole = re.fullmatch(r"-?[0-9]+", written)
        if token.type != "number" or (kind == "integer" and not whole):
            raise self._expected(_EXPECTED[kind])
        # Python refuses to read whole numbers of more than 4,300 digits.
        if float(written) in (float("inf"), float("-inf")) or (whole and abs(int(written)) > _LARGEST):
            raise self._wrong(f"whole numbers go from -{_LARGEST} to {_LARGEST}, others to 1.8e308")
        self._advance()
        return int(written) if whole else float(written)

    def _time(self) -> datetime:
        token = self._next
        if token.word not in ("TIMESTAMP", "DATE"):
            raise self._expected(_EXPECTED["time"])
        self._advance()
        written = self._next
        text = self._string("a string such as '2026-01-31'")
        try:
            if token.word == "DATE":
                day = date.fromisoformat(text)
                return datetime(day.year, day.month, day.day, tzinfo=UTC)
            when = datetime.fromisoformat(text)
            return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self._wrong(f"expected {_EXPECTED['time']}, got {_short(text)}", written) from error

    def _take(self, word: str) -> bool:
        """Whether this comes next; then it is read."""
        if self._next.word != word:
            return False
        self._advance()
        return True

    def _need(self, word: str, expected: str) -> None:
        if not self._take(word):
            raise self._expected(expected)

    def _advance(self) -> None:
        self._next = self._token()

    def _token(self) -> _Token:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            rest = self._text[self._at :].lstrip()
            at = len(self._text) - len(rest)
            reason = "a string that does not end" if rest[0] == "'" else f"{_short(rest[0])}, which has no meaning here"
            raise self._wrong(f"got {reason}", _Token("", rest, at))
        self._at = found.end()
        token = _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        if not token.text.isascii():
            self._check_text(token)
        return token

    def _check_text(self, token: _Token) -> None:
        if any("\ud800" <= character <= "\udfff" for character in token.text):
            raise self._wrong("half of a surrogate pair is not a character", token)

    def _expected(self, what: str) -> InputError:
        got = "the end" if self._next.type == "end" else _short(self._next.text)
        return self._wrong(f"expected {what}, got {got}")

    def _wrong(self, reason: str, token: _Token | None = None) -> InputError:
        at = (token or self._next).at + 1
        filter_ = _short(self._text, 200)
        return InputError(f"the filter {filter_} cannot be used: at character {at:,}, {reason}. {_HINT}")


def _short(text: str, longest: int = 40) -> str:
    return repr(text if len(text) <= longest else f"{text[:longest]}…")
