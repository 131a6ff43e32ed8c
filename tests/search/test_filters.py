"""The language of filters: what it reads, what it refuses and how, and that the store finds what Python finds."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from me5 import InputError
from me5.search import filters
from me5.search.conditions import (
    FIELDS,
    KINDS,
    OPERATORS,
    And,
    Column,
    Compare,
    Field,
    In,
    IsNull,
    Like,
    Not,
    Or,
    all_of,
    any_of,
    contains,
)
from me5.search.filters import parse
from me5.search.settings import StoreSettings
from me5.search.store import Row, Store

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

# ---- what is read ----------------------------------------------------------------------------------------------------

LANGUAGE, AT, AUTHOR = Column("language"), Column("at"), Field("json_get_string", ("author",))
DE, PAGE_1 = Compare(LANGUAGE, "=", "de"), Compare(AT, "=", 1)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("language = 'de'", DE),
        (" LANGUAGE\n==\t'de' ", DE),
        ("\"language\" = 'de'", DE),
        ("`language`='de'", DE),
        ("title = 'it''s'", Compare(Column("title"), "=", "it's")),
        ("title <> ''", Compare(Column("title"), "!=", "")),
        ("end >= - 5", Compare(Column("end"), ">=", -5)),
        ("language in ('de','ja')", In(LANGUAGE, ("de", "ja"))),
        ("language NOT IN ('de')", Not(In(LANGUAGE, ("de",)))),
        ("source LIKE '%.pdf'", Like(Column("source"), "%.pdf")),
        ("source NOT LIKE '100\\%'", Not(Like(Column("source"), "100\\%"))),
        ("at IS NULL", IsNull(AT)),
        ("at IS NOT NULL", Not(IsNull(AT))),
        ("at BETWEEN 1 AND 2", And((Compare(AT, ">=", 1), Compare(AT, "<=", 2)))),
        ("at = 1 AND NOT language = 'de'", And((PAGE_1, Not(DE)))),
        ("at = 1 OR at = 1 AND language = 'de'", Or((PAGE_1, And((PAGE_1, DE))))),
        ("(at = 1 OR at = 1) AND language = 'de'", And((Or((PAGE_1, PAGE_1)), DE))),
        ("NOT (at = 1 AND language = 'de')", Not(And((PAGE_1, DE)))),
        ("modified > timestamp '2026-01-01'", Compare(Column("modified"), ">", NEW_YEAR)),
        ("modified > timestamp '2026-01-01T01:00:00+01:00'", Compare(Column("modified"), ">", NEW_YEAR)),
        ("modified > date '2026-01-01'", Compare(Column("modified"), ">", NEW_YEAR)),
        ("json_get_string(metadata, 'author') = 'Ann'", Compare(AUTHOR, "=", "Ann")),
        ("json_get_int(metadata, 'year') > 2000", Compare(Field("json_get_int", ("year",)), ">", 2000)),
        ("json_get_float(metadata, 'x') < 1.5e3", Compare(Field("json_get_float", ("x",)), "<", 1500.0)),
        ("json_get_bool(metadata, 'x')", Compare(Field("json_get_bool", ("x",)), "=", True)),
        ("NOT json_get_bool(metadata, 'x')", Not(Compare(Field("json_get_bool", ("x",)), "=", True))),
        (
            "json_get_string(json_get(metadata, 'a'), 'b') IS NULL",
            IsNull(Field("json_get_string", ("a", "b"))),
        ),
    ],
)
def test_what_is_read(text, tree):
    assert parse(text) == tree
    assert parse(str(tree)) == tree


# ---- what is refused, and how ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at character 1, expected a column, got the end"),
        ("nothing = 3", "at character 1, expected a column, got 'nothing'"),
        ("language = = 2", "at character 12, expected a string such as 'de', got '='"),
        ("language = 3", "at character 12, expected a string such as 'de', got '3'"),
        ('language = "de"', "at character 12, expected a string such as 'de', got '\"de\"'"),
        ("language = NULL", "at character 12, expected a string such as 'de', got 'NULL'"),
        ("language", "at character 9, expected =, !=, <=, >=, <, >, IN, LIKE, BETWEEN, IS NULL or IS NOT NULL"),
        ("language NOT = 'de'", "at character 14, expected IN, LIKE or BETWEEN, got '='"),
        ("language IN ()", "at character 14, expected a string such as 'de', got ')'"),
        ("language IN 'de'", r"at character 13, expected ( and values"),
        ("language = 'de", "at character 12, got a string that does not end"),
        ("language = 'de'; AND kind = 'pdf'", "at character 16, got ';', which has no meaning here"),
        ("language = 'de' -- x", "at character 17, got '-', which has no meaning here"),
        ("1=1) OR (1=1", "at character 1, expected a column, got '1'"),
        ("at = 1) OR (at = 1", "at character 7, expected AND, OR or the end, got ')'"),
        ("(at = 1", "at character 8, expected AND, OR or ), got the end"),
        ("at = 1.5", "at character 6, expected a whole number, got '1.5'"),
        ("at = '1'", "at character 6, expected a whole number"),
        ("at LIKE '1%'", "LIKE compares strings, and `at` is none"),
        ("at = 9223372036854775808", "whole numbers go from"),
        (f"at = {'9' * 5000}", "whole numbers go from"),
        ("json_get_float(metadata, 'x') = 1e999", "others to 1.8e308"),
        ("modified > '2026-01-01'", "expected a time such as timestamp '2026-01-31T12:00:00'"),
        ("modified > timestamp 'soon'", "at character 22, expected a time such as timestamp"),
        ("modified > timestamp '0001-01-01T00:00:00+05:00'", "expected a time"),
        ("metadata = 'x'", "a field of the metadata is read by json_get_string, json_get_int"),
        ("json_get_string(text, 'x') = 'x'", "at character 17, expected metadata, got 'text'"),
        ("json_get_string(metadata) = 'x'", "expected , and a key"),
        ("json_get_bool(metadata, 'x') = 1", "expected true or false, got '1'"),
        ("vector IS NULL", "expected a column, got 'vector'"),
        ("title LIKE 'a\\'", "a backslash at the end of a pattern"),
        ("title = '\ud800'", "half of a surrogate pair"),
        ("titlé = 'x'", "expected a column, got 'titlé'"),
        ("at = ٣", "at character 6, got '٣', which has no meaning here"),
        # What ended the service, or took its memory.
        (f"1{'+1' * 1500} > 0", "at character 1, expected a column"),
        (f"start{' + 1' * 800} > 0", "at character 7, "),
        ("length(lpad(text, 2000000000, 'x')) > 0", "expected a column, got 'length'"),
        ("levenshtein(repeat(text,20),repeat(text,20)) = 0", "expected a column"),
        # The bounds.
        (f"title = '{'x' * filters.LONGEST}'", "the filter has 10,010 characters, at most 10,000 are read"),
        ("NOT " * 17 + "at = 1", "parentheses and NOTs are at most 16 deep"),
        ("(" * 17 + "at = 1" + ")" * 17, "parentheses and NOTs are at most 16 deep"),
        (f"json_get_int({'json_get(' * 17}metadata{', 0)' * 18} = 1", "at most 16 deep"),
        (" OR ".join(["at = 1"] * 101), "it has more than 100 comparisons"),
        (f"at IN ({','.join(['1'] * 1001)})", "an IN has at most 1,000 values"),
        (f"text LIKE '{'x' * 201}'", "a pattern has at most 200 characters, got 201"),
        (" OR ".join(["text LIKE '%a_b%c%'"] * 9), "patterns have at most 32 % and _ together"),
    ],
)  # fmt: skip
def test_what_is_refused(text, told):
    with pytest.raises(InputError) as raised:
        parse(text)
    message = str(raised.value)
    assert told in message
    assert message.count("Columns are id, source, title") == (0 if "at most 10,000" in told else 1)
    assert len(message) < 700


def test_the_bounds_themselves_are_within():
    for text in (
        "NOT " * 16 + "at = 1", "(" * 16 + "at = 1" + ")" * 16, " OR ".join(["at = 1"] * 100),
        f"at IN ({','.join(['1'] * 1000)})", f"text LIKE '{'x' * 200}'", "text LIKE '" + "\\%" * 100 + "'",
        " OR ".join(["text LIKE '%a_b%c%'"] * 8),
    ):  # fmt: skip
        assert parse(str(parse(text))) == parse(text)
    with pytest.raises(InputError, match="a filter is a string, got int"):
        parse(3)


# ---- any text, any tree ----------------------------------------------------------------------------------------------

PIECES = (
    *KINDS, *FIELDS, *OPERATORS, "AND", "OR", "NOT", "IN", "LIKE", "IS", "NULL", "BETWEEN", "(", ")", ",", "metadata",
    "json_get", "timestamp", "date", "'2026-01-01'", "'de'", "1", "-", "1.5", "'", "true", ";", "--", "\0", "é",
)  # fmt: skip


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join))
@settings(max_examples=200)
def test_any_text_is_read_or_refused(text):
    try:
        tree = parse(text)
    except InputError:
        return
    assert parse(str(tree)) == tree


# Words that meet the rows below, and any others.
TEXTS = st.sampled_from(["", "de", "Tea", "it's", "a%b", "a_b", "a\\b", "%", "_", "\\", "é\n富士", "1999", "true"])
STRINGS = TEXTS | st.text(st.characters(codec="utf-8"), max_size=5)
PARTS = ["%", "_", "\\%", "\\_", "\\\\", "a", "T", "e", "b", "富", "\n", "'", "."]
PATTERNS = st.lists(st.sampled_from(PARTS), max_size=5).map("".join)
INTEGERS = st.integers(-3, 3) | st.integers(-(2**63) + 1, 2**63 - 1)
NUMBERS = INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(timezones=st.just(UTC)) | st.just(NEW_YEAR)
VALUES = {"string": STRINGS, "integer": INTEGERS, "number": NUMBERS, "boolean": st.booleans(), "time": TIMES}
OPERANDS = st.sampled_from(
    [*map(Column, KINDS), AUTHOR, Field("json_get_string", ("in", "it's")), Field("json_get_int", ("n",)),
     Field("json_get_float", ("x",)), Field("json_get_bool", ("b",)), Field("json_get_string", ("",))]
)  # fmt: skip
TESTS = OPERANDS.flatmap(
    lambda operand: st.one_of(
        st.builds(Compare, st.just(operand), st.sampled_from(OPERATORS), VALUES[operand.kind]),
        st.builds(In, st.just(operand), st.lists(VALUES[operand.kind], min_size=1, max_size=4).map(tuple)),
        st.just(IsNull(operand)),
        *([st.builds(Like, st.just(operand), PATTERNS)] if operand.kind == "string" else []),
    )
)
TREES = st.recursive(
    TESTS,
    lambda parts: st.one_of(
        parts.map(Not),
        st.lists(parts, min_size=2, max_size=3).map(lambda several: And(tuple(several))),
        st.lists(parts, min_size=2, max_size=3).map(lambda several: Or(tuple(several))),
    ),
    max_leaves=6,
)


@given(TREES)
@settings(max_examples=100)
def test_a_tree_is_read_back_as_it_was(tree):
    assert parse(str(tree)) == tree


# ---- the slow truth: SQL's logic in Python, None for unknown ---------------------------------------------------------


def as_string(value):
    """A string as it is; anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


