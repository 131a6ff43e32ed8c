"""A store migrated to another model: what is the same after it, what is served meanwhile, and what a kill costs."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from second_batch import KILLED

from me5 import Embedder, InputError
from me5.errors import StoreError
from me5.search import Document, Index
from me5.search.store import Store

CHECK = "import sys; from me5.cli import main; sys.argv[1:] = ['index', 'check', sys.argv[2], '--json']; main()"
QUESTION = "what is bread made of?"


@pytest.fixture(scope="module")
def other():
    """A model with vectors of another width: the store's own, cut short."""
    with pytest.warns(match="was not trained for vectors"):
        return Embedder.load(precision="f32", truncate_dim=64)


@pytest.fixture
def filled(index, docs):
    for number in range(30):
        (docs / f"{number:02}.txt").write_text(f"Text {number} is about {'bread' if number % 3 else 'rivers'}.")
    with index:
        index.add([docs])
        index.add_documents({"note": Document("Bread is made of flour, water and salt.", metadata={"by": "Ann"})})
    return index


def contents(index):
    rows = index.store.passages.search().to_arrow().drop_columns(["vector"]).to_pylist()
    return sorted(rows, key=lambda row: row["id"])


def vectors_of(index):
    rows = index.store.passages.search().select(["id", "vector"]).to_arrow().to_pylist()
    return {row["id"]: row["vector"] for row in rows}


def tables(index):
    return set(index.store._connection.list_tables().tables)


def test_only_the_vectors_are_others(filled, other, docs, tmp_path):
    before, hits = contents(filled), filled.search(QUESTION, 5, by="words")
    done = filled.migrate(other)
    assert (done.passages, done.kept, done.truncated) == (31, 0, 0)
    for index in (filled, Index.open(tmp_path / "my.lance", other)):
        assert contents(index) == before
        assert (index.settings.dim, len(index)) == (64, 31)
        assert [hit.text for hit in index.search(QUESTION, 5, by="words")] == [hit.text for hit in hits]
        texts = [row["text"] for row in before]
        expected = dict(zip([row["id"] for row in before], other.encode_document(texts), strict=True))
        for name, vector in vectors_of(index).items():
            np.testing.assert_allclose(vector, expected[name], atol=1e-5)
        assert index.search(QUESTION, 1, by="vectors")[0].source == "note"
        assert index.add([docs]).unchanged == 30
    assert tables(filled) == {"files", "roots", "passages-2"}
    done = filled.migrate(Embedder.load(precision="f32"))
    assert tables(filled) == {"files", "roots", "passages-3"}
    assert (done.passages, filled.settings.dim) == (31, 384)


def test_what_does_not_fit_is_one_sentence(filled, other, embedder):
    with pytest.raises(InputError, match="there is nothing to change"):
        filled.migrate(embedder)
    Store.successor(filled.store, filled.settings)
    with pytest.raises(InputError, match=r"is being migrated to me5-\w+ \(f32\), got .*--give-up"):
        filled.migrate(other)
    with pytest.raises(InputError, match=r"vectors of two models cannot be compared.*me5 index migrate"):
        Index.open(filled.store.uri, other)


def test_what_is_written_meanwhile_is_brought_over(filled, other, docs, embedder, monkeypatch):
    index_words = Store.index_words

    def written_to(self):
        monkeypatch.setattr(Store, "index_words", index_words)
        with Index.open(filled.store.uri, embedder) as writer:
            (docs / "late.txt").write_text("A late text about bread.")
            (docs / "00.txt").unlink()
            writer.add([docs])
        index_words(self)

    monkeypatch.setattr(Store, "index_words", written_to)
    filled.migrate(other)
    assert {row["source"] for row in contents(filled)} == {
        "note", "docs/late.txt", *(f"docs/{number:02}.txt" for number in range(1, 30)),
    }  # fmt: skip
    assert len(vectors_of(filled)) == 31
    assert filled.add([docs]).unchanged == 30


def test_what_has_the_store_open_is_told(filled, other, docs, embedder):
    opened = [Index.open(filled.store.uri, embedder) for _ in range(2)]
    expected = opened[0].search(QUESTION)
    assert expected
    filled.migrate(other)
    with pytest.raises(StoreError, match="has been migrated to another model since it was opened; open it again"):
        opened[0].search(QUESTION)
    (docs / "new.txt").write_text("A new text.")
    with pytest.raises(StoreError, match="has been migrated to another model"):
        opened[1].add([docs])
    assert "docs/new.txt" not in filled.store.known_files()
    assert filled.add([docs]).indexed == 1


def test_what_was_recorded_and_not_brought_over_is_read_again(filled, other, docs, monkeypatch):
    """Killed after the change, while a writer with the old model had just recorded a file."""
    monkeypatch.setattr(Store, "drop_older", lambda self: False)
    filled.migrate(other)
    filled.store.delete_passages("source = 'docs/03.txt'")
    monkeypatch.undo()
    assert tables(filled) == {"files", "roots", "passages", "passages-2"}
    filled.finish()
    assert tables(filled) == {"files", "roots", "passages-2"}
    assert "docs/03.txt" not in filled.store.known_files()
    assert (filled.add([docs]).indexed, len(filled)) == (1, 31)


def migrate(store, *flags, program="import sys; from me5.cli import main; sys.argv[:1] = ['me5', 'index']; main()"):
    command = [sys.executable, "-c", program, "migrate", store, *flags, "--threads", "1"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_killed_it_serves_the_old_model_and_goes_on_where_it_was(docs, index, embedder, tmp_path):
    with index:
        index.add_documents({f"{n}": Document(f"{n} loaves of bread and {n} rivers.") for n in range(300)})
    before = index.search("7 loaves", 5)
    killed = migrate(tmp_path / "my.lance", "-p", "int8", program=KILLED)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert Index.open(tmp_path / "my.lance", embedder).search("7 loaves", 5) == before
    ended = migrate(tmp_path / "my.lance", "-p", "int8", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["precision"], told["passages"] + told["kept"]) == ("int8", 300)
    assert 2 * 64 <= told["kept"] < 300, "two batches, of a size that depends on how long they take"
    small = Index.open(tmp_path / "my.lance")
    assert small.settings.precision == "int8"
    whole = Index.open(tmp_path / "whole.lance", Embedder.load(precision="int8"), create=True)
    whole.add_documents({f"{n}": Document(f"{n} loaves of bread and {n} rivers.") for n in range(300)})
    assert vectors_of(small) == vectors_of(whole), "to the bit, however the batches fell"


def test_given_up_nothing_is_left_of_it(docs, index, tmp_path):
    with index:
        index.add_documents({f"{n}": Document(f"{n} loaves of bread.") for n in range(300)})
    assert migrate(tmp_path / "my.lance", "-p", "int8", program=KILLED).returncode == -signal.SIGKILL
    assert "passages-2" in tables(index)
    told = migrate(tmp_path / "my.lance", program=CHECK)
    assert re.search(r"1(28|92) of 300 there", json.loads(told.stdout)["migrating_to"]), told.stderr
    assert migrate(tmp_path / "my.lance", "--give-up").returncode == 0
    assert tables(index) == {"files", "roots", "passages"}
    nothing = migrate(tmp_path / "my.lance", "--give-up")
    assert (nothing.returncode, "no migration is under way" in nothing.stderr) == (2, True)
