"""Every form of data that `me5 eval` reads, and what it says of data that does not fit together."""

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_sets import JUDGED, PASSAGES, QUERIES, corpus, write_records

from me5 import InputError
from me5.evaluation.languages import of_name, of_pair
from me5.evaluation.readers import read, read_all
from me5.evaluation.task import (
    Bitext,
    Classification,
    Clustering,
    PairClassification,
    Reranking,
    Retrieval,
    Similarity,
    Task,
)


def one(path: Path) -> Task:
    (task,) = read(path)
    return task


def test_a_folder_of_folders_gives_all_its_tasks_in_order(sets: Path) -> None:
    clusters, pairs, reranking, retrieval, similarity, bitext, topics = read(sets)
    assert isinstance(topics, Classification)
    assert (len(topics.train), len(topics.test)) == (36, 15)
    assert isinstance(retrieval, Retrieval)
    assert isinstance(similarity, Similarity)
    assert isinstance(bitext, Bitext)
    assert isinstance(pairs, PairClassification)
    assert isinstance(reranking, Reranking)
    assert isinstance(clusters, Clustering)
    assert [str(task.subset) for task in (retrieval, similarity, bitext)] == [
        "retrieval/small", "sts/en", "tatoeba/deu-eng",
    ]  # fmt: skip
    documents = dict(retrieval.documents)
    assert documents["k2"] == "K2 K2 rises to 8,611 metres above sea level."
    assert documents["bread"].startswith("Bake")
    assert dict(retrieval.documents) == documents  # a second pass gives the same
    assert (list(retrieval.queries), retrieval.unjudged) == (["q1", "q2", "q3"], 1)
    assert similarity.scores == [5.0, 1.5, 0.0, 3.0]
    assert bitext.subset.languages == ("deu-Latn", "eng-Latn")
    assert pairs.labels == [1, 0, 1, 0]
    assert reranking.candidates["test_query0"] == [
        "apositive_test_query0_00000", "negative_test_query0_00000", "negative_test_query0_00001",
    ]  # fmt: skip
    assert reranking.unjudged == 1


def test_a_bare_name_is_of_the_folder_that_one_is_in(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "deu-eng.tsv").write_text("eins\tone\nzwei\ttwo\n", "utf-8")
    monkeypatch.chdir(tmp_path / "news")
    ((name, task),) = [(task.subset.name, task.subset.task) for task in read(Path("deu-eng.tsv"))]
    assert (name, task) == ("deu-eng", "news")


def test_a_query_with_only_irrelevant_documents_stays_as_in_mteb(sets: Path) -> None:
    path = sets / "retrieval" / "small" / "qrels" / "test.tsv"
    path.write_text(path.read_text("utf-8") + "q4\ttea\t0\n", "utf-8")
    task = one(sets / "retrieval")
    assert isinstance(task, Retrieval)
    assert (list(task.queries), task.unjudged) == (["q1", "q2", "q3", "q4"], 0)


@pytest.mark.parametrize("gzipped", [False, True])
def test_miracl_and_mr_tydi(tmp_path: Path, gzipped: bool) -> None:
    """Topics, qrels and corpus as they are published: in folders of their own or beside each other."""
    miracl, mrtydi = tmp_path / "miracl-v1.0-sw", tmp_path / "mrtydi"
    (miracl / "topics").mkdir(parents=True)
    (miracl / "qrels").mkdir()
    asked = "".join(f"{name}\t{text}\n" for name, text in QUERIES.items())
    judged = "".join(f"{query}\tQ0\t{document}\t{grade}\n" for query, document, grade in JUDGED)
    for split in ("train", "dev"):
        (miracl / "topics" / f"topics.miracl-v1.0-sw-{split}.tsv").write_text(asked, "utf-8")
        (miracl / "qrels" / f"qrels.miracl-v1.0-sw-{split}.tsv").write_text(judged, "utf-8")
    ending = ".gz" if gzipped else ""
    documents = [{"docid": name, "title": title, "text": text} for name, (title, text) in PASSAGES.items()]
    write_records(tmp_path / "miracl-corpus-v1.0-sw" / f"docs-0.jsonl{ending}", documents[:2])
    write_records(tmp_path / "miracl-corpus-v1.0-sw" / f"docs-1.jsonl{ending}", documents[2:])
    task = one(miracl)
    assert isinstance(task, Retrieval)
    subset = task.subset
    assert (subset.task, subset.name, subset.split, subset.languages) == ("MIRACL", "sw", "dev", ("swa-Latn",))
    assert subset.sentence == "Given a question, retrieve Wikipedia passages that answer the question"
    assert dict(task.documents)["tea"] == "茶 绿茶应该用八十度的水冲泡。"
    assert len(task.queries) == 3

    mrtydi.mkdir()
    (mrtydi / "topics.mrtydi-v1.1-japanese.test.txt.gz").write_bytes(gzip.compress(asked.encode()))
    spaced = judged.replace("\t", " ")
    (mrtydi / "qrels.mrtydi-v1.1-japanese.test.txt").write_text(spaced, "utf-8")
    contents = [{"id": name, "contents": f"{title}\n\n{text}"} for name, (title, text) in PASSAGES.items()]
    write_records(mrtydi / "mrtydi-v1.1-japanese" / f"corpus.jsonl{ending}", contents)
    task = one(mrtydi)
    assert isinstance(task, Retrieval)
    assert (task.subset.task, task.subset.name, task.subset.languages) == ("MrTyDi", "ja", ("jpn-Jpan",))
    assert dict(task.documents)["k2"] == "K2 K2 rises to 8,611 metres above sea level."


