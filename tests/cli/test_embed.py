"""`me5 embed` as a user meets it: what it writes, says and returns."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import types
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from me5 import Embedder, InputError
from me5.bulk.one_file import embed_file
from me5.bulk.resuming import Block, journal
from me5.bulk.source import source_of
from me5.bulk.write import target_of
from me5.cli import app
from me5.files.atomic import is_draft


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(precision="f32")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ME5_MODEL", raising=False)


@pytest.fixture
def run(run):
    return partial(run, "embed")


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


def _rows(name):
    return pq.read_table(name).to_pylist()


def test_columns_are_kept(tmp_path, run):
    rows = [{"id": at, "text": f"text {at}", "year": 1990 + at, "tags": ["a", at]} for at in range(3)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kept = ("--id-field", "id", "--keep", "year", "--keep", "tags", "--quiet")
    assert run("t.jsonl", "-o", "o.parquet", *kept)[0] == 0
    assert [(row["id"], row["year"], row["tags"]) for row in _rows("o.parquet")] == [
        (at, 1990 + at, json.dumps(["a", at])) for at in range(3)
    ]
    assert run("t.jsonl", "-o", "o.jsonl", *kept)[0] == 0
    read = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [list(row) for row in read] == [["id", "year", "tags", "vector"]] * 3
    assert [row["tags"] for row in read] == [row["tags"] for row in rows]
    for arguments, message in (
        (("-o", "o.npy", "--keep", "year"), "keeps no columns"),
        (("-o", "x.parquet", "--keep", "text"), "cannot be kept"),
        (("-o", "x.parquet", "--keep", "month"), "no field 'month'"),
    ):
        assert message in run("t.jsonl", *arguments)[2]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("name", ["o.npy", "o.parquet", "o.jsonl"])
def test_what_was_killed_goes_on(tmp_path, xlmr, name, monkeypatch):
    """After any number of blocks: only the texts that are left are embedded, and the file is the same."""
    monkeypatch.setattr("me5.flow.WINDOW_TEXTS", 64)
    embedder = Embedder.load(xlmr, precision="f32", prompts="none")
    (tmp_path / "t.txt").write_text("\n".join(f"text number {at}" for at in range(300)))
    source = source_of("t.txt")
    embed_file(embedder, source, target_of(f"whole-{name}"))
    target = target_of(name)

    embedded = []
    embed = embedder.engine.embed

    def counted(sequences):
        embedded.append(len(sequences))
        if stop and sum(embedded) > 150:
            raise _Killed
        return embed(sequences)

    monkeypatch.setattr(embedder.engine, "embed", counted)
    stop = True
    with pytest.raises(_Killed):
        embed_file(embedder, source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f".{name}.me5-embed", "t.txt", f"whole-{name}"])
    # A block whose vectors did not reach the disk, and half a line of figures, are done again.
    journal = tmp_path / f".{name}.me5-embed"
    with (journal / "blocks.jsonl").open("ab") as file:
        file.write(b'{"rows": 64, "tok')
    stop, before, told = False, sum(embedded), []
    summary = embed_file(embedder, source, target, advance=lambda texts, _: told.append(texts))
    assert 150 <= sum(embedded) - before < 300
    assert (summary.texts, sum(told)) == (300, 300)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "t.txt", f"whole-{name}"])


def _kept(path, job, rows):
    """Add rows to a journal, and end as a kill would."""
    with journal(path, 2, job) as kept:
        for row in rows:
            kept.add(Block(1, 3, 0, 0, []), np.full((1, 2), row, np.float32))
        with pytest.raises(InputError, match="another run writes"), journal(path, 2, job):
            pass
        raise _Killed


def test_another_job_begins_anew_and_two_at_a_time_are_refused(tmp_path):
    path = tmp_path / "o.npy"
    for row in (1, 2):
        with pytest.raises(_Killed):
            _kept(path, {"of": 1}, [row])
    with journal(path, 2, {"of": 1}) as again:
        assert (again.rows, [[*row] for row in next(again.read(5))]) == (2, [[1, 1], [2, 2]])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(_Killed):
        _kept(path, {"of": 1}, [1])
    with journal(path, 2, {"of": 2}) as other:
        assert other.rows == 0
    with pytest.raises(_Killed):  # nothing was done, so nothing stays
        _kept(path, {"of": 1}, [])
    assert list(tmp_path.iterdir()) == []
