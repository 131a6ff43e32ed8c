"""Runs of `me5 index`: what is read again, what is told, where files are said to be, and what one bad thing costs."""

import datetime
import os
import shutil
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import FTS

from me5 import Embedder, EngineError, InputError, Me5Warning
from me5.errors import StoreError
from me5.search import Document, Index
from me5.search.planning import Forecast, way_of_reading
from me5.search.readers import Columns
from me5.search.schema import IndexedFile
from me5.search.settings import StoreSettings
from me5.search.store import Store


def texts(index):
    rows = index.store.passages.search().select(["source", "text"]).to_list()
    return sorted((row["source"], row["text"]) for row in rows)


def names(bad):
    return sorted((os.path.basename(file.source), file.at) for file in bad)  # noqa: PTH119


# ---- what is read again ---------------------------------------------------------------------------------------------


def test_a_file_is_read_again_when_other_columns_are_asked_for(index, docs):
    (docs / "rows.jsonl").write_text('{"body": "one"}\n{"body": "two"}\n')
    assert names(index.add(docs).bad) == [("rows.jsonl", 1), ("rows.jsonl", 2)]
    summary = index.add(docs, columns=Columns(("body",)))
    assert (summary.indexed, summary.unchanged, summary.bad) == (1, 0, [])
    assert [text for _, text in texts(index)] == ["one", "two"]
    assert index.add(docs, columns=Columns(("body",))).unchanged == 1
    (docs / "a.txt").write_text("no table")
    index.add(docs)
    assert index.add(docs / "a.txt", columns=Columns(("body",))).unchanged == 1, "columns say nothing of text"


def test_rows_that_cannot_be_used_are_told_in_every_run(index, docs):
    (docs / "rows.jsonl").write_text('{"text": "good"}\n{"text": 5}\n')
    first, second = index.add(docs), index.add(docs)
    assert (first.indexed, second.indexed, second.unchanged) == (1, 0, 1)
    assert first.bad == second.bad
    assert names(first.bad) == [("rows.jsonl", 2)]
    (docs / "rows.jsonl").touch()
    assert index.add(docs).bad == first.bad
    (docs / "rows.jsonl").write_text('{"text": "good"}\n{"text": "5"}\n')
    assert index.add(docs).bad == []


def test_of_many_bad_rows_the_first_are_named_and_the_rest_counted(index, docs):
    (docs / "rows.jsonl").write_text("{]\n" * 1500)
    bad = index.add(docs).bad
    assert len(bad) == 100
    assert bad[-1].reason.endswith("; rows after it that cannot be used: 1,400")


def test_a_name_alone_is_one_path_and_not_its_letters(index, docs, monkeypatch):
    monkeypatch.chdir(docs.parent)
    (docs / "a.txt").write_text("text")
    assert index.add("docs").indexed == 1
    assert index.remove("docs") == 1


def test_a_file_without_text_is_told_once_and_is_not_indexed(index, docs):
    (docs / "empty.txt").write_text(" \n")
    (docs / "a.txt").write_text("text")
    first, second = index.add(docs), index.add(docs)
    assert names(first.textless) == [("empty.txt", None)]
    assert (first.indexed, first.bad) == (1, [])
    assert (second.textless, second.still_textless, second.bad) == ([], 1, [])


# ---- one bad thing --------------------------------------------------------------------------------------------------


def test_one_bad_thing_costs_itself_only(index, docs):
    (docs / "a.jsonl").write_text('{"text": "cut \\ud83d"}\n{"text": "row", "by": "\\ud83d"}\n{"text": "good row"}\n')
    (docs / "b.txt").write_text("good text")
    latin = os.path.join(os.fsencode(docs), b"caf\xe9.txt")  # noqa: PTH118
    with open(latin, "w") as file:  # noqa: PTH123
        file.write("x")
    (docs / "far.txt").write_text("from afar")
    os.utime(docs / "far.txt", ns=(2**63, 2**63))
    for summary in (index.add(docs), index.add(docs)):
        assert names(summary.bad) == [("a.jsonl", 1), ("a.jsonl", 2), ("caf\\xe9.txt", None)]
    assert [text for _, text in texts(index)] == ["good row", "good text", "from afar"]
    assert summary.unchanged == 3