def test_topics_without_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "topics.miracl-v1.0-sw-dev.tsv").write_text("q\ttext\n", "utf-8")
    (tmp_path / "qrels.miracl-v1.0-sw-dev.tsv").write_text("q Q0 d 1\n", "utf-8")
    with pytest.raises(InputError, match=r"topics and qrels of miracl-v1\.0-sw but no corpus"):
        read(tmp_path)
    write_records(tmp_path / "corpus" / "docs.jsonl", [{"docid": "d", "text": "x"}])
    (tmp_path / "qrels.miracl-v1.0-sw-dev.tsv").write_text("q Q0 d\n", "utf-8")
    with pytest.raises(InputError, match="line 1: expected query id, Q0, document id and number"):
        read(tmp_path)


CARD = """---
configs:
- config_name: corpus
  data_files: [{split: corpus, path: corpus.jsonl}]
- config_name: queries
  data_files: [{split: queries, path: queries.jsonl}]
- config_name: default
  data_files:
  - {split: dev, path: qrels/dev.jsonl}
  - {split: test, path: qrels/test.jsonl}
---
# A dataset
"""


def test_a_retrieval_dataset_as_the_hub_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "scifact"
    write_records(folder / "corpus.jsonl", corpus())
    write_records(folder / "queries.jsonl", [{"_id": name, "text": text} for name, text in QUERIES.items()])
    judged = [{"query-id": query, "corpus-id": document, "score": grade} for query, document, grade in JUDGED]
    write_records(folder / "qrels" / "test.jsonl", judged)
    write_records(folder / "qrels" / "dev.jsonl", judged[:1])
    (folder / "README.md").write_text(CARD, "utf-8")
    task = one(folder)
    assert isinstance(task, Retrieval)
    assert (str(task.subset), task.subset.split, len(task.queries)) == ("scifact/default", "test", 3)
    assert task.subset.sentence == "Given a scientific claim, retrieve documents that support or refute the claim"


def test_a_dataset_of_several_languages_in_parquet(tmp_path: Path) -> None:
    folder = tmp_path / "Several"
    for language in ("de", "ja"):
        for part, rows in {
            "corpus": corpus(),
            "queries": [{"_id": name, "text": text} for name, text in QUERIES.items()],
            "qrels": [{"query-id": q, "corpus-id": d, "score": float(grade)} for q, d, grade in JUDGED],
            "top_ranked": [{"query-id": name, "corpus-ids": list(PASSAGES)} for name in QUERIES],
        }.items():
            (folder / f"{language}-{part}").mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{language}-{part}" / "test-00000-of-00001.parquet")
    german, japanese = read(folder)
    assert isinstance(german, Reranking)
    assert [task.subset.languages for task in (german, japanese)] == [("deu-Latn",), ("jpn-Jpan",)]
    assert german.candidates["q1"] == list(PASSAGES)


