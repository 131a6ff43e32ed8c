"""What commands print."""

import ast
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text

from me5.cli import output
from me5.errors import counted


def test_texts_are_no_markup_and_numbers_keep_their_digits(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    rows = [["[bold]a long name that wraps[/]", "1234567890.12"], None, [Text("all", "bold"), "2"]]
    output.print_table(("name", output.Number("mean")), rows, title="[red]")
    shown = capsys.readouterr().out
    assert "1234567890.12" in shown
    assert "[bold]" in shown
    assert "[red]" in shown
    assert max(map(len, Text.from_ansi(shown).plain.splitlines())) <= 30


@pytest.mark.parametrize("framed", [True, False])
def test_off_a_terminal_a_row_is_a_line(capsys, framed):
    output.print_table(("name", output.Number("n")), [["long " * 60, "1"], ["b", "22"]], framed=framed)
    lines = capsys.readouterr().out.splitlines()
    assert sum("long long" in line for line in lines) == 1
    assert len(lines) == (6 if framed else 4)


@pytest.mark.parametrize("width", [80, 60, 40, 20])
@pytest.mark.parametrize("framed", [True, False])
def test_on_a_narrow_terminal_every_cell_can_be_read(capsys, monkeypatch, width, framed):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    heads = ("set of texts", "model", output.Number("mean probability"), output.Number("95 %"), "")
    rows = [["NFCorpus/test (en)", "南瓜 的家常做法", "1,234,567.0", "29.1 – 33.3", Text("FAIL", "red")], None]
    output.print_table(heads, rows, title="a title", caption="a caption", framed=framed)
    shown = Text.from_ansi(capsys.readouterr().out).plain
    words = [word for cell in (*heads, *rows[0]) for word in str(cell).split()]
    assert [word for word in [*words, "1,234,567.0", "title", "caption"] if word not in shown] == []
    if width > 20:
        assert max(map(cell_len, shown.splitlines())) <= width


def test_facts_and_lines(capsys):
    output.print_facts({"name": "x", "a path": "/tmp/[y]"})
    output.print_line(("bold", "bold"), " [plain]")
    assert capsys.readouterr().out == "name    x\na path  /tmp/[y]\nbold [plain]\n"


def test_json_reads_back_and_escapes_what_moves_a_cursor(capsys):
    value = {"text": "é \x9b \x1b[2J 南"}
    output.print_json(value)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert "é" in shown
    assert not set("\x9b\x1b") & set(shown)


def test_complaints_and_spinners_go_to_standard_error(capsys):
    output.complain("warning", "[not markup] of a model")
    with output.status("loading") as update:
        update("still loading")
    assert capsys.readouterr() == ("", "warning: [not markup] of a model\n")


PLURAL = re.compile(r" (more |different )?(?!as|has|is|was|less|of|its|us|this|across|s\b)[a-z]+s\b(?! /)")


@pytest.mark.parametrize("path", sorted(Path(output.__file__).parent.rglob("*.py")), ids=lambda path: path.name)
def test_a_number_of_things_is_worded_by_counted(path):
    """`1 rows` has stood in many places: a count in an f-string, and behind it what is counted, in the plural."""
    found = [
        (before.lineno, after.value)
        for text in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(text, ast.JoinedStr)
        for before, after in pairwise(text.values)
        if isinstance(before, ast.FormattedValue) and isinstance(after, ast.Constant) and PLURAL.match(after.value)
        if (before.format_spec is not None and ast.unparse(before.format_spec) == "f','")
        or ast.unparse(before.value).startswith("len(")
    ]
    assert found == []


def test_one_thing_is_no_plural():
    assert [counted(0, "row"), counted(1, "row"), counted(2_000, "row")] == ["0 rows", "1 row", "2,000 rows"]
    assert [counted(1, "query", "queries"), counted(2, "query", "queries")] == ["1 query", "2 queries"]