@pytest.mark.parametrize("step", ["run", "prepare"])
def test_the_culprit_of_a_batch_is_found_and_the_others_are_in(index, docs, monkeypatch, step):
    for number in range(40):
        (docs / f"{number:02}.txt").write_text(f"This is text number {number}.")
    work, faulty = getattr(Embedder, step), index.embedder.prepare(["This is text number 17."], "document").sequences[0]

    def stumbles(self, items, *arguments, **options):
        if any(
            "number 17." in item if step == "prepare" else np.array_equal(item, faulty)
            for item in (items if step == "prepare" else items.sequences)
        ):
            raise EngineError("not a number")
        return work(self, items, *arguments, **options)

    monkeypatch.setattr(Embedder, step, stumbles)
    summary = index.add(docs)
    assert (summary.indexed, summary.passages, len(index)) == (39, 39, 39)
    assert [(file.source, file.reason) for file in summary.bad] == [
        (str(docs / "17.txt"), "cannot be read: not a number")
    ]
    monkeypatch.setattr(Embedder, step, work)
    summary = index.add(docs)
    assert (summary.indexed, summary.unchanged, summary.bad) == (1, 39, []), "it was read again"


def test_an_engine_that_can_do_nothing_ends_the_run(index, docs, monkeypatch):
    for number in range(4):
        (docs / f"{number}.txt").write_text(f"text {number}")

    def fails(self, prepared, advance):
        raise EngineError("out of memory")

    monkeypatch.setattr(Embedder, "run", fails)
    with pytest.raises(EngineError, match="out of memory"):
        index.add(docs)
    assert index.store.known_files() == {}


def test_a_store_that_cannot_be_written_to_is_one_sentence(index, docs, monkeypatch):
    (docs / "a.txt").write_text("text")

    def full(self, *arguments):
        raise OSError("No space left on device (os error 28), /root/somewhere.rs:1")

    monkeypatch.setattr(type(index.store.passages), "merge_insert", full)
    with pytest.raises(StoreError, match=r"cannot be written to: .*No space left on device \(os error 28\)$"):
        index.add(docs)


# ---- where files are ------------------------------------------------------------------------------------------------


def test_a_moved_folder_is_the_same_folder(index, docs, tmp_path):
    (docs / "in").mkdir()
    (docs / "a.txt").write_text("first text")
    (docs / "in" / "b.txt").write_text("second text")
    index.add([docs / "in"])
    index.add([docs])
    before = texts(index)
    assert before == [("docs/a.txt", "first text"), ("in/b.txt", "second text")]
    moved = tmp_path / "elsewhere" / "papers"
    moved.parent.mkdir()
    docs.rename(moved)
    summary = index.add([moved])
    assert (summary.unchanged, summary.passages, summary.removed) == (2, 0, 0)
    assert summary.moved == [f"{docs}/in is now {moved}/in", f"{docs} is now {moved}"]
    assert texts(index) == before
    (moved / "in" / "b.txt").unlink()
    assert index.add([moved]).removed == 1
    assert index.remove(moved) == 1


def test_two_folders_of_one_name_are_two(index, docs, tmp_path):
    other = tmp_path / "other" / "docs"
    other.mkdir(parents=True)
    for folder in (docs, other):
        (folder / "a.txt").write_text(f"text in {folder.parent.name}")
        (folder / "b.txt").write_text("the same")
    index.add([docs, other])
    assert {source for source, _ in texts(index)} == {"docs/a.txt", "docs/b.txt", "docs (2)/a.txt", "docs (2)/b.txt"}
    (other / "a.txt").unlink()
    assert index.add([docs]).removed == 0
    assert index.add([other]).removed == 1
    assert index.remove("docs (2)") == 1
    assert index.remove(str(docs / "a.txt")) == 1, "a string is one name, and not its letters"


