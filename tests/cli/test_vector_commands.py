"""`me5 similar`, `cluster`, `duplicates` and `search` over files of vectors; what `me5 embed` wrote, read back."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5 import Reranker
from me5.bulk.table import vector_columns
from me5.errors import InputError
from me5.files.vectors import read_vectors
from me5.grouping import parts
from me5.vectors import normalized

TEXTS = ["The sky is blue.", "K2 is a mountain.", "The sky is blue!", "Bread is baked."]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ME5_MODEL", raising=False)


@pytest.fixture(scope="module")
def vectors():
    """Three directions, and a fourth near the first."""
    rows = np.eye(4, 8, dtype=np.float32)
    rows[2] = rows[0] + 0.1 * rows[3]
    rows[3] += 0.5 * rows[1]
    return normalized(rows)


@pytest.fixture
def file(vectors, tmp_path):
    table = pa.table({"id": ["a", "b", "c", "d"], "text": TEXTS, **vector_columns(vectors, "f32")})
    pq.write_table(table, tmp_path / "v.parquet")
    return tmp_path / "v.parquet"


def test_every_format_gives_the_same_vectors(vectors, file, tmp_path):
    np.save(tmp_path / "v.npy", vectors * 3)
    lines = [
        json.dumps({"id": name, "text": text, "vector": row})
        for name, text, row in zip("abcd", TEXTS, vectors.tolist(), strict=True)
    ]
    (tmp_path / "v.jsonl").write_text("\n".join(lines), "utf-8")
    for path, ids, texts in ((file, [*"abcd"], TEXTS), (tmp_path / "v.jsonl", [*"abcd"], TEXTS),
                             (tmp_path / "v.npy", [0, 1, 2, 3], None)):  # fmt: skip
        table = read_vectors(path)
        assert [*table.ids] == ids
        assert table.texts == texts
        np.testing.assert_allclose(table.vectors, vectors, atol=1e-6)
    for numbers, near in (("f16", 0.9999), ("int8", 0.999), ("binary", 0.3)):
        folder = tmp_path / numbers
        folder.mkdir()
        whole = vectors if numbers != "binary" else np.where(vectors > 0, 1, -1).astype(np.float32)
        for part, rows in enumerate((whole[:2], whole[2:])):
            columns = vector_columns(rows, numbers, np.array([False, part == 1]))
            pq.write_table(pa.table({"id": [2 * part, 2 * part + 1], **columns}), folder / f"part-{part}.parquet")
        table = read_vectors(folder)
        assert ([*table.ids], table.missing, table.texts) == ([0, 1, 2], 1, None)
        assert (table.vectors * vectors[:3]).sum(axis=1).min() > near


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", "a", "is not a file of vectors"),
        ("v.npy", "a", "cannot be read as a matrix"),
        ("v.jsonl", '{"id": 1}', "no field 'vector'"),
        ("v.jsonl", '{"vector": [1, 2]}\n{"vector": [1]}', "lists of numbers of one length"),
        ("v.jsonl", '{"vector": "abc"}', "lists of numbers of one length"),
        ("v.jsonl", '{"vector": null}', "holds no vectors"),
        ("v.jsonl", '{"vector": [NaN, 1]}', "not finite"),
        ("v.parquet", "a", "cannot be read as Parquet"),
        ("missing.npy", None, "does not exist"),
    ],
)
def test_what_holds_no_vectors_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(InputError, match=message):
        read_vectors(tmp_path / name)


def test_similar(run, file):
    code, output, errors = run("similar", file, "a", "--json", "-k", "2")
    assert (code, errors) == (0, "")
    assert [(one["id"], one["text"]) for one in json.loads(output)] == [("c", TEXTS[2]), ("d", TEXTS[3])]
    assert json.loads(output)[0]["score"] == pytest.approx(0.995, abs=1e-3)
    code, output, _ = run("similar", file, "a", "-k", "1")
    assert output.splitlines() == ["a  The sky is blue.", "0.9950  c  The sky is blue!"]
    assert "no id 'z'" in run("similar", file, "z")[2]


def test_cluster_and_duplicates(run, file, tmp_path):
    code, output, _ = run("duplicates", file, "--json", "-o", "groups.jsonl")
    (group,) = json.loads(output)
    assert [row["id"] for row in group["rows"]] == ["a", "c"]
    assert json.loads((tmp_path / "groups.jsonl").read_text("utf-8")) == group
    code, output, _ = run("cluster", file, "--threshold", "0.4")
    assert output.splitlines() == ["2 × a  The sky is blue.", "2 × b  K2 is a mountain.", "2 groups of 4 of 4 rows"]
    code, output, _ = run("cluster", file, "--threshold", "0.4", "--smallest", "3")
    assert output.splitlines() == ["0 groups of 0 of 4 rows"]
    code, output, _ = run("cluster", file, "--count", "3", "--json")
    assert code == 0
    assert sorted(sorted(row["id"] for row in one["rows"]) for one in json.loads(output)) == [["a", "c"], ["b"], ["d"]]
    for unused in ("--threshold", "--smallest"):
        code, _, errors = run("cluster", file, "--count", "3", unused, "1")
        assert code == 2
        assert f"{unused}: means nothing with --count" in " ".join(errors.split())
    assert "cannot be parted into 5 groups" in run("cluster", file, "--count", "5")[2]


def test_rows_are_shown_on_a_line_that_moves_no_cursor_and_says_where_it_is_cut(run, vectors, tmp_path):
    texts = ["a\nb", "x" * 100, "y" * 101, "d"]
    table = pa.table({"id": ["one\x1b[2J", "two", "three", "four"], "text": texts, **vector_columns(vectors, "f32")})
    pq.write_table(table, tmp_path / "v.parquet")
    code, output, _ = run("similar", "v.parquet", "four", "-k", "3")
    assert code == 0
    assert {line[8:] for line in output.splitlines()[1:]} == {
        "one\ufffd[2J  a\ufffdb",
        "two  " + "x" * 100,
        "three  " + "y" * 100 + " …",
    }


@pytest.mark.parametrize("command", ["cluster", "duplicates"])
def test_groups_take_the_place_of_no_vectors(run, vectors, tmp_path, command):
    rows = [json.dumps({"id": at, "vector": row}) + "\n" for at, row in enumerate(vectors.tolist())]
    (tmp_path / "v.jsonl").write_text("".join(rows), "utf-8")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "v.jsonl")
    for out, said in (
        ("v.jsonl", "v.jsonl is also the input, and would be replaced"),
        ("link.jsonl", "link.jsonl is also the input"),
        ("groups.csv", "expected a name that ends in .jsonl, got groups.csv"),
        ("nowhere/groups.jsonl", "the folder of nowhere/groups.jsonl does not exist"),
    ):
        code, output, errors = run(command, "v.jsonl", "-o", out)
        assert (code, output) == (2, "")
        assert said in errors
    assert (tmp_path / "v.jsonl").read_text("utf-8") == "".join(rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.jsonl", "v.jsonl"]


def test_parts_are_whole_and_the_same_every_time():
    draw = np.random.default_rng(0)
    centres = np.eye(5, 16)
    vectors = normalized((np.repeat(centres, 20, axis=0) + 0.1 * draw.standard_normal((100, 16))).astype(np.float32))
    groups = parts(vectors, 5)
    assert sorted(map(sorted, groups)) == [list(range(start, start + 20)) for start in range(0, 100, 20)]
    assert groups == parts(vectors, 5)
    # As many groups as vectors, of which some are equal: none is empty.
    equal = normalized(np.ones((6, 4), np.float32))
    assert sorted(map(tuple, parts(equal, 6))) == [(at,) for at in range(6)]


def test_a_question_to_a_file_that_embed_wrote(run, tmp_path, xlmr):
    model = ("--model", xlmr)
    (tmp_path / "t.txt").write_text("\n".join(TEXTS), "utf-8")
    prompts = ("--prompts", "none", "-p", "f32")
    assert run("embed", "t.txt", "-o", "v.parquet", "--keep-text", "--quiet", *model, *prompts)[0] == 0
    code, output, errors = run("search", "v.parquet", TEXTS[3], "--json", "-k", "2", *model, "--quiet")
    assert (code, errors) == (0, "")
    hits = json.loads(output)["hits"]
    assert [hits[0]["id"], hits[0]["text"]] == [3, TEXTS[3]]
    assert hits[0]["score"] == pytest.approx(1, abs=1e-3)
    code, _, errors = run("search", "v.parquet", "a", "--filter", "id = 1", *model)
    assert code == 2
    assert "only for stores" in " ".join(errors.split())
    for unused in (("--weight", "0"), ("--no-fold",), ("--storage-option", "region=x")):
        code, _, errors = run("search", "v.parquet", "a", *unused, *model)
        assert code == 2
        assert f"{unused[0]}: only for stores" in " ".join(errors.split())
    code, _, errors = run("search", "v.parquet", "a")
    assert "have vectors" in errors or "has vectors of 64 numbers" in errors


def test_a_store(run, tmp_path, xlmr):
    pytest.importorskip("lancedb")
    (tmp_path / "docs").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "docs" / f"{number}.txt").write_text(text, "utf-8")
    options = ("--model", xlmr, "--prompts", "none", "--quiet")
    assert run("index", "docs", "--into", "my.lance", *options)[0] == 0
    code, output, _ = run("cluster", "my.lance", "--count", "4", "--json")
    assert code == 0
    assert sorted(one["rows"][0]["text"] for one in json.loads(output)) == sorted(TEXTS)
    (tmp_path / "empty").mkdir()
    assert "no store" in run("cluster", "empty")[2]


def test_score_and_info_of_a_reranker(run, build_reranker):
    folder = build_reranker()
    texts = ("-q", "is the sky blue?", "-q", "K2", *(word for text in TEXTS for word in ("-d", text)))
    code, output, _ = run("score", "--model", folder, "-p", "f32", "--json", *texts)
    assert code == 0
    told = json.loads(output)
    reranker = Reranker.load(folder, precision="f32")
    expected = reranker.score([(query, text) for query in told["queries"] for text in TEXTS])
    np.testing.assert_allclose(np.ravel(told["scores"]), expected, atol=1e-6)
    code, output, _ = run("score", "--model", folder, "-p", "f32", *texts)
    assert f"{expected[0] * 100:.2f}" in output
    assert "knows neither tasks" in run("score", "--model", folder, "--task", "sts", *texts)[2]
    assert json.loads(run("info", folder, "--json")[1])["head"] == "1 output, scores by sigmoid"
