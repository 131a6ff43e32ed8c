"""Files in, files out: every format, every way a row can be wrong, and what a failure leaves behind."""

import gzip
import io
import json
import resource
import sys
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5 import Embedder, InputError
from me5.bulk.one_file import embed_file
from me5.bulk.read import check, records
from me5.bulk.source import source_of
from me5.bulk.write import target_of
from me5.checkpoint import resolve
from me5.engine.fake import FakeEngine
from me5.files.atomic import is_draft
from me5.flow import WINDOW_TEXTS

TEXTS = ["one, two", "", "Gr\u00fc\u00dfe \u2013 \u4f60\u597d", 'say "hi"', "inner\ttab", "line\u2028separator"]
IDS = ["a", "b", "c", "d", "e", "f"]


@pytest.fixture(scope="module")
def embedder():
    return Embedder(resolve(None), FakeEngine(dim=8))


def _csv(delimiter):
    quoted = ('"' + text.replace('"', '""') + '"' for text in TEXTS)
    return f"id{delimiter}text\r\n" + "".join(f"{i}{delimiter}{text}\r\n" for i, text in zip(IDS, quoted, strict=True))


def _write(folder, name):
    """A file of TEXTS with IDS (plain text: without) in the format of its name."""
    path = folder / name
    plain = name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        pq.write_table(pa.table({"id": IDS, "text": TEXTS}), path, row_group_size=4)
        return path
    if plain.endswith((".jsonl", ".ndjson")):
        content = "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in zip(IDS, TEXTS, strict=True))
    elif plain.endswith(".txt"):
        content = "\r\n".join(TEXTS)
    else:
        content = _csv("\t" if plain.endswith(".tsv") else ",")
    data = b"\xef\xbb\xbf" + content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def _read(path):
    """(ids, texts, vectors) of an output; None for what it does not hold."""
    if path.suffix == ".npy":
        return None, None, np.load(path, allow_pickle=False)
    if path.suffix == ".parquet":
        columns = pq.read_table(path).to_pydict()
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    return columns["id"], columns.get("text"), np.array(columns["vector"], np.float32)


@pytest.mark.parametrize("output", ["o.npy", "o.parquet", "o.jsonl"])
@pytest.mark.parametrize(
    "name", ["t.txt", "t.jsonl", "t.ndjson", "t.csv", "t.tsv", "t.parquet", "t.txt.gz", "t.jsonl.gz", "t.CSV.gz"]
)
def test_every_format_gives_the_embedders_own_vectors(tmp_path, embedder, name, output):
    keeps = output != "o.npy"
    with_ids = keeps and ".txt" not in name
    source = source_of(
        str(_write(tmp_path, name)), id_field="id" if with_ids else None, format="csv" if "CSV" in name else None
    )
    assert check(source) == len(TEXTS)
    summary = embed_file(embedder, source, target_of(str(tmp_path / output), keep_text=keeps))
    ids, texts, vectors = _read(tmp_path / output)
    np.testing.assert_array_equal(vectors, embedder.encode_document(TEXTS))
    assert vectors.dtype == np.float32
    assert ids == (None if not keeps else IDS if with_ids else list(range(len(TEXTS))))
    assert texts == (TEXTS if keeps else None)
    assert (summary.texts, summary.dim, summary.truncated) == (len(TEXTS), 8, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, output])


def test_the_side_and_task_reach_the_prompts(tmp_path, embedder):
    source = source_of(str(_write(tmp_path, "t.txt")))
    embed_file(embedder, source, target_of(str(tmp_path / "q.npy")), "query", task="bitext")
    np.testing.assert_array_equal(
        np.load(tmp_path / "q.npy", allow_pickle=False), embedder.encode_query(TEXTS, task="bitext")
    )
    with pytest.raises(InputError, match="documents of an instruct model stay bare"):
        embed_file(embedder, source, target_of(str(tmp_path / "d.npy")), task="bitext")
    assert not (tmp_path / "d.npy").exists()


