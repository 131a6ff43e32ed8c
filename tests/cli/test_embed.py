"""`me5 embed` as a user meets it: what it writes, says and returns."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from me5 import Embedder
from me5.cli import app, main
from me5.files.atomic import is_draft


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(precision="f32")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ME5_MODEL", raising=False)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command as the shell does: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["me5", "embed", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capsys.readouterr()
        return ended.value.code or 0, output, errors

    return run


def _table(**columns):
    pq.write_table(pa.table(columns), "t.parquet")


def test_a_file_becomes_vectors_and_a_summary(tmp_path, run, embedder):
    (tmp_path / "t.txt").write_text("tall mountains\n\nhow high is K2\n")
    code, output, errors = run("t.txt", "-o", "o.npy", "--side", "query", "--task", "question-answering", "-p", "f32")
    assert (code, output) == (0, "")
    expected = embedder.encode_query(["tall mountains", "", "how high is K2"], task="question-answering")
    np.testing.assert_array_equal(np.load("o.npy", allow_pickle=False), expected)
    assert errors.startswith("3 texts, ")
    assert errors.endswith(" tokens/s → o.npy (3 × 384 float32)\n")


def test_standard_input_to_standard_output(run, monkeypatch, embedder):
    monkeypatch.setattr(
        sys, "stdin", types.SimpleNamespace(buffer=io.BufferedReader(io.BytesIO("één\r\ntwo\n".encode())))
    )
    code, output, errors = run("-", "-o", "-", "--keep-text", "-p", "f32")
    rows = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [(row["id"], row["text"]) for row in rows] == [(0, "één"), (1, "two")]
    found = np.array([row["vector"] for row in rows], np.float32)
    np.testing.assert_array_equal(found, embedder.encode_document(["één", "two"]))
    assert errors.startswith("2 texts, ")
    assert errors.endswith(" tokens/s → standard output (2 × 384)\n")


def test_truncated_texts_are_counted_and_placed(tmp_path, run):
    (tmp_path / "t.txt").write_text("short\n" + "a long text about high mountains\n" * 7)
    code, _, errors = run("t.txt", "-o", "o.npy", "--max-tokens", "5")
    assert code == 0
    first, second = errors.splitlines()
    assert ", 7 truncated (" in first
    assert second == "truncated: lines 2, 3, 4, 5, 6, …; --truncation chunk reads them whole"


def test_quiet_says_nothing(run):
    _table(text=["query: x"], title=["y"], n=[3])
    code, output, errors = run("t.parquet", "--field", "title", "--field", "text", "--id-field", "n", "--quiet",
                               "-o", "o.jsonl", "--max-tokens", "3")  # fmt: skip
    assert (code, output, errors) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.txt -o o.npy", "none.txt cannot be read: No such file or directory; check the path"),
        (". -o o.npy", ". is a folder, expected a file"),
        ("t.doc -o o.npy", "cannot tell the format of t.doc from its name; expected one of .txt, .jsonl"),
        ("t.txt -o o.npy", "t.txt is empty: it holds no texts to embed"),
        ("t.txt -o o.npy --field body", "t.txt is read as plain text, one text per line, and has no fields: leave --f"),
        ("t.txt -o o.npy --id-field id", "leave --id-field out, or name the format with --format jsonl"),
        ("t.parquet.gz --format parquet -o o.npy", "Parquet can only be read from a plain file, got t.parquet.gz"),
        (
            "- --format parquet -o o.npy",
            "can only be read from a plain file, got standard input; save or unpack it first",
        ),
        ("t.doc --format csv -o o.npy", "t.doc is empty"),
        ("t.txt -o o.csv", "cannot tell the format of o.csv from its name; expected one of .npy, .parquet, .jsonl"),
        ("t.txt -o old.npy", "old.npy exists; replace it with --overwrite, or write elsewhere"),
        ("t.txt -o no/o.npy", "the folder of no/o.npy does not exist; create it, or write elsewhere"),
        ("t.txt -o pipe.jsonl --overwrite", "pipe.jsonl is not a plain file; write elsewhere"),
        ("t.txt -o o.npy --keep-text", "o.npy holds vectors only and cannot keep texts; write .parquet or .jsonl"),
        ("t.txt -o - --dtype float16", "standard output holds decimal numbers, which have no dtype"),
        ("t.parquet --id-field id -o o.npy", "o.npy holds vectors only and no ids; write .parquet or .jsonl"),
        ("t.parquet -o link.parquet --overwrite", "link.parquet is also the input, and would be replaced"),
        ("t.parquet -o o.npy --field body", "t.parquet has no column 'body'; its columns are 'text', 'id'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(tmp_path, run, arguments, message):
    for name in ("t.doc", "t.txt", "t.parquet.gz", "old.npy"):
        (tmp_path / name).touch()
    _table(text=["x"], id=["y"])
    os.mkfifo("pipe.jsonl")
    (tmp_path / "link.parquet").symlink_to("t.parquet")
    before = sorted(tmp_path.iterdir())
    code, output, errors = run(*arguments.split())
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_overwrite_replaces(tmp_path, run):
    (tmp_path / "t.txt").write_text("x\n")
    (tmp_path / "real.npy").write_text("old")
    (tmp_path / "o.npy").symlink_to("real.npy")
    code, _, _ = run("t.txt", "-o", "o.npy", "--overwrite", "--dtype", "float16")
    assert code == 0
    assert np.load("real.npy", allow_pickle=False).dtype == np.float16
    assert (tmp_path / "o.npy").is_symlink()


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "-m", "me5", "embed", "-", "-o", "o.npy"]
    job = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [is_draft(path) for path in tmp_path.iterdir()] == [True]
    job.send_signal(signal.SIGINT)
    output, errors = job.communicate(timeout=20)
    assert job.returncode == 130
    assert output == b""
    assert b"Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_help_shows_the_examples_and_every_option_is_told():
    shown = CliRunner().invoke(app, ["embed", "--help"], env={"COLUMNS": "120", "NO_COLOR": "1"}).output
    for line in (
        "me5 embed docs.jsonl --field text --id-field id -o vectors.parquet",
        "me5 embed queries.txt --side query --task question-answering -o queries.npy",
        "cat lines.txt | me5 embed - -o vectors.jsonl",
    ):
        assert line in shown