def test_a_copied_store_finds_its_files_where_they_are_now(index, docs, tmp_path, embedder):
    (docs / "a.txt").write_text("text of a")
    index.add(docs)
    machine = tmp_path / "machine"
    machine.mkdir()
    (tmp_path / "my.lance").rename(machine / "my.lance")
    docs.rename(machine / "docs")
    copy = Index.open(machine / "my.lance", embedder)
    assert copy.search("text", 1)[0].source == "docs/a.txt"
    assert copy.add(machine / "docs").unchanged == 1
    assert len(copy) == 1


def test_a_store_of_an_older_me5_goes_on(index, docs, tmp_path, embedder):
    """It called files by their paths, knew no roots and no problems, and said nothing of the way of reading."""
    for name in ("a", "b"):
        (docs / f"{name}.txt").write_text(f"text of {name}")
    (docs / "gone.txt").write_text("gone since")
    index.add(docs)
    store = index.store
    store.passages.update(values_sql={"id": "concat('old', id)"})
    for table in (store.passages, store.files):
        table.update(
            values_sql={"source": f"concat('{docs.parent}/', source)", "version": "split_part(version, '-', 1)"}
        )
    store.files.drop_columns(["problems"])
    shutil.rmtree(tmp_path / "my.lance" / "roots.lance")
    (docs / "gone.txt").unlink()

    old = Index.open(tmp_path / "my.lance", embedder)
    assert old.search("text of a", 1)[0].source == str(docs / "a.txt")
    summary = old.add(docs)
    assert (summary.indexed, summary.reused, summary.tokens, summary.removed) == (2, 2, 0, 1)
    assert texts(old) == [("docs/a.txt", "text of a"), ("docs/b.txt", "text of b")]
    assert old.add(docs).unchanged == 2
    assert StoreSettings.from_json(old.settings.to_json().replace('"format": 3', '"format": 1')).format == 1


def test_links_are_followed_only_when_asked(index, docs, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("a secret")
    (docs / "a.txt").write_text("a text")
    (docs / "file.txt").symlink_to(outside / "secret.txt")
    (docs / "folder").symlink_to(outside)
    (docs / "circle").symlink_to(docs)
    summary = index.add(docs)
    assert (summary.indexed, summary.links) == (1, 3)
    summary = index.add(docs, follow_links=True)
    assert {source for source, _ in texts(index)} == {"docs/a.txt", "docs/file.txt", "docs/folder/secret.txt"}
    assert index.add(docs).removed == 2
    assert index.add(docs / "file.txt").indexed == 1, "it was named"


def test_patterns_leave_files_out(index, docs):
    for name in ("a.txt", "b.log.txt", "drafts/c.txt", "in/d.txt", "in/keep.log.txt", "in/deep/e.txt"):
        (docs / name).parent.mkdir(exist_ok=True, parents=True)
        (docs / name).write_text(name)
    index.add(docs)
    (docs / ".me5ignore").write_text("# comment\n*.log.txt\ndrafts/\n")
    (docs / "in" / ".me5ignore").write_text("!keep.log.txt\n/deep\n")
    summary = index.add(docs)
    assert (summary.excluded, summary.removed) == (3, 3)
    assert {text for _, text in texts(index)} == {"a.txt", "in/d.txt", "in/keep.log.txt"}
    assert index.add(docs, exclude=["a.*", "in/"]).removed == 3
    with pytest.raises(InputError, match="--exclude"):
        index.add(docs, exclude=["!"])
    (docs / "in" / ".me5ignore").write_bytes(b"\xff")
    summary = index.add(docs)
    assert names(summary.bad) == [("in", None)]


# ---- documents ------------------------------------------------------------------------------------------------------


def test_metadata_of_every_day_types_is_kept(index):
    metadata = {
        "day": datetime.date(2024, 1, 2), "at": datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC),
        "n": np.int64(3), "x": np.float32(0.5), "list": np.arange(2), "id": uuid.UUID(int=1), "price": Decimal("1.50"),
        "tags": {"tea"},
    }  # fmt: skip
    index.add_documents({"a": Document("tea", metadata=metadata)})
    assert index.search("tea", 1)[0].metadata == {
        "day": "2024-01-02", "at": "2024-01-02T03:00:00+00:00", "n": 3, "x": 0.5, "list": [0, 1],
        "id": "00000000-0000-0000-0000-000000000001", "price": "1.50", "tags": ["tea"],
    }  # fmt: skip