def test_parquet_vectors_are_a_fixed_size_list_and_ids_keep_their_type(tmp_path, embedder):
    pq.write_table(pa.table({"n": pa.array([7, 9], pa.uint8()), "text": ["x", "y"]}), tmp_path / "t.parquet")
    source = source_of(str(tmp_path / "t.parquet"), id_field="n")
    embed_file(embedder, source, target_of(str(tmp_path / "o.parquet"), dtype="float16"))
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.column_names == ["id", "vector"]
    assert table["id"].to_pylist() == [7, 9]
    assert table["id"].type == pa.int64()
    assert table["vector"].type == pa.list_(pa.float16(), 8)


def test_float16_npy(tmp_path, embedder):
    embed_file(embedder, source_of(str(_write(tmp_path, "t.txt"))), target_of(str(tmp_path / "o.npy"), dtype="float16"))
    vectors = np.load(tmp_path / "o.npy", mmap_mode="r", allow_pickle=False)
    np.testing.assert_array_equal(vectors, embedder.encode_document(TEXTS).astype(np.float16))
    assert vectors.dtype == np.float16


def test_several_fields_are_joined_as_title_and_text(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"title": "T", "text": "body "}\n{"title": "", "text": "alone"}\n')
    source = source_of(str(tmp_path / "t.jsonl"), fields=["title", "text"])
    assert [record.text for record in records(source)] == ["T body", "alone"]


def test_dictionary_and_large_strings_are_texts(tmp_path):
    columns = {"a": pa.array(["x", "x"]).dictionary_encode(), "b": pa.array(["y", "z"], pa.large_string())}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    source = source_of(str(tmp_path / "t.parquet"), fields=["a", "b"])
    assert [record.text for record in records(source)] == ["x y", "x z"]


