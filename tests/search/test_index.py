"""Index: what it stores, finds, notices, survives and refuses."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from me5 import Embedder, InputError, PromptWarning
from me5.search import Document, Index, StoreSettings, recall
from me5.search.readers import markdown
from me5.search.store import Store

FACTS = {
    "k2.md": "# K2\n\nK2 rises to 8,611 metres. It is in the Karakoram.\n\n## Weather\n\nStorms are frequent there.\n",
    "bread.txt": "Bread needs flour, water, salt and yeast. Bake it for an hour in a hot oven.\n",
    "de/brot.txt": "Brot braucht Mehl, Wasser, Salz und Hefe. Es wird eine Stunde lang gebacken.\n",
    "ja/fuji.txt": "富士山は標高3,776メートルで、日本の最高峰である。冬は雪が多い。\n",
}


@pytest.fixture
def filled(index, docs):
    for name, text in FACTS.items():
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")
    index.add([docs])
    index.finish()
    return index


def contents(index):
    rows = index.store.passages.search().select(["source", "text", "title", "start", "end", "at", "version"]).to_list()
    return sorted((row["source"], row["at"] or 0, row["start"], row["text"], row["title"]) for row in rows)


def test_a_hit_tells_where_it_stands(filled, docs):
    (hit,) = filled.search("storms", 1, where="title LIKE '%Weather'", highlight=True)
    assert (hit.source, hit.kind, hit.language, hit.title) == ("docs/k2.md", "markdown", "en", "K2: Weather")
    (document,) = markdown.read(docs / "k2.md")
    assert document.text[hit.start : hit.end] == hit.text == hit.best_sentence == "Storms are frequent there."
    assert hit.place == "docs/k2.md"
    assert isinstance(hash(hit.id), int)
    with pytest.raises(AttributeError):
        hit.score = 1


def test_scores_are_the_cosines_of_the_embedder(filled):
    hits = filled.search("how is bread made?", 10, by="vectors")
    assert len(hits) == len(filled) == 5
    written = [f"{hit.title} {hit.text}".strip() for hit in hits]
    expected = (filled.embedder.encode_query("how is bread made?") @ filled.embedder.encode_document(written).T)[0]
    np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-5)
    assert list(expected) == sorted(expected, reverse=True)


def test_the_best_sentence_is_the_one_nearest_to_the_question(filled):
    (hit,) = filled.search("how long to bake?", 1, where="source LIKE '%bread.txt'", highlight=True)
    sentences = ["Bread needs flour, water, salt and yeast.", "Bake it for an hour in a hot oven."]
    scores = filled.embedder.encode_document(sentences) @ filled.embedder.encode_query("how long to bake?")[0]
    assert hit.best_sentence == sentences[int(scores.argmax())]


def test_filters(filled, docs):
    assert {hit.language for hit in filled.search("bread", 9, where="language = 'de'")} == {"de"}
    assert filled.search("bread", 9, where="language = 'xx'") == []
    for where in ("nothing = 3", "language = = 2"):
        for by in ("both", "vectors", "words"):
            with pytest.raises(InputError, match=f"the filter '{where}' cannot be used.*Columns are id, source"):
                filled.search("bread", where=where, by=by)


@pytest.mark.parametrize("question", ["", " \n\t", "\u200b\u00ad", "\0"])
def test_an_empty_question_is_an_error(filled, question):
    for by in ("both", "vectors", "words"):
        with pytest.raises(InputError, match=r"the question is empty .*: ask something"):
            filled.search(question, by=by)
    with pytest.raises(InputError, match="has 10,001 characters; a search by words looks up at most 10,000"):
        filled.search("x" * 10_001)
    with pytest.raises(InputError, match="a question is a string, got list"):
        filled.search([question])


@pytest.mark.parametrize("words", ["富士山", "Karakor", "gebacken", "最高峰"])
def test_hybrid_finds_words_of_every_script(filled, words):
    hits = filled.search(words, 5)
    assert words in hits[0].text
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.id for hit in hits}) == len(hits)


def test_hybrid_finds_words_of_titles(filled):
    assert filled.search("Weather", 1)[0].title == "K2: Weather"


@pytest.mark.parametrize("by", ["vectors", "words"])
def test_a_weight_needs_both_sides(filled, by):
    with pytest.raises(InputError, match=f"weighs vectors against words, and the search is by {by} alone"):
        filled.search("bread", by=by, weight=0.4)


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_hybrid_with_a_weight_outside_of_zero_to_one(filled, weight):
    with pytest.raises(InputError, match="the weight of the vectors must be from 0 to 1"):
        filled.search("bread", weight=weight)


def test_hybrid_has_the_two_rankings_at_its_ends(filled):
    by_vector = [hit.id for hit in filled.search("bread", 3, by="vectors")]
    assert [hit.id for hit in filled.search("bread", 3, weight=1.0)] == by_vector
    by_words = filled.search("富士山", 1, by="words")
    assert "富士山" in by_words[0].text
    assert [hit.id for hit in filled.search("富士山", 1, weight=0.0)] == [hit.id for hit in by_words]


def test_words_are_found_before_anything_is_finished(index, docs):
    (docs / "a.txt").write_text("text of the first")
    index.add([docs])
    assert [hit.source for hit in index.search("first", by="words")] == ["docs/a.txt"]
    assert index.search("nowhere", by="words") == []
    index.finish()
    (docs / "b.txt").write_text("text of the second")
    index.add([docs])
    assert [hit.source for hit in index.search("second", by="words")] == ["docs/b.txt", "docs/a.txt"][:1]


def test_a_search_by_words_needs_no_model(filled, docs):
    def loads(settings):
        raise AssertionError("no vector is asked for")

    words_alone = Index.open(docs.parent / "my.lance", loads)
    (hit,) = words_alone.search("Karakoram", 1, by="words")
    assert "Karakoram" in hit.text
    assert hit.score > 0
    with pytest.raises(InputError, match="a search is by 'both', 'vectors' or 'words', got 'hybrid'"):
        filled.search("Karakoram", by="hybrid")


def test_only_what_changed_is_read_again(filled, docs):
    before = contents(filled)
    again = filled.add([docs])
    assert (again.unchanged, again.indexed, again.passages, again.tokens) == (4, 0, 0, 0)
    (docs / "k2.md").touch()
    assert filled.add([docs]).tokens == 0
    assert contents(filled) == before

    (docs / "k2.md").write_text(FACTS["k2.md"].replace("Storms are frequent", "The sun shines"), encoding="utf-8")
    (docs / "bread.txt").unlink()
    (docs / "new.txt").write_text("A new file.")
    summary = filled.add([docs])
    assert (summary.unchanged, summary.indexed, summary.removed) == (2, 2, 1)
    # The other section of the changed file kept its vector.
    assert (summary.passages, summary.reused) == (3, 1)
    texts = {row[3] for row in contents(filled)}
    assert "The sun shines there." in texts
    assert not {"Storms are frequent there.", FACTS["bread.txt"].strip()} & texts


def test_only_what_lies_under_the_paths_is_removed(filled, docs):
    (docs / "de" / "brot.txt").unlink()
    (docs / "bread.txt").unlink()
    assert filled.add([docs / "de"]).removed == 1
    assert filled.add([docs / "ja"]).removed == 0
    assert "docs/bread.txt" in {row[0] for row in contents(filled)}
    assert filled.remove([docs / "bread.txt"]) == 1
    assert filled.remove([docs]) == 3
    with pytest.raises(InputError, match="gone does not exist"):
        filled.add([docs / "gone"])


def test_bad_files_are_told_and_stop_nothing(index, docs):
    (docs / "a.pdf").write_bytes(b"no pdf")
    (docs / "b.txt").write_bytes(b"\xff\xff\xff")
    (docs / "c.jsonl").write_text('{"text": "good"}\n{"no": 1}\n{"text": "better"}\n')
    (docs / "d.csv").write_text('text\n"good row"\n"never closed\n')
    (docs / "e.txt").write_text("good text")
    (docs / "f.xyz").write_text("unknown")
    (docs / "gone.txt").symlink_to(docs / "nowhere")
    (docs / ".hidden").mkdir()
    (docs / ".hidden" / "x.txt").write_text("not for search")
    summary = index.add([docs, docs / "f.xyz"])
    assert sorted((Path(bad.source).name, bad.at) for bad in summary.bad) == [
        ("a.pdf", None), ("b.txt", None), ("c.jsonl", 2), ("d.csv", None), ("f.xyz", None),
    ]  # fmt: skip
    assert (summary.others, summary.links) == ({".xyz": 1}, 1)
    # A file that breaks half way leaves nothing of itself.
    assert [row[3] for row in contents(index)] == ["good", "better", "good text"]
    (docs / "e.txt").write_bytes(b"\xff\xff\xff")
    assert index.add([docs]).indexed == 0
    assert [row[3] for row in contents(index)] == ["good", "better", "good text"], "what was there is kept"


def test_a_file_that_breaks_after_a_batch_was_written_leaves_nothing(index, docs, monkeypatch):
    monkeypatch.setattr("me5.search.planning._FIRST_BATCH", 2)
    rows = "".join(f'"row number {n}"\n' for n in range(20))
    (docs / "a.csv").write_text(f'text\n{rows}"never closed\n')
    summary = index.add([docs])
    assert (len(summary.bad), len(index)) == (1, 0)


def test_columns_are_part_of_what_a_file_is(index, docs):
    from me5.search.readers import Columns

    (docs / "a.jsonl").write_text('{"text": "one", "body": "two", "year": 1999}\n')
    index.add([docs])
    assert index.search("one", 1)[0].metadata == {"body": "two", "year": 1999}
    assert index.search("one", where="json_get_int(metadata, 'year') > 2000") == []
    (docs / "a.jsonl").touch()
    index.add([docs], columns=Columns(("body",)))
    assert [row[3] for row in contents(index)] == ["two"]


def test_documents_that_are_no_files(index):
    documents = {"it's": Document("One text.", "T", metadata={"n": 1}), "b": Document("Another text.")}
    assert index.add_documents(documents).passages == 2
    assert index.add_documents(documents).unchanged == 2
    index.add_documents({"it's": Document("One text, changed.")})
    assert [(row[0], row[3]) for row in contents(index)] == [("b", "Another text."), ("it's", "One text, changed.")]
    assert index.remove(["it's", "unknown"]) == 1


def test_equal_passages_are_read_once(index, docs):
    (docs / "a.jsonl").write_text('{"text": "the same"}\n' * 50)
    summary = index.add([docs])
    assert (summary.passages, len(index)) == (50, 50)
    assert summary.tokens < 20


def test_the_model_is_remembered_and_no_other_is_taken(filled, tmp_path, minilm, embedder):
    again = Index.open(tmp_path / "my.lance")
    assert again.embedder.checkpoint.name == "me5-small"
    assert again.search("bread", 1)[0].id == filled.search("bread", 1)[0].id
    with pytest.raises(InputError, match=r"made with me5-small .*, got .*model .*cannot be compared"):
        Index.open(tmp_path / "my.lance", Embedder.load(minilm, prompts="none"))
    with pytest.raises(InputError, match="made with the prompts"):
        Index.open(tmp_path / "my.lance", Embedder.load(prompts="prefix"))
    with pytest.raises(InputError, match="made at precision f32, got int8"):
        Index.open(tmp_path / "my.lance", Embedder.load(precision="int8"))
    with pytest.raises(InputError, match="passages of at most 256 tokens, got 128"):
        Index.open(tmp_path / "my.lance", embedder, passage_tokens=128)


def test_a_model_in_a_folder_is_loaded_from_there(tmp_path, xlmr):
    made = Index.open(tmp_path / "s", Embedder.load(xlmr, prompts="none"), create=True)
    assert made.settings.model == str(xlmr.resolve())
    assert StoreSettings.from_json(made.settings.to_json()) == made.settings
    with pytest.raises(InputError, match="format 99"):
        StoreSettings.from_json(json.dumps({**asdict(made.settings), "format": 99}))


def unfinished(index):
    """Passages that are not in the index over the words yet."""
    return index.store.passages.index_stats("words_idx").num_unindexed_rows


def test_a_block_finishes_what_it_added(tmp_path, embedder):
    tea = {"tea": Document("Tea needs boiling water.")}
    with Index.open(tmp_path / "s", embedder, create=True) as index:
        index.add_documents(tea)
        assert unfinished(index) == 1
    assert unfinished(index) == 0
    assert index.search("boiling")[0].source == "tea"

    other = Index.open(tmp_path / "other", embedder, create=True)
    with pytest.raises(InputError, match="expected a me5"), other:
        other.add_documents(tea) and other.add_documents({"bad": "no document"})
    assert unfinished(other) == 1, "after an error nothing more is written"
    with Index.open(tmp_path / "other", embedder) as again:
        assert again.add_documents(tea).unchanged == 1
    assert unfinished(again) == 0, "the next run does what the one before has left"


def test_a_model_is_given_by_name_or_by_a_function(tmp_path, xlmr, embedder):
    seen = []

    def load(settings):
        seen.append(settings)
        return embedder

    made = Index.open(tmp_path / "s", load, create=True)
    assert (seen, made.embedder) == ([None], embedder)
    again = Index.open(tmp_path / "s", load)
    assert seen == [None], "a store loads its model when it needs it"
    assert (again.embedder, seen) == (embedder, [None, made.settings])
    assert Index.open(tmp_path / "s", "me5-small").embedder.checkpoint.name == "me5-small"
    with pytest.warns(PromptWarning):
        named = Index.open(tmp_path / "named", str(xlmr), create=True)
    assert named.settings.model == str(xlmr.resolve())
    with pytest.raises(InputError, match="vectors of two models cannot be compared"), pytest.warns(PromptWarning):
        Index.open(tmp_path / "s", xlmr).search("tea")


def test_places_that_hold_no_store(tmp_path, embedder):
    with pytest.raises(InputError, match="holds no store"):
        Index.open(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        Index.open(tmp_path / "file", embedder, create=True)
    import lancedb

    other = lancedb.connect(tmp_path / "other")
    for name in ("passages", "files"):
        other.create_table(name, pa.table({"x": [1]}))
    with pytest.raises(InputError, match="not a store that me5 made"):
        Index.open(tmp_path / "other", embedder)


# ---- the index over the vectors -------------------------------------------------------------------------------------


def many(count, dim, seed=0):
    """Vectors in clumps, as those of texts are, and what the store keeps beside them."""
    from datetime import UTC, datetime

    from me5.search.store import Row

    draw = np.random.default_rng(seed)
    clumps = draw.standard_normal((50, dim))
    vectors = clumps[draw.integers(50, size=count)] + 0.7 * draw.standard_normal((count, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = [
        Row(f"{seed}-{n}", str(n), "s", "v", "", f"Sentence {n}. Another.", 0, 9, None, "en", "text", "{}",
        datetime.now(UTC)) for n in range(count)
    ]  # fmt: skip
    return rows, vectors


@pytest.fixture
def fewer_questions(monkeypatch):
    """Each costs a search per tuning that is tried."""
    monkeypatch.setattr(recall, "_QUESTIONS", 30)


@pytest.mark.usefixtures("fewer_questions")
@pytest.mark.parametrize("dim", [384, 100])
@pytest.mark.filterwarnings("ignore:.*was not trained for vectors:me5.Me5Warning")
def test_recall_is_what_exact_search_says(tmp_path, dim):
    index = Index.open(tmp_path / "s", Embedder.load(precision="f32", truncate_dim=dim), create=True)
    rows, vectors = many(3000, dim)
    index.store.add(rows, vectors)
    assert index.check() is None
    assert index.finish() is None, "too few for an index to pay"
    built = index.finish(pays_from=3000)
    assert built.recall >= 0.95
    assert built.index_bytes < (0.2 if dim % 8 == 0 else 0.5) * built.vector_bytes
    assert index.finish(pays_from=3000) is None, "nothing has changed"
    measured = index.check()
    assert measured.rows == 3000
    assert measured.tuning == built.tuning
    assert abs(measured.recall - built.recall) < 0.1
    # The slow truth, in numpy.
    questions = vectors[:50] + 0.3 * vectors[50:100]
    truth = np.argsort(-(questions @ vectors.T), axis=1)[:, :10]
    for exact in (True, False):
        found = [
            [int(row["id"][2:]) for row in index.store.snapshot().nearest(question, 10, exact=exact)]
            for question in questions
        ]
        shares = [len(set(got) & set(right)) / 10 for got, right in zip(found, truth.tolist(), strict=True)]
        assert np.mean(shares) >= (0.99 if exact else 0.85)


@pytest.mark.usefixtures("fewer_questions")
def test_rows_added_later_are_found_and_the_index_is_renewed_when_it_has_doubled(tmp_path, embedder, monkeypatch):
    monkeypatch.setattr(recall, "_SHARES", (1.0,))  # any tuning will do
    index = Index.open(tmp_path / "s", embedder, create=True)
    rows, vectors = many(1000, embedder.dim)
    index.store.add(rows[:600], vectors[:600])
    assert index.finish(pays_from=500).tuning.rows == 600
    index.store.add(rows[600:], vectors[600:])
    assert index.store.snapshot().nearest(vectors[999], 1)[0]["id"] == "0-999", "before tidying"
    assert index.finish(pays_from=500) is None
    assert index.store.snapshot().nearest(vectors[999], 1)[0]["id"] == "0-999", "after tidying"
    index.store.add(*many(300, embedder.dim, 1))
    assert index.finish(pays_from=500).tuning.rows == 1300


# ---- several processes ----------------------------------------------------------------------------------------------

RUN = "import sys; from me5.cli import main; sys.argv[:1] = ['me5', 'index']; main()"
# Ends at once when the second batch that holds something new is in the store; batches begin with 64 texts and double at
# most.
KILLED = f"""
import os, signal
from me5.search.store import Store
add, written = Store.add, []
def counted(self, rows, vectors):
    written.append(add(self, rows, vectors) > 0)
    if sum(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Store.add = counted
{RUN}
"""
ROWS = 700


def start(*arguments, program=RUN):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments), "--threads", "1", "-p", "f32"],
        stderr=subprocess.PIPE,
        text=True,
    )


def write_rows(path, count, seed=0):
    words = [
        "mountain",
        "river",
        "bread",
        "stone",
        "winter",
        "summer",
        "village",
        "language",
        "paper",
        "engine",
        "yellow",
        "quiet",
    ]
    choose = np.random.default_rng(seed)
    rows = [{"text": f"{n}: {' '.join(choose.choice(words, 10))}."} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def stored(uri):
    store = Store.open(str(uri))
    return 0 if store is None else store.count()


@pytest.fixture
def rows(docs, embedder, tmp_path):
    """A file that takes some seconds, and what a store should hold of it."""
    write_rows(docs / "rows.jsonl", ROWS)
    return docs


def vectors_of(index):
    """Bytes of the vector of each passage, by its id, which follows from the file and the place in it."""
    found = index.store.passages.search().select(["id", "vector"]).to_arrow()
    vectors = [np.asarray(vector, np.float32).tobytes() for vector in found["vector"].to_pylist()]
    return dict(zip(found["id"].to_pylist(), vectors, strict=True))


def test_a_store_is_not_put_among_other_files(docs, tmp_path, embedder):
    (docs / "a.txt").write_text("text")
    with pytest.raises(InputError, match=r"docs holds other files \(a\.txt\), and a store has a folder of its own"):
        Index.open(docs, embedder, create=True)
    assert [path.name for path in docs.iterdir()] == ["a.txt"]
    mounted = tmp_path / "mounted"
    for name in (".hidden", "lost+found", "other.lance"):
        (mounted / name).mkdir(parents=True)
    assert len(Index.open(mounted, embedder, create=True)) == 0
    assert len(Index.open(mounted, embedder, create=True)) == 0


def test_killed_again_and_again_it_ends_with_everything(rows, tmp_path, embedder):
    target = tmp_path / "killed.lance"
    reached = 0
    for _ in range(2):
        killed = start(rows, "--into", target, program=KILLED)
        _, errors = killed.communicate()
        assert killed.returncode == -signal.SIGKILL, errors
        before, reached = reached, stored(target)
        assert before < reached < ROWS, "what was written before the kill is there"
    ended = start(rows, "--into", target, "--json")
    _, errors = ended.communicate()
    assert ended.returncode == 0, errors
    index = Index.open(target)
    ids = index.store.passages.search().select(["id", "text"]).to_arrow()
    assert len(ids) == len(set(ids["id"].to_pylist())) == ROWS
    clean = Index.open(tmp_path / "clean.lance", embedder, create=True)
    clean.add([rows])
    assert vectors_of(index) == vectors_of(clean), "to the bit, however the batches fell"
    assert len(set(ids["text"].to_pylist())) == ROWS
    assert index.store.known_files()["docs/rows.jsonl"].passages == ROWS
    assert index.add([rows]).unchanged == 1


def test_a_rerun_embeds_only_what_is_missing(rows, index, monkeypatch):
    calls = []
    add = Store.add

    def killed_in_the_third_batch(self, rows, vectors):
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return add(self, rows, vectors)

    monkeypatch.setattr(Store, "add", killed_in_the_third_batch)
    with pytest.raises(KeyboardInterrupt):
        index.add([rows])
    written = len(index)
    assert written == sum(calls[:2])
    monkeypatch.setattr(Store, "add", add)
    summary = index.add([rows])
    assert summary.passages == ROWS - written
    assert len(index) == ROWS


def test_two_writers_at_once(rows, tmp_path):
    target = tmp_path / "two.lance"
    write_rows(rows / "other.jsonl", 300, seed=1)
    # The same files from both, and a file each of their own, into a store that neither finds there.
    own = [tmp_path / "own0", tmp_path / "own1"]
    for number, folder in enumerate(own):
        folder.mkdir()
        (folder / "x.txt").write_text(f"Only of writer {number}.")
    writers = [start(rows / "other.jsonl", folder, "--into", target) for folder in own]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    index = Index.open(target)
    ids = index.store.passages.search().select(["id"]).to_arrow()["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 302
    assert set(index.store.known_files()) == {"other.jsonl", "own0/x.txt", "own1/x.txt"}


def test_a_reader_sees_what_another_process_writes(docs, filled, tmp_path):
    before = len(filled)
    write_rows(docs / "rows.jsonl", 5)
    writer = start(docs / "rows.jsonl", "--into", tmp_path / "my.lance")
    _, errors = writer.communicate()
    assert writer.returncode == 0, errors
    assert len(filled) == before + 5
    assert filled.search("mountain", 20)


def test_settings_differ_by_every_weight_block(tmp_path, copy_of, xlmr):
    from me5.checkpoint import resolve
    from me5.fingerprint import of_checkpoint

    same, other = copy_of(xlmr), copy_of(xlmr)
    path = other / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert of_checkpoint(resolve(same)) == of_checkpoint(resolve(xlmr)) != of_checkpoint(resolve(other))


@pytest.mark.filterwarnings("ignore:.*was not trained for vectors:me5.Me5Warning")
def test_a_store_of_shorter_vectors_loads_its_model_for_them(tmp_path, embedder):
    short = Embedder.load(precision="f32", truncate_dim=64)
    with Index.open(tmp_path / "s", short, create=True) as index:
        index.add_documents({"a": Document("Tea is made with hot water."), "b": Document("K2 is high.")})
    again = Index.open(tmp_path / "s")
    assert [hit.source for hit in again.search("how do I make tea?", 1)] == ["a"]
    assert (again.embedder.dim, again.settings.dim) == (64, 64)
    with pytest.raises(InputError, match="vectors of two models cannot be compared"):
        Index.open(tmp_path / "s", embedder).search("tea")
