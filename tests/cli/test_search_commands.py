"""`me5 index` and `me5 search` as a user meets them."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5 import Reranker
from me5.cli import main

DOCUMENTS = {
    "bread.md": "# Bread\n\nBread needs flour, water, salt and yeast. Bake it for an hour.\n",
    "berg.txt": "Die Zugspitze ist der höchste Berg Deutschlands. Sie ist 2.962 Meter hoch.\n",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ME5_MODEL", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (tmp_path / "docs" / name).write_text(text, "utf-8")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command as the shell does: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["me5", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capsys.readouterr()
        return ended.value.code or 0, output, errors

    return run


def test_from_a_folder_to_an_answer(run, monkeypatch):
    code, output, errors = run("index", "docs", "--into", "my.lance")
    assert (code, output) == (0, "")
    assert errors.startswith("2 files indexed, 0 unchanged, 0 removed; 2 passages written in ")
    assert errors.endswith("my.lance holds 2 passages\n")
    code, _, errors = run("index", "docs", "--into", "my.lance")
    assert errors.startswith("0 files indexed, 2 unchanged, 0 removed; 0 passages written in ")

    code, output, errors = run("search", "my.lance", "what is bread made of?", "--k", "1")
    assert (code, errors) == (0, "")
    assert output.startswith("1. 0.")
    assert "en  docs/bread.md  Bread\n" in output
    assert "Bread needs flour, water, salt and yeast. Bake it for an hour." in output

    code, output, _ = run("search", "my.lance", "Zugspitze", "--words", "--filter", "kind = 'text'", "--json")
    told = json.loads(output)
    assert told["question"] == "Zugspitze"
    (hit,) = told["hits"]
    assert hit["language"] == "de"
    assert hit["best_sentence"] in DOCUMENTS["berg.txt"]
    assert hit["text"] == DOCUMENTS["berg.txt"].strip()

    monkeypatch.setattr(sys, "stdin", io.StringIO("bread\n\nBerg\n"))
    code, output, _ = run("search", "my.lance", "--json", "-k", "1")
    assert [json.loads(line)["question"] for line in output.splitlines()] == ["bread", "Berg"]


def test_a_cross_encoder_orders_the_hits(run, build_reranker):
    run("index", "docs", "--into", "my.lance")
    folder = str(build_reranker())
    code, output, errors = run("search", "my.lance", "bread", "--rerank", folder, "--json")
    assert (code, errors) == (0, "")
    hits = json.loads(output)["hits"]
    expected = Reranker.load(folder).rank("bread", [f"{hit['title']} {hit['text']}".strip() for hit in hits])
    assert [one.index for one in expected] == [0, 1]
    assert [hit["score"] for hit in hits] == pytest.approx([one.score for one in expected])
    assert {hit["best_sentence"] for hit in hits} != {""}
    one = json.loads(run("search", "my.lance", "bread", "--rerank", folder, "--json", "-k", "1")[1])
    assert [hit["id"] for hit in one["hits"]] == [hits[0]["id"]]
    code, _, errors = run("search", "http://127.0.0.1:1", "bread", "--rerank", folder)
    assert code == 2
    assert "only where the store is opened here" in " ".join(errors.split())


def test_check_tells_what_is_there_and_measures_the_index(run):
    run("index", "docs", "--into", "my.lance", "--index-from", "2", "--passage-tokens", "16")
    code, output, _ = run("index", "check", "my.lance")
    assert code == 0
    assert "model           me5-small\n" in output
    assert "languages       de 2, en 2\n" in output or "passages        " in output
    assert "recall@10 1.000 against exact search" in output
    code, output, _ = run("index", "check", "my.lance", "--json")
    facts = json.loads(output)
    assert facts["files"] == 2
    assert facts["recall"]["recall"] == 1.0
    code, output, errors = run("index", "remove", "my.lance", "docs/bread.md")
    assert (code, output) == (0, "")
    assert "passages removed" in errors


def test_nothing_found_tells_the_languages_there_are(run):
    run("index", "docs", "--into", "my.lance")
    code, output, _ = run("search", "my.lance", "bread", "--filter", "language = 'xx'")
    assert (code, output) == (0, "nothing found; the store has passages in de 1, en 1\n")
    code, output, _ = run("search", "my.lance", "bread", "--filter", "language = 'xx'", "--json")
    assert (code, json.loads(output)["hits"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["  "], "error: the question is empty ('  '): ask something"),
        (["tea", "--filter", "language = 'de'; AND kind = 'pdf'"], "at character 16, got ';', which has no meaning"),
        (["tea", "--filter", ""], "at character 1, expected a column, got the end"),
        (["tea", "--words", "--weight", "0.3"], "weighs vectors against words, and the search is by words alone"),
        (["tea", "--vectors", "--weight", "0"], "weighs vectors against words, and the search is by vectors alone"),
        (["tea", "--k", "99999999999"], "k must be from 1 to 100,000, got 99999999999"),
    ],
)
def test_questions_that_cannot_be_asked(run, arguments, message):
    run("index", "docs", "--into", "my.lance")
    code, output, errors = run("search", "my.lance", *arguments)
    assert (code, output) == (2, "")
    assert message in errors
    assert errors.count("Columns are") == ("--filter" in arguments)


def test_one_passage_is_removed(run):
    run("index", "docs", "--into", "my.lance")
    _, _, errors = run("index", "remove", "my.lance", "docs/bread.md")
    assert errors == "1 passage removed, 1 left\n"


def test_what_is_not_there_cannot_be_removed(run):
    run("index", "docs", "--into", "my.lance")
    code, _, errors = run("index", "remove", "my.lance", "docs/gone", "docs/bread.md", "docs/\x1b[2J")
    assert code == 1
    assert errors.splitlines() == [
        "1 passage removed, 1 left",
        "error: docs/gone: nothing in my.lance was indexed from it",
        "error: docs/\ufffd[2J: nothing in my.lance was indexed from it",
    ]
    assert run("index", "remove", "my.lance", "gone", "--quiet")[0] == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("attach rows.parquet --field body", "rows.parquet has no column 'body' (--field)"),
        ("attach rows.parquet --table notes", "rows.parquet is a file, and has no tables"),
        (
            "attach rows.parquet --vector-field short",
            "has no row that can be used; rows.parquet:0: its 'short' is",
        ),
        ("attach rows.parquet", "the vectors in 'vector' are not what me5-small makes of the texts"),
        ("attach empty.parquet", "empty.parquet has no row that can be used"),
        ("attach docs", "docs: name one of its tables: there are none"),
        ("docs --exclude !", "--exclude: "),
        ("docs gone", "gone does not exist"),
    ],
)
def test_what_is_refused_makes_no_store(run, command, said):
    vector = [1.0, *[0.0] * 383]
    rows = {"text": ["bread", "stone"], "vector": [vector] * 2, "short": [[1.0, 2.0]] * 2}
    pq.write_table(pa.table(rows), "rows.parquet")
    pq.write_table(pa.table(rows).slice(0, 0), "empty.parquet")
    code, output, errors = run("index", *command.split(), "--into", "my.lance")
    assert (code, output) == (2, "")
    assert said in errors
    assert not Path("my.lance").exists()


def test_bad_files_come_last_and_make_the_code_1(run, tmp_path):
    (tmp_path / "docs" / "a.pdf").write_bytes(b"no pdf")
    (tmp_path / "docs" / "x.jsonl").write_text('{"text": "fine"}\n{}\n{"no": "text"}\n')
    (tmp_path / "docs" / "picture.png").touch()
    code, output, errors = run("index", "docs", "--into", "my.lance", "--json")
    told = json.loads(output)
    assert code == 1
    named = [(Path(bad["source"]).name, bad["at"]) for bad in told["bad"]]
    assert named == [("a.pdf", None), ("x.jsonl", 2), ("x.jsonl", 3)]
    assert told["stored"] == 3
    code, _, errors = run("index", "docs", "--into", "my.lance")
    assert code == 1
    assert "passed over: without a reader 1 × .png\ncould not be used (3):\n" in errors
    assert f"  {tmp_path}/docs/a.pdf: cannot be read as PDF" in errors
    assert f"  {tmp_path}/docs/x.jsonl:2: no field 'text', its fields are none" in errors
    assert f"  {tmp_path}/docs/x.jsonl:3: no field 'text', its fields are 'no'" in errors
    code, output, quiet = run("index", "docs", "--into", "my.lance", "--quiet")
    assert (code, output, quiet) == (1, "", errors[errors.index("could not be used (3)") :]), "errors, and only those"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("search none.lance x", "none.lance holds no store; make one with `me5 index PATH… --into none.lance`"),
        ("index check none.lance", "none.lance holds no store"),
        ("index gone --into my.lance", "gone does not exist; to drop what was indexed from it, use `me5 index remove`"),
        ("index docs --into my.lance --passage-tokens 513", "passages must have between 16 and 512 tokens"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(run, arguments, message):
    code, output, errors = run(*arguments.split())
    assert (code, output) == (2, "")
    assert message in errors
    assert "Traceback" not in errors
    assert not Path("my.lance").exists()


def test_files_without_text_count_where_they_are_asked_for(run, tmp_path):
    (tmp_path / "docs" / "scan.txt").write_text(" \n")
    code, _, errors = run("index", "docs", "--into", "my.lance")
    assert (code, "without text, listed once (1):\n" in errors) == (0, True)
    code, _, errors = run("index", "docs", "--into", "my.lance")
    assert (code, "1 file without text, as before" in errors) == (0, True)
    assert run("index", "docs", "--into", "my.lance", "--strict")[0] == 1


def test_help_and_a_folder_that_is_called_like_a_command(run, tmp_path):
    code, output, _ = run("index", "--help")
    assert code == 0
    assert "me5 index docs/ report.pdf --into my.lance" in output
    (tmp_path / "check").mkdir()
    (tmp_path / "check" / "a.txt").write_text("A text.")
    code, _, errors = run("index", "./check", "--into", "my.lance")
    assert (code, errors[:15]) == (0, "1 file indexed,")


def test_interactive(run, tmp_path):
    run("index", "docs", "--into", "my.lance")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "me5", "search", "my.lance", "-k", "1"], stdin=follower, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    os.close(follower)
    os.write(leader, b"what is bread made of?\n\n")
    output, _ = process.communicate(timeout=120)
    os.close(leader)
    assert process.returncode == 0
    assert "an empty line ends" in output
    assert "docs/bread.md" in output