def test_a_csv_field_may_be_long_and_hold_line_breaks(tmp_path):
    long = "word\n" * 60_000
    (tmp_path / "t.csv").write_text(f'text\n"{long}"\nshort\n')
    got = list(records(source_of(str(tmp_path / "t.csv"))))
    assert [record.text for record in got] == [long, "short"]
    assert got[1].at == 60_003


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("t.txt", b"", ["t.txt is empty", "no texts"]),
        ("t.csv", b"", ["t.csv is empty"]),
        ("t.csv", b"id,text\n", ["t.csv is empty"]),
        ("t.txt", b"fine\nbad \xe9\n", ["t.txt, line 2: byte 5 (0xe9) is not valid UTF-8", "iconv -f WINDOWS-1252"]),
        ("t.txt", "fine".encode("utf-16-le"), ["line 1: the line holds NUL characters", "iconv -f UTF-16LE"]),
        ("t.txt", b"\xff\xfea\0\n\0\0\xd8", ["t.txt, line 2: ", "not valid UTF-16"]),
        ("t.jsonl", b'{"text": "a"}\n{"text": \n', ["t.jsonl, line 2: invalid JSON (Expecting", "delete the line"]),
        ("t.jsonl", b"[" * 100_000, ["line 1: invalid JSON (maximum recursion"]),
        ("t.jsonl", b"\n \n", ["t.jsonl is empty"]),
        ("t.jsonl", b'["a"]\n', ["line 1: list (['a']), expected a JSON object"]),
        ("t.jsonl", b'{"id": 1, "body": "a"}\n', ["line 1: no field 'text', its fields are 'id', 'body'", "--field"]),
        ("t.jsonl", b'{"text": null}\n', ["line 1: field 'text' is null, expected a string"]),
        ("t.jsonl", b'{"text": 12}\n', ["line 1: field 'text' is int (12), expected a string"]),
        ("t.tsv", b'id\ttext\n"1" 2\ta\n', ["t.tsv, line 2: ", r"('\t' expected after '" '"' "')"]),
        ("t.csv", b"id,text\n1,a\n2\n", ["t.csv, line 3: a row of 1 column, the header has 2", "quote fields"]),
        ("t.csv", b"\nid,text\n\n1,a\n\n2\n", ["t.csv, line 6: a row of 1 column, the header has 2"]),
        ("t.tsv", b"id\ttext\n1\ta\tb\n", ["t.tsv, line 2: a row of 3 columns", "hold a tab"]),
        ("t.csv", b'text\nfine\n"open\nmore\n', ["t.csv, line 3: the record that starts here", "not closed"]),
        ("t.csv", b"id,body\n1,a\n", ["t.csv has no column 'text'; its columns are 'id', 'body'", "--field"]),
        ("t.csv", b"text,text\n1,a\n", ["t.csv has 2 columns 'text'"]),
        ("t.txt.gz", b"no gzip", ["t.txt.gz cannot be read: Not a gzipped file"]),
        ("t.txt.gz", gzip.compress(b"x" * 99, mtime=0)[:-9], ["t.txt.gz cannot be read: Compressed file ended"]),
        ("t.parquet", b"no parquet", ["t.parquet cannot be read as Parquet"]),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_the_line_and_a_way_out(tmp_path, name, content, parts):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        check(source_of(str(tmp_path / name)))
    assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize(
    ("columns", "id_field", "message"),
    [
        ({"text": ["a", None]}, None, r"t.parquet, row 1 \(counted from 0\): field 'text' is null, expected a string"),
        ({"text": [1, 2]}, None, r"t.parquet, row 0 \(counted from 0\): field 'text' is int \(1\), expected a string"),
        ({"text": ["a"], "id": [1.5]}, "id", r"row 0 .*the id in 'id' is float \(1.5\), expected a string"),
        ({"text": ["a"], "id": pa.array([None], pa.int8())}, "id", r"row 0 .*the id in 'id' is None"),
        ({"text": ["a"]}, "key", "has no column 'key'; its columns are 'text'. .* --id-field"),
        ({"text": pa.array([], pa.string())}, None, "t.parquet is empty"),
        ({"text": pa.array([b"ok", b"\xff"]).view(pa.string())}, None, r"row 1 \(counted from 0\): not valid UTF-8"),
    ],
)  # fmt: skip
def test_bad_parquet_is_named_with_the_row(tmp_path, columns, id_field, message):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=message):
        check(source_of(str(tmp_path / "t.parquet"), id_field=id_field))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("true", r"line 2: the id in 'id' is bool \(True\), expected a string"),
        ('"x"', r"line 2: the id in 'id' is str \('x'\), unlike the others; make all of them"),
        ("1e3", "line 2: .* float .*, expected a string of valid Unicode or an integer"),
        (str(2**63), "integer of 64 bits; fix it, or leave --id-field out"),
    ],
)
def test_ids_are_all_strings_or_all_integers(tmp_path, second, message):
    (tmp_path / "t.jsonl").write_text(f'{{"text": "a", "id": 1}}\n{{"text": "b", "id": {second}}}\n')
    with pytest.raises(InputError, match=message):
        check(source_of(str(tmp_path / "t.jsonl"), id_field="id"))


def test_a_text_that_the_embedder_refuses_is_named_by_its_line(tmp_path, embedder):
    (tmp_path / "t.jsonl").write_text('{"text": "fine"}\n{"text": "half \\ud83d"}\n')
    with pytest.raises(InputError, match=r"t.jsonl, line 2: .* lone surrogate, U\+D83D"):
        embed_file(embedder, source_of(str(tmp_path / "t.jsonl")), target_of(str(tmp_path / "o.npy")))
    strict = Embedder(resolve(None), FakeEngine(dim=8), truncation="error", max_tokens=8)
    (tmp_path / "t.csv").write_text('text\n"two\nlines"\n"a b c d e f g h i j k l m"\n')
    with pytest.raises(InputError, match=r"t.csv, line 4: .* tokens, the model reads 8"):
        embed_file(strict, source_of(str(tmp_path / "t.csv")), target_of(str(tmp_path / "o.npy")))
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_the_summary_counts_and_places_truncated_texts(tmp_path):
    short = Embedder(resolve(None), FakeEngine(dim=8), max_tokens=8)
    (tmp_path / "t.txt").write_text("fine\n" + "a b c d e f g h i j k l m\n" * 7)
    seen = []
    summary = embed_file(
        short, source_of(str(tmp_path / "t.txt")), target_of(str(tmp_path / "o.npy")), advance=lambda *a: seen.append(a)
    )
    assert (summary.texts, summary.truncated, summary.cut) == (8, 7, [2, 3, 4, 5, 6])
    assert summary.tokens > summary.lost > 0
    assert seen == [(8, summary.tokens - summary.lost)]