def test_other_datasets_are_told_by_their_columns(tmp_path: Path) -> None:
    for config, rows in {
        "en": {"sentence1": ["a", "b"], "sentence2": ["a", "c"], "score": [5, 1]},
        "de": {"sentence1": [["a", "b"]], "sentence2": [["a", "c"]], "labels": [[1, 0]]},  # mteb 1: one row of lists
    }.items():
        (tmp_path / "set" / config).mkdir(parents=True)
        pq.write_table(pa.table(rows), tmp_path / "set" / config / "test.parquet")
    (tmp_path / "set" / "README.md").write_text(
        "---\nconfigs:\n"
        "- {config_name: en, data_files: [{split: test, path: 'en/*'}]}\n"
        "- {config_name: de, data_files: [{split: test, path: 'de/*'}]}\n---\n",
        "utf-8",
    )
    scored, labelled = read(tmp_path / "set")
    assert isinstance(scored, Similarity)
    assert isinstance(labelled, PairClassification)
    assert labelled.labels == [1, 0]
    data = tmp_path / "labels" / "data"
    data.mkdir(parents=True)
    for split in ("train", "test"):
        pq.write_table(pa.table({"text": ["x", "y"], "label": [0, 1]}), data / f"{split}-00000-of-00001.parquet")
    task = one(tmp_path / "labels")
    assert isinstance(task, Classification)
    assert task.test_labels == [0, 1]


def test_bucc_looks_only_for_what_is_in_the_gold_list(tmp_path: Path) -> None:
    folder = tmp_path / "bucc"
    folder.mkdir()
    (folder / "de-en.test.de").write_text("de-1\teins\nde-2\tzwei\nde-3\tdrei\n", "utf-8")
    (folder / "de-en.test.en").write_text("en-1\tfour\nen-2\tthree\nen-3\tone\n", "utf-8")
    (folder / "de-en.test.gold").write_text("de-1\ten-3\nde-3\ten-2\n", "utf-8")
    task = one(folder)
    assert isinstance(task, Bitext)
    assert (task.left, task.right, task.gold) == (["eins", "drei"], ["four", "three", "one"], [2, 1])
    (folder / "de-en.test.gold").write_text("de-1\ten-9\n", "utf-8")
    with pytest.raises(InputError, match=r"de-en\.test\.gold, line 1: expected an id of de-en\.test\.de"):
        read(folder)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("retrieval/small/corpus.jsonl", "", "is empty"),
        ("retrieval/small/corpus.jsonl", "{", "line 1: invalid JSON"),
        ("retrieval/small/corpus.jsonl", '{"_id": "a", "text": "x"}\n' * 2, "line 2: the id 'a' stands there a second"),
        ("retrieval/small/corpus.jsonl", '{"text": "x"}', 'line 1: expected an id under "_id"'),
        ("retrieval/small/queries.jsonl", '{"_id": "q1", "text": 3}\n', "line 1: field 'text' is int (3), expected a"),
        (
            "retrieval/small/queries.jsonl",
            '{"_id": "a", "text": "x"}\n' * 2,
            "line 2: the id 'a' stands there a second",
        ),
        ("retrieval/small/qrels/test.tsv", "q9\tk2\t1\n", "judges no document relevant"),
        (
            "retrieval/small/qrels/test.tsv",
            "q1\tk9\t1\n",
            "line 1: the document 'k9' is not in corpus.jsonl, nor is any",
        ),
        ("retrieval/small/qrels/test.tsv", "q1\tk2\n", "line 1: expected query-id TAB"),
        ("retrieval/small/qrels/test.tsv", "q1\tk2\t0\n", "judges no document relevant"),
        ("sts/en.tsv", "5\ta\tb\nfive\ta\tb\n", "line 2: the score 'five' is not a number"),
        ("sts/en.tsv", "5\ta\tb\nnan\ta\tb\n", "line 2: the score 'nan' is not a number"),
        ("sts/en.tsv", "5\ta\tb\n-inf\ta\tb\n", "line 2: the score '-inf' is not a number"),
        ("pairs/en.jsonl", '{"sentence1": "a", "sentence2": "b", "score": NaN}', 'line 1: expected a number "score"'),
        ("pairs/en.jsonl", '{"sentence1": "a", "sentence2": "b", "labels": NaN}', 'line 1: expected a number "labels"'),
        ("pairs/en.jsonl", '{"sentence1": "a", "sentence2": "b", "labels": 0.5}', "a pair is 0 or 1, got 0.5"),
        ("sts/en.tsv", "5\ta\tb\na\tb\n", "line 2: 2 columns where the first line has 3"),
        ("topics/en/test.tsv", "war\tbattle\n", "labels that train.tsv lacks: war"),
        ("tatoeba/deu-eng.tsv", "alone\n", "line 1: 1 column"),
        (
            "pairs/en.jsonl",
            '{"sentence1": "a", "sentence2": "b", "labels": 2}',
            "line 1: the label of a pair is 0 or 1",
        ),
        ("pairs/en.jsonl", '{"sentence1": "a", "sentence2": "b", "labels": 1}', "all pairs have the label 1"),
        ("clusters/en.jsonl", '{"a": 1}', "line 1: the columns a are of no task"),
        ("reranking/en.jsonl", '{"query": "a", "positive": "b", "negative": []}', 'a list of strings "positive"'),
    ],
)
def test_bad_data_is_an_error_with_its_place(sets: Path, file: str, text: str, said: str) -> None:
    (sets / file).write_text(text, "utf-8")
    with pytest.raises(InputError, match=re.escape(said)):
        read(sets)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("sts/en.tsv", "5\ta\tb\n5\tc\td\n", "sts/en: all pairs have the score 5.0, so that there is nothing to tell"),
        ("sts/en.tsv", "5\ta\tb\n", "sts/en: all pairs have the score 5.0"),
        ("topics/en/train.tsv", "food\tsoup\nfood\tcake\n", "topics/en: all training texts have the label food"),
        (
            "clusters/en.jsonl",
            '{"sentences": "a", "labels": ["x", 1]}\n' * 2,
            "clusters/en: all texts have the label x",
        ),
    ],
)
def test_sets_that_tell_nothing_are_not_judged(sets: Path, file: str, text: str, said: str) -> None:
    """Texts of such sets are still read: training data are compared with them."""
    if file.startswith("topics"):
        (sets / "topics" / "en" / "test.tsv").write_text(text, "utf-8")
    (sets / file).write_text(text, "utf-8")
    read(sets)
    with pytest.raises(InputError, match=re.escape(said)):
        read_all([sets])


