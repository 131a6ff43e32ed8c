"""Tables of texts and vectors that people have, in a store: what is kept, what is refused, what a kill costs."""

import signal
import subprocess
import sys

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from second_batch import KILLED

from me5 import InputError
from me5.search import Index
from me5.search.attaching import AttachedColumns
from me5.search.store import Store

TEXTS = [f"Note {n}: {thing} in the village, and what became of it." for n in range(50) for thing in ("bread", "stone")]
# The second batch comes before all are there.
SMALL_BATCHES = f"from me5.search import attaching\nattaching._BATCH = 30\n{KILLED}"


@pytest.fixture(scope="module")
def vectors(embedder):
    return embedder.encode_document(TEXTS)


def table_of(vectors, **columns):
    rows = {"text": TEXTS, "vector": list(vectors * 3.0), "by": ["Ann", "Bob"] * 50, **columns}  # of any length
    return pa.table(rows)


@pytest.fixture
def parquet(tmp_path, vectors):
    pq.write_table(table_of(vectors), tmp_path / "notes.parquet")
    return tmp_path / "notes.parquet"


def stored_vectors(index):
    rows = index.store.passages.search().select(["at", "vector"]).to_list()
    return np.array([row["vector"] for row in sorted(rows, key=lambda row: row["at"])])


def test_parquet_is_taken_in_as_it_is(index, parquet, vectors, monkeypatch):
    monkeypatch.setattr("me5.search.attaching._BATCH", 30)
    with index:
        summary = index.attach(parquet)
    assert (summary.passages, summary.indexed, summary.bad, summary.tokens) == (100, 1, [], 0)
    np.testing.assert_allclose(stored_vectors(index), vectors, atol=1e-6)
    hit = index.search(TEXTS[7], 1)[0]
    assert (hit.text, hit.source, hit.place) == (TEXTS[7], "notes.parquet", "notes.parquet, row 7")
    assert hit.metadata == {"by": "Bob"}
    assert hit.language == "en"
    assert len(index.search("stone", 100, where="json_get_string(metadata, 'by') = 'Bob'", fold=False)) == 50
    assert index.attach(parquet).unchanged == 1
    assert index.remove("notes.parquet") == 100


def test_a_lancedb_table_is_taken_in(index, tmp_path, vectors):
    database = lancedb.connect(tmp_path / "theirs")
    table = database.create_table("notes", table_of(vectors).rename_columns(["body", "embedding", "by"]))
    database.create_table("other", pa.table({"x": [1]}))
    with pytest.raises(InputError, match="theirs: name one of its tables: notes, other"):
        index.attach(tmp_path / "theirs")
    with pytest.raises(InputError, match=r"notes has no column 'text' \(--field\); it has body, embedding, by"):
        index.attach(tmp_path / "theirs", table="notes")
    with pytest.raises(
        InputError, match=r"notes has no column 'headline' \(--title-field\); it has body, embedding, by"
    ):
        index.attach(tmp_path / "theirs", table="notes", columns=AttachedColumns("body", "embedding", "headline"))
    columns = AttachedColumns("body", "embedding")
    assert index.attach(tmp_path / "theirs", table="notes", columns=columns).passages == 100
    np.testing.assert_allclose(stored_vectors(index), vectors, atol=1e-6)
    assert index.attach(tmp_path / "theirs", table="notes", columns=columns).unchanged == 1
    table.delete("by = 'Bob'")
    assert index.attach(tmp_path / "theirs", table="notes", columns=columns).passages == 50
    assert len(index) == 50, "the same table again replaces"


def test_vectors_of_something_else_are_refused(index, tmp_path, vectors, embedder, monkeypatch):
    wrong = {
        "shuffled.parquet": np.roll(vectors, 1, axis=0),
        "questions.parquet": -embedder.encode_query(TEXTS),
    }
    for name, others in wrong.items():
        pq.write_table(table_of(others), tmp_path / name)
        with pytest.raises(InputError, match=r"are not what me5-\w+ makes of the texts in 'text': their cosine is"):
            index.attach(tmp_path / name)
    assert (len(index), index.store.known_files()) == (0, {})
    pq.write_table(table_of(np.vstack([vectors[:60], np.roll(vectors[60:], 1, axis=0)])), tmp_path / "late.parquet")
    monkeypatch.setattr("me5.search.attaching._BATCH", 30)
    with pytest.raises(InputError, match="in the middle of"):
        index.attach(tmp_path / "late.parquet")
    assert len(index) == 0, "nothing of it stays"


def test_rows_that_cannot_be_used_are_named(index, tmp_path, vectors):
    odd = list(vectors)
    odd[1], odd[2], odd[3] = None, odd[2][:10], np.zeros_like(odd[3])
    texts = [*TEXTS[:4], "  ", *TEXTS[5:]]
    pq.write_table(pa.table({"text": texts, "vector": odd}), tmp_path / "odd.parquet")
    summary = index.attach(tmp_path / "odd.parquet")
    assert [(bad.at, bad.reason.partition(",")[0]) for bad in summary.bad] == [
        (1, f"its 'vector' is not a vector of {len(vectors[0])} numbers"),
        (2, f"its 'vector' is not a vector of {len(vectors[0])} numbers"),
        (3, "its 'vector' has the length 0.0"),
        (4, "holds no text"),
    ]
    assert len(index) == 96


def test_what_is_no_table(index, tmp_path, docs):
    (docs / "a.txt").write_text("text")
    for source, message in (
        (tmp_path / "none", "does not exist; expected a Parquet file"),
        (docs / "a.txt", "Parquet"),
        (docs, "name one of its tables: there are none"),
    ):
        with pytest.raises(InputError, match=message):
            index.attach(source)


def test_killed_it_goes_on(parquet, tmp_path, vectors):
    def run(program):
        command = [sys.executable, "-c", program, "attach", parquet, "--into", tmp_path / "k.lance", "-p", "f32"]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    killed = run(SMALL_BATCHES)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = Store.open(str(tmp_path / "k.lance"))
    assert (store.count(), store.known_files()) == (60, {})
    ended = run("import sys; from me5.cli import main; sys.argv[:1] = ['me5', 'index']; main()")
    assert ended.returncode == 0, ended.stderr
    assert "40 passages written" in ended.stderr
    np.testing.assert_allclose(stored_vectors(Index.open(tmp_path / "k.lance")), vectors, atol=1e-6)