class _Lines:
    """Standard input that makes its lines when they are asked for, and calls back with their number."""

    def __init__(self, count, seen):
        self.buffer, self._count, self._seen, self._at = self, count, seen, 0

    def peek(self, size):
        return b"text"[:size]

    def readline(self, size):
        number, self._at = self._at, self._at + 1
        if number >= self._count:
            return b""
        self._seen(number)
        return b"text %d\n" % number


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("output", ["o.npy", "o.parquet", "o.jsonl"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, embedder, output, failure):
    def fail(number):
        if number > WINDOW_TEXTS + 10:
            written.extend(path for path in tmp_path.iterdir() if path.name != output)
            raise failure

    written = []
    (tmp_path / output).write_text("old")
    monkeypatch.setattr(sys, "stdin", _Lines(WINDOW_TEXTS + 100, fail))
    with pytest.raises(failure):
        embed_file(embedder, source_of("-"), target_of(str(tmp_path / output), overwrite=True))
    assert [is_draft(path) for path in written] == [True]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(output, "old")]


@pytest.mark.parametrize("output", ["o.npy", "o.parquet", "o.jsonl"])
def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, embedder, output):
    monkeypatch.setattr(sys, "stdin", _Lines(1000, lambda number: None))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(InputError, match=f"{output} cannot be written: File too large; check the disk"):
            embed_file(embedder, source_of("-"), target_of(str(tmp_path / output)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_is_done(tmp_path, monkeypatch, embedder):
    (tmp_path / "t.txt").write_text("".join(f"text {number}\n" for number in range(2 * WINDOW_TEXTS)))
    source, target = source_of(str(tmp_path / "t.txt")), target_of(str(tmp_path / "o.npy"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * WINDOW_TEXTS * embedder.dim, limits[1]))  # 6,144 vectors
    try:
        with pytest.raises(InputError, match=r"o\.npy cannot be written: File too large; check the disk"):
            embed_file(embedder, source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".o.npy.me5-embed", "t.txt"]
    told = []
    embed_file(embedder, source, target, advance=lambda texts, tokens: told.append((texts, tokens)))
    kept, tokens = told[0]
    assert tokens == 0, "what was done is not embedded again"
    assert kept <= 1.5 * WINDOW_TEXTS < kept + WINDOW_TEXTS, "all blocks that there was room for"
    assert sum(texts for texts, _ in told) == 2 * WINDOW_TEXTS
    clean = embed_file(embedder, source, target_of(str(tmp_path / "clean.npy")))
    assert clean.texts == 2 * WINDOW_TEXTS
    assert (tmp_path / "o.npy").read_bytes() == (tmp_path / "clean.npy").read_bytes()


def test_texts_stream_through_with_never_more_than_a_window_waiting(monkeypatch, embedder):
    def measure(number):
        if number % 512 == 0:
            behind.append(number - output.getvalue().count(b"\n"))

    output, behind = io.BytesIO(), []
    monkeypatch.setattr(sys, "stdin", _Lines(3 * WINDOW_TEXTS, measure))
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=output))
    summary = embed_file(embedder, source_of("-"), target_of("-"))
    assert summary.texts == 3 * WINDOW_TEXTS
    assert max(behind) <= WINDOW_TEXTS
    assert json.loads(output.getvalue().split(b"\n")[-2])["id"] == 3 * WINDOW_TEXTS - 1