def test_a_header_of_labelled_texts_is_no_text(sets: Path) -> None:
    for half in ("train", "test"):
        path = sets / "topics" / "en" / f"{half}.tsv"
        path.write_text("label\ttext\n" + path.read_text("utf-8"), "utf-8")
    with pytest.raises(InputError, match=r"train\.tsv, line 1: a header"):
        read(sets)


def test_two_sets_of_one_name_would_replace_each_other(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=re.escape(f"two sets are called sts/en, one in {sets}, one in {sets / 'sts'}:")
    ):
        read_all([sets, sets / "sts"])
    (sets / "more" / "sts").mkdir(parents=True)
    (sets / "more" / "sts" / "en.tsv").write_text("5\ta\tb\n1\tc\td\n", "utf-8")
    with pytest.raises(InputError, match=re.escape(f"two sets are called sts/en, in {sets}: name each once")):
        read_all([sets])
    assert len(read_all([sets / "tatoeba", sets / "sts"])) == 2


def test_missing_judgements_and_bytes_that_are_no_text(sets: Path) -> None:
    (sets / "sts" / "en.tsv").write_bytes(b"1\ta\tb\n2\t\xff\tb\n")
    with pytest.raises(InputError, match=r"en\.tsv, line 2: byte 3 \(0xff\) is not valid UTF-8"):
        read(sets / "sts")
    (sets / "retrieval" / "small" / "qrels" / "test.tsv").unlink()
    with pytest.raises(InputError, match=r"test\.tsv is missing"):
        read(sets)
    with pytest.raises(InputError, match="holds no evaluation data"):
        read(sets / "retrieval" / "small" / "qrels")
    with pytest.raises(InputError, match="does not exist"):
        read(sets / "nowhere")
    packed = sets / "pairs" / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"sentence1": "a", "sentence2": "b"}\n' * 99)[:-9])
    with pytest.raises(InputError, match=r"cut\.jsonl\.gz cannot be read: Compressed file ended"):
        read(packed)


def test_languages_of_names() -> None:
    assert of_pair("deu-eng") == ("deu-Latn", "eng-Latn")
    assert of_pair("ace_Latn") == ("ace-Latn",)
    assert of_name("drcd-zh-hant") == ("zho-Hant",)
    assert of_name("jaquad-ja") == ("jpn-Jpan",)
    assert of_name("nfcorpus") == ("und",)