def test_a_document_that_cannot_be_kept_is_named_before_any_is_indexed(index, docs):
    good = Document("good")
    with pytest.raises(InputError, match=r"document 'b' cannot be used: its text holds half of a character, U\+D83D"):
        index.add_documents({"a": good, "b": Document("x \ud83d")})
    with pytest.raises(InputError, match="document 'c' is a str, expected a me5"):
        index.add_documents({"a": good, "c": "text"})
    assert len(index) == 0
    (docs / "a.txt").write_text("file")
    index.add(docs)
    with pytest.raises(InputError, match=r"'docs/x' would be taken for a file of .*docs, which is indexed as 'docs'"):
        index.add_documents({"docs/x": good})


# ---- stores ---------------------------------------------------------------------------------------------------------


def test_a_store_does_not_decide_what_is_downloaded(index, tmp_path):
    evil = StoreSettings.from_json(index.settings.to_json().replace('"me5-small"', '"evil/model"'))
    assert not evil.trusted
    store = Store.open(str(tmp_path / "my.lance"))
    store.settings = evil
    from me5.search.index import load

    with pytest.raises(
        InputError, match=r"the model 'evil/model', which is neither a folder here .*--model evil/model"
    ):
        load(evil)
    known = index.settings.to_json()
    for name in ("intfloat/multilingual-e5-small", "ME5-SMALL", str(tmp_path)):
        assert StoreSettings.from_json(known.replace('"me5-small"', f'"{name}"')).trusted


@pytest.mark.parametrize(
    "change", ["", "null", "[]", '{"format": 2}', ("256", '"x"'), ('"format"', '"x": 1, "format"')]
)
def test_damaged_settings_are_one_sentence(index, change):
    text = change if isinstance(change, str) else index.settings.to_json().replace(*change, 1)
    with pytest.raises(StoreError, match="the settings of this store are damaged"):
        StoreSettings.from_json(text)


@pytest.mark.parametrize("table", ["files", "passages"])
def test_a_damaged_store_is_one_sentence(index, docs, tmp_path, embedder, table):
    (docs / "a.txt").write_text("text")
    index.add(docs)
    for path in (tmp_path / "my.lance" / f"{table}.lance").rglob("*.lance"):
        path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"my.lance cannot be .*If it is damaged"):
        Index.open(tmp_path / "my.lance", embedder).add(docs)


def test_an_unchanged_run_needs_no_model(index, docs, tmp_path):
    (docs / "a.txt").write_text("text")
    index.add(docs)
    index.finish()

    def loads(settings):
        raise AssertionError("nothing has changed")

    again = Index.open(tmp_path / "my.lance", loads)
    assert again.add(docs).unchanged == 1
    assert again.finish() is None
    assert again.check() is None
    assert again.remove(docs) == 1


def test_the_time_that_is_left_follows_from_tokens():
    forecast = Forecast({"pdf": 100e6, "text": 1e6})
    before = forecast.tokens()
    forecast.seen("pdf", 50e6, 10_000)
    forecast.seen("text", 0.5e6, 100_000)
    assert forecast.tokens() == pytest.approx(10_000 + 100_000, rel=0.2)
    assert before > forecast.tokens()