READERS = {"json_get_string": as_string, "json_get_int": int, "json_get_float": float, "json_get_bool": bool}
COMPARED = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def value(operand, row):
    if isinstance(operand, Column):
        return getattr(row, operand.name)
    found = json.loads(row.metadata)
    for key in operand.path:
        found = found.get(key) if isinstance(found, dict) else None
    return None if found is None else READERS[operand.reader](found)


def like(text, pattern):
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    written = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    return re.fullmatch(written, text, re.DOTALL) is not None


def holds(tree, row):
    match tree:
        case Not(part):
            inner = holds(part, row)
            return None if inner is None else not inner
        case And(parts):
            inner = [holds(part, row) for part in parts]
            return False if False in inner else None if None in inner else True
        case Or(parts):
            inner = [holds(part, row) for part in parts]
            return True if True in inner else None if None in inner else False
        case IsNull(operand):
            return value(operand, row) is None
    found = value(tree.operand, row)
    if found is None:
        return None
    match tree:
        case Like(_, pattern):
            return like(found, pattern)
        case In(_, values):
            return any(same(found, one) for one in values)
        case Compare(_, operator, wanted):
            return COMPARED[operator](*alike(found, wanted))


def alike(found, wanted):
    """A whole number and another are compared as SQL does: both as float64."""
    return (float(found), float(wanted)) if float in (type(found), type(wanted)) else (found, wanted)


