"""`me5 data`, as a person types it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from me5.cli import app
from me5.data.readers import FORMATS
from me5.errors import InputError

ROOT = Path(__file__).parents[2]
COMMANDS = ("read", "check", "deduplicate", "decontaminate")


def me5(*arguments):
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def pairs(tmp_path):
    rows = [
        {"query": "tea?", "positive": "A drink.", "negatives": ["Bread."], "kind": "qa"},
        {"query": "Tea", "positive": "a drink", "negatives": [], "kind": "qa"},
        {"query": "bread?", "positive": "Bread.", "negatives": [], "kind": "qa"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_from_files_to_clean_data(tmp_path, pairs):
    read = me5("read", pairs, "--out", tmp_path / "set", "--licence", "CC0-1.0")
    assert "3 queries, 4 relations (3 positive, 1 negative)" in read.stderr
    assert "columns not read: kind" in read.stderr
    assert "sound; 3 documents" in me5("check", tmp_path / "set").stdout
    checked = json.loads(me5("check", tmp_path / "set", "--json").stdout)
    assert checked["licences"] == {"CC0-1.0": 4}
    once = json.loads(me5("deduplicate", tmp_path / "set", "-o", tmp_path / "once", "--json").stdout)
    assert (once["counts"]["documents"], once["counts"]["queries"]) == (2, 2)
    (tmp_path / "eval.txt").write_text("Bread?\n")
    last = me5("decontaminate", tmp_path / "once", "-e", tmp_path / "eval.txt", "-o", tmp_path / "clean")
    assert "removed: documents, equal: 1; queries, equal: 1" in last.stderr
    told = json.loads((tmp_path / "clean" / "dataset.json").read_text("utf-8"))
    assert [step["step"] for step in told["steps"]] == ["read", "deduplicate", "decontaminate"]
    assert list(told["steps"][0]["inputs"]) == [str(pairs)]


def test_an_existing_folder_is_kept_unless_told(tmp_path, pairs):
    me5("read", pairs, "--out", tmp_path / "set")
    with pytest.raises(InputError, match="set exists"):
        me5("read", pairs, "--out", tmp_path / "set")
    me5("read", pairs, "--out", tmp_path / "set", "--overwrite", "--source", "mine")
    assert json.loads(me5("check", tmp_path / "set", "--json").stdout)["sources"] == {"mine": 4}


def test_a_conflict_is_merged_or_an_error(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"query": "a", "positive": "b", "negatives": ["b"]}\n')
    assert "1 of them with a positive and a negative label" in me5("read", path, "-o", tmp_path / "set").stderr
    with pytest.raises(InputError, match="related in 2 different ways"):
        me5("read", path, "-o", tmp_path / "strict", "--conflicts", "error")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_its_place_in_the_documents(command):
    assert f"me5 data {command}" in me5(command, "--help").stdout.split("Usage:")[1].split("\n", 1)[1]
    assert f"    me5 data {command} " in (ROOT / "docs" / "data.md").read_text("utf-8")


def test_every_format_has_its_section_in_the_documents():
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    assert set(FORMATS) <= set(re.findall(r"^### .*`([a-z0-9-]+)`$", page, re.MULTILINE))
    told = re.findall(r"[a-z0-9-]+", re.sub(r"\s+", " ", me5("read", "--help").stdout))
    assert set(FORMATS) <= set(told)