def test_what_is_recorded_says_how_a_file_was_read(index, docs):
    (docs / "a.txt").write_text("text")
    index.add(docs)
    (file,) = index.store.known_files().values()
    assert isinstance(file, IndexedFile)
    assert file.version.endswith(f"-{way_of_reading('text', Columns())}")
    assert way_of_reading("csv", Columns()) != way_of_reading("csv", Columns(("body",)))


def test_words_are_added_to_a_store_that_has_none(index, docs, tmp_path, embedder, monkeypatch):
    """An older me5 looked up pieces of two and three characters of title and text."""
    monkeypatch.setattr("me5.search.upgrading._AT_A_TIME", 2)
    for name, text in {"a": "Rivers flow.", "b": "富士山の雪", "c": "The error E-1042."}.items():
        (docs / f"{name}.txt").write_text(text, encoding="utf-8")
    index.add(docs)
    index.finish()
    expected = {question: index.search(question, 3) for question in ("river", "富士山", "e-1042")}
    passages = index.store.passages
    passages.drop_columns(["words"])
    ngrams = FTS(base_tokenizer="ngram", ngram_min_length=2, ngram_max_length=3, stem=False, remove_stop_words=False)
    for column in ("title", "text"):
        passages.create_index(column, config=ngrams)

    old = Index.open(tmp_path / "my.lance", embedder)
    with pytest.raises(InputError, match="no index over its words yet"):
        old.search("river", by="words")
    with pytest.warns(Me5Warning, match="no index over its words yet.* by vectors alone"):
        assert old.search("river", 1) == index.search("river", 1, by="vectors")
    (docs / "d.txt").write_text("One more river.")
    with old:
        old.add(docs)
    assert [row["source"] for row in old.store.snapshot().matching("more", 4)] == ["docs/d.txt"]
    (docs / "d.txt").unlink()
    with old:
        old.add(docs)
    assert {question: old.search(question, 3) for question in expected} == expected
    assert [index.columns for index in old.store.passages.list_indices()] == [["words"]]


def test_a_store_in_the_format_of_an_older_me5_is_read_and_written_as_it_is(docs, tmp_path, embedder, monkeypatch):
    """An older me5 left the version of Lance's format to LanceDB, and compressed the words of each passage alone."""
    (docs / "a.txt").write_text("Rivers flow.")
    words = pa.field("words", pa.string(), metadata={"lance-encoding:compression": "zstd"})
    with monkeypatch.context() as older:
        older.setattr("me5.search.connecting._FORMAT", {"new_table_data_storage_version": "2.2"})
        older.setattr("me5.search.schema.WORDS", words)
        with Index.open(tmp_path / "old.lance", embedder, create=True) as old:
            old.add(docs)
    (docs / "b.txt").write_text("Mountains rise.")
    found = []
    for name in ("old.lance", "new.lance"):
        with Index.open(tmp_path / name, embedder, create=True) as index:
            index.add(docs)
        assert index.store.passages.schema.field("words").type == pa.string()
        found.append([index.search(text, 2, by=by) for text in ("river", "mountain") for by in ("both", "words")])
    assert found[0] == found[1]
    assert [hits[0].source for hits in found[0]] == ["docs/a.txt"] * 2 + ["docs/b.txt"] * 2
    assert Index.open(tmp_path / "old.lance").store.passages.schema.field("words").metadata == words.metadata


def test_old_versions_can_be_let_go_of_at_once(index, docs):
    (docs / "a.txt").write_text("Rivers flow.")
    index.add(docs)
    (docs / "b.txt").write_text("Mountains rise.")
    index.add(docs)
    index.finish()
    kept = index.store.size()
    assert len(index.store.passages.list_versions()) > 2
    index.store.tidy(datetime.timedelta(0))
    assert len(index.store.passages.list_versions()) <= 2
    assert index.store.size() < kept
    assert {hit.source for hit in index.search("mountain or river", 2)} == {"docs/a.txt", "docs/b.txt"}