def same(found, wanted):
    left, right = alike(found, wanted)
    return left == right


def made(number, **fields):
    defaults = {
        "id": str(number), "key": "k", "source": f"/docs/{number}.txt", "version": "v", "title": "", "text": "Tea",
        "start": 0, "end": 9, "at": None, "language": "en", "kind": "text", "metadata": "{}", "modified": NEW_YEAR,
    }  # fmt: skip
    return Row(**(defaults | fields))


ROWS = [
    made(0),
    made(1, title="Tea", text="Tea needs\nwater", language="de", at=1, metadata='{"author": "Ann", "n": 2, "x": 1.5}'),
    made(2, title="it's", text="é\n富士", source="a\\b", metadata='{"author": 1999, "b": true}', start=3),
    made(3, title="a%b", text="a_b", source="\\", metadata='{"in": {"it\'s": "de"}, "n": -3}', end=2**53),
    made(4, title="100%", text="", kind="pdf", at=3, metadata='{"b": false, "": "x", "author": true}'),
    made(5, title="", language="", metadata='{"author": null}', modified=NEW_YEAR - timedelta(days=9000)),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    settings = StoreSettings("m", "f", {}, "f32", 8, 256)
    made = Store.create(str(tmp_path_factory.mktemp("filters") / "s.lance"), settings)
    made.add(ROWS, np.eye(len(ROWS), 8, dtype=np.float32))
    return made


def found(store, tree):
    return {row["id"] for row in store.snapshot().nearest(np.ones(8, np.float32), 100, where=tree)}


@given(TREES)
@example(Compare(AUTHOR, "<=", "de"))  # one of the authors is `true`
@settings(max_examples=100)
def test_the_store_finds_what_python_finds(store, tree):
    assert found(store, tree) == {row.id for row in ROWS if holds(tree, row) is True}, str(tree)


def test_conditions_of_our_own_hold_together(store):
    assert all_of() is None
    assert all_of(None, DE) == DE
    escaping = parse("at = 1 OR at = 3 OR language != 'de'")
    assert found(store, all_of(any_of("language", ["de"]), None, escaping)) == {"1"}
    for text in ("a\\b", "\\", "%", "/docs/1", "' OR true OR '"):
        assert found(store, contains("source", text)) == {row.id for row in ROWS if text in row.source}


def test_deepest_and_widest_filters_are_answered(store):
    for text in (
        "NOT (at = 1 OR " * 8 + "at = 3" + ")" * 8,
        "(start = 0 AND " * 16 + "at = 1" + ")" * 16,
        " OR ".join(f"NOT (start > {n} AND at < {n})" for n in range(50)),
        f"id IN ({', '.join(repr(str(n)) for n in range(1000))})",
        " AND ".join(["text LIKE '%_%_%_%_%_%_%_%_'"] * 2),
    ):
        tree = parse(text)
        assert found(store, tree) == {row.id for row in ROWS if holds(tree, row) is True}


def test_metadata_of_another_kind_is_told(store):
    with pytest.raises(InputError, match=r"json_get_int\(metadata, 'author'\) = 1 cannot be used: .* no integer"):
        found(store, parse("json_get_int(metadata, 'author') = 1"))
    with pytest.raises(InputError, match="no string; json_get_string reads"):
        found(store, parse("json_get_string(metadata, 'in') = 'x'"))


def test_a_search_that_takes_too_long_is_given_up(store):
    with pytest.raises(TimeoutError, match="did not answer in time"):
        store.snapshot().nearest(np.ones(8, np.float32), 3, where=DE, seconds=0)


def test_times_of_other_zones_are_the_same(store):
    there = NEW_YEAR.astimezone(timezone(timedelta(hours=9))).isoformat()
    assert found(store, parse(f"modified = timestamp '{there}'")) == {"0", "1", "2", "3", "4"}
