"""The contract of training data: what a dataset refuses, what it keeps, and that its check finds what was broken."""

import json
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5.data import dataset as datasets
from me5.data import writing
from me5.data.checking import check
from me5.data.contract import Document, Example, Query, Relation, content_id
from me5.data.dataset import Dataset, id_digits
from me5.data.writing import sha256, write_dataset
from me5.errors import InputError

Q1, Q2 = Query("what is tea?", lang="en"), Query("was ist Tee?", "Find an answer", "de")
D1, D2, D3 = Document("A drink.", title="Tea"), Document("Ein Getränk."), Document("Bread.")


def rows(dataset, table):
    return [row for path in dataset.files[table] for row in pq.read_table(path).to_pylist()]


def written(tmp_path, *items, **options):
    return write_dataset(tmp_path / "set", items, step={"step": "test"}, **options)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Document(["a", "list"]), "text of a document is list"),
        (lambda: Query(None), "text of a query is None, expected a string"),
        (lambda: Document(" \n"), "text of a document is empty"),
        (lambda: Document("a", title="two\nlines"), "line feed"),
        (lambda: Query("a", instruction=3), "instruction of a query is int"),
        (lambda: Document("\ud800"), "surrogate"),
        (lambda: Relation("q", "d", "maybe"), "kind 'maybe'"),
        (lambda: Relation("q", "d", label=float("nan")), "label nan"),
        (lambda: Relation("q", "d", teacher_score=1e39, teacher="t"), "teacher_score 1e"),
        (lambda: Relation("q", "d", teacher_score=0.5), "without the teacher"),
        (lambda: Relation("q", "d", label=True), "label True"),
    ],
)
def test_a_value_that_breaks_the_rules_cannot_be_made(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_ids_follow_content_and_not_its_spelling_in_unicode():
    composed = unicodedata.normalize("NFC", "Getränk")
    assert Document(composed).id == Document(unicodedata.normalize("NFD", composed)).id
    assert Document("b", title="a").id == content_id("a", "b") != Document("a b").id
    assert len(D1.id) == 24


def test_values_from_a_row_on_in_any_number_of_files_and_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_ROWS", 7)
    monkeypatch.setattr(datasets, "_ROWS", 3)
    items = [Document(f"{number}", title="T") for number in range(20)]
    dataset = written(tmp_path, *items)
    assert len(dataset.files["documents"]) == 3
    for start in range(21):
        read: list[int] = []
        assert list(dataset.documents(start=start, advance=lambda rows, _: read.append(rows))) == items[start:]  # noqa: B023
        assert sum(read) == 20 - start
    places = [(path.name, row) for path, row, _ in dataset.located("documents", Document, start=13)]
    assert places == [("00001.parquet", 7), *(("00002.parquet", row) for row in range(1, 7))]
    assert [id_digits(name) for name in dataset.ids("documents")] == [item.id for item in items]
    assert items[3].whole == "T 3"
    assert Document(" untitled ").whole == " untitled "


def test_rows_come_back_with_the_relations_of_a_query_together(tmp_path):
    items = [
        Example(Q1, D1, source="a", licence="CC0-1.0"),
        Example(Q2, D2, source="b"),
        Example(Q1, D3, "negative", None, -0.25, "judge", "a"),
    ]
    dataset = written(tmp_path, *items, D1, Document("Nobody asks for this."))
    assert [row["text"] for row in rows(dataset, "documents")] == [
        "A drink.", "Ein Getränk.", "Bread.", "Nobody asks for this.",
    ]  # fmt: skip
    queries = [(row["lang"], row["instruction"]) for row in rows(dataset, "queries")]
    assert queries == [("en", ""), ("de", "Find an answer")]
    relations = rows(dataset, "relations")
    assert [(row["query_id"], row["document_id"]) for row in relations] == [
        (Q1.id, D1.id), (Q1.id, D3.id), (Q2.id, D2.id),
    ]  # fmt: skip
    assert relations[1]["teacher_score"] == -0.25
    assert relations[0]["teacher_score"] is None
    assert dict(dataset.counts) == {
        "documents": 4, "queries": 2, "relations": 3, "positive": 2, "negative": 1, "ignore": 0,
    }  # fmt: skip
    found = check(dataset)
    assert (found.unrelated, found.unanswered, found.sources) == (1, 0, {"a": 2, "b": 1})
    assert next(dataset.documents()) == D1


def test_a_relation_that_leads_nowhere_leaves_no_folder(tmp_path):
    with pytest.raises(InputError, match="points to the document"):
        written(tmp_path, Q1, Relation(Q1.id, D1.id))
    assert list(tmp_path.iterdir()) == []


def test_equal_relations_are_one_and_different_ones_an_error(tmp_path):
    assert written(tmp_path, Example(Q1, D1), Example(Q1, D1)).counts["relations"] == 1
    with pytest.raises(InputError, match="2 different ways: positive of source 'a', negative of source 'b'"):
        written(tmp_path, Example(Q1, D1, source="a"), Example(Q1, D1, "negative", source="b"), overwrite=True)


def test_merging_keeps_the_positive_and_loses_no_score(tmp_path):
    dataset = written(
        tmp_path,
        Example(Q1, D1, "negative", 0.0, 0.1, "judge", "first"),
        Example(Q1, D1, "positive", source="second"),
        Example(Q1, D1, "positive", None, 0.9, "judge", "third"),
        Example(Q1, D2, "ignore", source="first"),
        Example(Q1, D2, "negative", source="first"),
        repeats="merge",
    )
    one, two = rows(dataset, "relations")
    assert (one["kind"], one["source"], one["label"], one["teacher"]) == ("positive", "second", None, "judge")
    assert one["teacher_score"] == np.float32(0.9)
    assert two["kind"] == "ignore"
    assert (dataset.steps[-1]["merged"], dataset.steps[-1]["contradictions"]) == (3, 2)


def test_tables_beyond_a_shard_become_folders_and_read_the_same(tmp_path, monkeypatch):
    items = [Example(Query(f"query {n}"), Document(f"document {n % 7}")) for n in range(25)]
    whole = write_dataset(tmp_path / "whole", items, step={})
    monkeypatch.setattr(writing, "SHARD_ROWS", 10)
    sharded = write_dataset(tmp_path / "sharded", items, step={}, before=whole)
    assert [path.name for path in sharded.files["queries"]] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert (tmp_path / "sharded" / "documents.parquet").exists()
    for table in ("documents", "queries", "relations"):
        assert rows(sharded, table) == rows(whole, table)
    assert len(sharded.steps) == 2
    check(sharded)


def test_equal_data_has_an_equal_fingerprint(tmp_path):
    one, two, other = (
        write_dataset(tmp_path / name, [Example(Q1, document)], step={"step": name})
        for name, document in (("one", D1), ("two", D1), ("other", D2))
    )
    assert one.fingerprint == two.fingerprint != other.fingerprint


def replaced(dataset, table, **columns):
    """Write other columns into a table, as if by another program that also corrected the manifest."""
    path = dataset.files[table][0]
    content = pq.read_table(path)
    for name, values in columns.items():
        at = content.schema.get_field_index(name)
        content = content.set_column(at, content.schema.field(at), pa.array(values, content.schema.field(at).type))
    pq.write_table(content, path)
    manifest = json.loads((dataset.folder / "dataset.json").read_text())
    manifest["files"][path.name]["sha256"] = sha256(path)
    (dataset.folder / "dataset.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("table", "columns", "said"),
    [
        ("documents", {"text": ["A drink.", ""]}, r"documents.parquet, row 2: the text of a document is empty"),
        ("documents", {"text": ["Another drink.", "Ein Getränk."]}, r"documents.parquet, row 1: the id .* not that of"),
        (
            "documents",
            {"id": [D1.id, D1.id], "title": ["Tea"] * 2, "text": ["A drink."] * 2},
            r"row 2: the id .* second",
        ),
        ("relations", {"document_id": [D1.id, "ab" * 12, D2.id]}, r"relations.parquet, row 2: points to the document"),
        ("relations", {"query_id": [Q1.id, Q2.id, Q1.id]}, r"row 3: the query .* stand together"),
        ("relations", {"document_id": [D1.id, D1.id, D2.id]}, r"row 2: the document .* a second time"),
        ("relations", {"kind": ["positive", "good", "positive"]}, r"row 2: kind 'good'"),
        ("relations", {"label": [1.0, float("inf"), None]}, r"row 2: label inf"),
        ("relations", {"kind": ["negative"] * 3}, r"dataset.json counts"),
    ],
)
def test_the_check_names_file_and_row(tmp_path, table, columns, said):
    dataset = written(tmp_path, Example(Q1, D1), Example(Q1, D2, "negative"), Example(Q2, D2))
    check(dataset)
    replaced(dataset, table, **columns)
    with pytest.raises(InputError, match=said):
        check(Dataset.open(dataset.folder))


def test_opening_refuses_what_is_no_whole_dataset(tmp_path):
    with pytest.raises(InputError, match=r"not a dataset: it has no dataset.json"):
        Dataset.open(tmp_path)
    dataset = written(tmp_path, Example(Q1, D1))
    content = pq.read_table(dataset.folder / "queries.parquet")
    pq.write_table(content.slice(0, 0), dataset.folder / "queries.parquet")
    with pytest.raises(InputError, match=r"queries.parquet has 0 rows, dataset.json says 1"):
        Dataset.open(dataset.folder)
    pq.write_table(content.drop(["lang"]), dataset.folder / "queries.parquet")
    with pytest.raises(InputError, match=r"queries.parquet has the columns id: string"):
        Dataset.open(dataset.folder)
    (dataset.folder / "queries.parquet").unlink()
    with pytest.raises(InputError, match=r"differ in the files queries.parquet"):
        Dataset.open(dataset.folder)


def test_a_changed_file_is_found_by_its_hash(tmp_path):
    dataset = written(tmp_path, Example(Q1, D1))
    pq.write_table(pq.read_table(dataset.files["queries"][0]), dataset.files["queries"][0], compression="none")
    with pytest.raises(InputError, match="has changed since it was written"):
        check(Dataset.open(dataset.folder))
