"""Readers: each format as its users write it, with the traps that each is known for."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5.data.contract import Document, Example, Query, Relation
from me5.data.readers import group, read
from me5.data.readers.reading import Options, Reading
from me5.data.writing import write_dataset
from me5.errors import InputError


def jsonl(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(text)
    else:
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def table(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def relations(*paths, form=None, **options):
    """(query, document, kind, source, label, score) of all that is read; documents that stand alone as (None, text)."""
    reading = Reading(Options(**options))
    texts, told = {}, []
    for item in read(group(paths, form), reading):
        if isinstance(item, Document | Query):
            texts[item.id] = item.text
        elif isinstance(item, Relation):
            told.append(
                (texts[item.query_id], texts[item.document_id], item.kind, item.source, item.label, item.teacher_score)
            )
        else:
            assert isinstance(item, Example)
            told.append((item.query.text, item.document.text, item.kind, item.source, item.label, item.teacher_score))
    relations.texts = set(texts.values())
    relations.reading = reading
    return told


def items(*paths, form=None, **options):
    return list(read(group(paths, form), Reading(Options(**options))))


FLAG = {"query": "tea?", "pos": ["A drink."], "neg": ["Bread.", "A car."]}


def test_flagembedding(tmp_path):
    row = {**FLAG, "pos_scores": [0.9], "neg_scores": [0.1, -2], "prompt": "Find it", "type": "normal"}
    found = relations(jsonl(tmp_path / "fe.jsonl", row), teacher="reranker")
    assert found == [
        ("tea?", "A drink.", "positive", "fe", None, 0.9),
        ("tea?", "Bread.", "negative", "fe", None, 0.1),
        ("tea?", "A car.", "negative", "fe", None, -2),
    ]
    (example, *_) = items(tmp_path / "fe.jsonl", teacher="reranker", licence="MIT", query_lang="en")
    assert (example.query.instruction, example.query.lang, example.licence) == ("Find it", "en", "MIT")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**FLAG, "pos": "A drink."}, r'line 2: expected a list \'pos\', got str .*; write \["A drink'),
        ({**FLAG, "pos": []}, "line 2: 'pos' is an empty list"),
        ({**FLAG, "neg": ["Bread.", None]}, "line 2: the text of a document is None, expected a string"),
        ({**FLAG, "pos": [["A drink."]]}, "line 2: the text of a document is list"),
        ({**FLAG, "neg": [" "]}, "line 2: the text of a document is empty; .*--skip-empty"),
        ({**FLAG, "neg_scores": [1]}, "line 2: expected 2 scores"),
        ({**FLAG, "pos_scores": [1]}, "line 2: the documents have scores; .*--teacher"),
        ({**FLAG, "pos_scores": [float("nan")]}, "line 2: expected numbers as scores, got nan"),
        ({**FLAG, "type": "symmetric_class"}, "line 2: the type symmetric_class asks .*--in-batch"),
        ({**FLAG, "type": "odd"}, "line 2: unknown type 'odd'"),
    ],
)
def test_flagembedding_refuses_with_file_and_line(tmp_path, row, said):
    path = jsonl(tmp_path / "fe.jsonl", FLAG, row)
    with pytest.raises(InputError, match=f"fe.jsonl, {said}"):
        relations(path)


@pytest.mark.parametrize("label", ["nan", "inf", "1" + "0" * 400])
def test_a_label_that_is_not_finite_is_named_with_its_line(tmp_path, label):
    path = tmp_path / "sts.csv"
    path.write_text(f"sentence1,sentence2,score\na,b,0.9\nc,d,{label}\n", "utf-8")
    with pytest.raises(InputError, match=r"sts\.csv, line 3: expected a finite number as label"):
        relations(path, positive_from=0.5)
    with pytest.raises(InputError, match="positive_from must be a number, got nan"):
        relations(path, positive_from=float("nan"))


def test_files_and_types_without_in_batch_negatives_are_read_only_when_allowed(tmp_path):
    path = jsonl(tmp_path / "fe_no_in_batch_neg.jsonl", {**FLAG, "type": "symmetric_clustering"})
    with pytest.raises(InputError, match="without in-batch negatives, by its name"):
        relations(path)
    assert len(relations(path, in_batch=True)) == 3


def test_empty_texts_are_left_out_when_asked_and_counted(tmp_path):
    path = jsonl(tmp_path / "fe.jsonl", {**FLAG, "neg": ["", "Bread."]}, {**FLAG, "query": " "})
    assert [row[1] for row in relations(path, skip_empty=True)] == ["A drink.", "Bread."]
    assert relations.reading.counts["empty"] == 2


def test_tevatron_with_passages_in_the_row(tmp_path):
    row = {
        "query_id": "1", "query": "tea?", "answers": ["drink"],
        "positive_passages": [{"docid": "7", "title": "Tea", "text": "A drink.", "score": 3.5}],
        "negative_passages": [{"docid": "8", "title": "", "text": "Bread.", "score": 1}],
    }  # fmt: skip
    (positive, negative) = items(jsonl(tmp_path / "t.jsonl.gz", row), teacher="ce")
    assert positive.document == Document("A drink.", "Tea")
    assert (positive.teacher_score, positive.teacher, negative.kind) == (3.5, "ce", "negative")


def test_tevatron_with_ids_into_a_corpus(tmp_path):
    corpus = jsonl(
        tmp_path / "corpus.jsonl.zst", {"docid": 7, "text": "A drink.", "image": None},
        {"docid": 8, "text": "Bread."}, {"docid": 9, "text": "Alone."},
    )  # fmt: skip
    row = {"query_id": 1, "query_text": "tea?", "query_image": None, "positive_document_ids": [7]}
    path = jsonl(tmp_path / "train.jsonl", {**row, "negative_document_ids": ["8"]})
    found = relations(path, corpus)
    assert [one[:4] for one in found] == [
        ("tea?", "A drink.", "positive", "train"), ("tea?", "Bread.", "negative", "train"),
    ]  # fmt: skip
    assert "Alone." in relations.texts
    jsonl(path, row, {**row, "positive_document_ids": [10]})
    with pytest.raises(InputError, match=r"train.jsonl, line 2: the document '10' is not among the 3"):
        relations(path, corpus)


def test_tokens_and_images_are_refused(tmp_path):
    tokens = jsonl(tmp_path / "ids.jsonl", {"query": [1, 2], "positives": [[3]], "negatives": [[4]]})
    with pytest.raises(InputError, match=r"ids.jsonl, line 1: token ids instead of texts"):
        relations(tokens)
    image = jsonl(tmp_path / "i.jsonl", {"query_text": "a", "query_image": "x.png", "positive_document_ids": []})
    with pytest.raises(InputError, match="query_image"):
        relations(image)


def beir(folder, *qrels, corpus=()):
    jsonl(
        folder / "corpus.jsonl", {"_id": "d1", "title": "Tea", "text": "A drink."}, {"_id": "d2", "text": "Bread."},
        {"_id": "d3", "title": "Only a title", "text": ""}, *corpus,
    )  # fmt: skip
    jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "tea?"}, {"_id": "q2", "text": "of the test split"})
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "train.tsv").write_text("\n".join(("query-id\tcorpus-id\tscore", *qrels)) + "\n")
    return folder


def test_beir(tmp_path):
    found = relations(beir(tmp_path / "tea", "q1\td1\t2", "q1\td2\t0", "q1\td3\t1"), query_lang="en")
    assert found == [
        ("tea?", "A drink.", "positive", "tea", 2, None),
        ("tea?", "Bread.", "negative", "tea", 0, None),
        ("tea?", "Only a title", "positive", "tea", 1, None),
    ]
    assert "of the test split" not in relations.texts


def test_a_query_that_is_itself_a_document_is_to_be_ignored(tmp_path):
    """As in ArguAna and Quora; an equal id alone says nothing, for MS MARCO numbers both sides from 0."""
    own = ({"_id": "q1", "title": "Of the day", "text": "Tea?"}, {"_id": "q2", "text": "a passage of the same number"})
    folder = beir(tmp_path / "own", "q1\td1\t1", "q2\td2\t1", corpus=own)
    jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "Tea?"}, {"_id": "q2", "text": "bread?"})
    assert [row[:3] for row in relations(folder) if row[2] == "ignore"] == [("Tea?", "Tea?", "ignore")]


@pytest.mark.parametrize(
    ("qrel", "said"),
    [
        ("q1\td9\t1", "train.tsv, line 2: the document 'd9' is not among the 3"),
        ("q9\td1\t1", "train.tsv, line 2: the query 'q9' is not among"),
        ("q1 d1 1", "train.tsv, line 2: expected query-id TAB"),
    ],
)
def test_beir_names_the_judgement_that_leads_nowhere(tmp_path, qrel, said):
    with pytest.raises(InputError, match=said):
        relations(beir(tmp_path / "tea", qrel))


def test_beir_lists_the_splits_that_there_are(tmp_path):
    with pytest.raises(InputError, match=r"test.tsv is missing; name a split .*: train"):
        relations(beir(tmp_path / "tea", "q1\td1\t1"), split="test")


def test_sentence_transformers_counts_columns_in_order(tmp_path):
    columns = {"anchor": ["a", "b"], "positive": ["c", "d"], "negative_1": ["e", "f"], "negative_2": ["g", "h"]}
    path = table(tmp_path / "nli.parquet", **columns)
    assert [row[:3] for row in relations(path)][:3] == [
        ("a", "c", "positive"), ("a", "e", "negative"), ("a", "g", "negative"),
    ]  # fmt: skip
    other = table(tmp_path / "odd.parquet", x=["a"], y=["c"], number=[3])
    with pytest.raises(InputError, match="no known format has the columns x, y, number"):
        relations(other)
    with pytest.raises(InputError, match=r"odd.parquet, row 0 .*: the column 'number' holds int .*--columns x,y"):
        relations(other, form="sentence-transformers")
    assert relations(other, form="sentence-transformers", columns=("y", "x"))[0][:2] == ("c", "a")


def test_labels_of_pairs(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text('sentence1,sentence2,label\n"a, b",c,1\nd,"e\nf",0\n')
    assert [row[:5] for row in relations(pairs)] == [
        ("a, b", "c", "positive", "pairs", 1), ("d", "e\nf", "negative", "pairs", 0),
    ]  # fmt: skip
    scored = jsonl(tmp_path / "sts.jsonl", {"sentence1": "a", "sentence2": "b", "score": 4.5})
    with pytest.raises(InputError, match=r"sts.jsonl, line 1: the label 4.5 .*--positive-from"):
        relations(scored)
    assert relations(scored, positive_from=4)[0][2:5] == ("positive", "sts", 4.5)
    assert relations(scored, positive_from=4.6)[0][2:5] == ("negative", "sts", 4.5)


def test_simlm(tmp_path):
    told = ({"id": "0", "contents": "A drink.", "title": "Tea"}, {"id": "1", "contents": "Bread."})
    passages = jsonl(tmp_path / "passages.jsonl.gz", *told)
    row = {
        "query_id": "9", "query": "tea?", "positives": {"doc_id": ["0"], "score": [8.5]},
        "negatives": {"doc_id": ["1"], "score": [-1.5]},
    }  # fmt: skip
    found = relations(passages, jsonl(tmp_path / "train.jsonl", row), teacher="ce")
    assert found == [
        ("tea?", "A drink.", "positive", "train", None, 8.5), ("tea?", "Bread.", "negative", "train", None, -1.5),
    ]  # fmt: skip


def test_nomic_shards(tmp_path):
    folder = tmp_path / "reddit"
    jsonl(folder / "shard-00000.jsonl.gz", {"query": "a", "document": "b"})
    jsonl(folder / "shard-00001.jsonl.gz", {"query": "c", "document": "d", "negatives": ["e"]})
    (folder / "counts.json").write_text("{}")
    assert [row[:4] for row in relations(folder)] == [
        ("a", "b", "positive", "reddit"), ("c", "d", "positive", "reddit"), ("c", "e", "negative", "reddit"),
    ]  # fmt: skip


def test_arctic_with_ids_of_64_bits(tmp_path):
    big = 2**64 - 3
    ids = pa.array([big, 5], pa.uint64())
    table(tmp_path / "a" / "queries.parquet", QUERY_ID=pa.array([big], pa.uint64()), QUERY_TEXT=["tea?"])
    table(tmp_path / "a" / "documents.parquet", DOCUMENT_ID=ids, DOCUMENT_TEXT=["A drink.", "Bread."])
    labels = {"QUERY_ID": pa.array([big, big], pa.uint64()), "DOCUMENT_ID": ids}
    table(tmp_path / "a" / "labels.parquet", **labels, RELEVANCE=pa.array([1, -1], pa.int8()))
    assert [row[:3] for row in relations(tmp_path / "a")] == [
        ("tea?", "A drink.", "positive"), ("tea?", "Bread.", "negative"),
    ]  # fmt: skip


def test_arctic_batches_of_16_bit_tokens_are_refused(tmp_path):
    tokens = pa.array([[1, 65535]], pa.list_(pa.uint16()))
    table(tmp_path / "b" / "batch_00000000" / "queries.parquet", BATCH_QUERY_ID=[1], QUERY_TOKEN_ID_LIST=tokens)
    table(tmp_path / "b" / "batch_00000000" / "relations.parquet", BATCH_QUERY_ID=[1])
    with pytest.raises(InputError, match="batches of token ids"):
        relations(tmp_path / "b")


def test_miracl_and_mr_tydi(tmp_path):
    folder = tmp_path / "miracl"
    for part in ("topics", "qrels"):
        (folder / part).mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / f"topics/topics.miracl-v1.0-sw-{split}.tsv").write_text(f"1#0\tchai ya {split}?\n")
        (folder / f"qrels/qrels.miracl-v1.0-sw-{split}.tsv").write_text("1#0 Q0 7#1 1\n1#0\tQ0\t8#0\t0\n")
    jsonl(
        folder / "miracl-corpus-v1.0-sw" / "docs-0.jsonl.gz", {"docid": "7#1", "title": "Chai", "text": "Kinywaji."},
        {"docid": "8#0", "title": "Mkate", "text": "Chakula."},
    )  # fmt: skip
    assert relations(folder) == [
        ("chai ya train?", "Kinywaji.", "positive", "miracl-v1.0-sw", 1, None),
        ("chai ya train?", "Chakula.", "negative", "miracl-v1.0-sw", 0, None),
    ]
    assert {item.lang for item in items(folder) if isinstance(item, Document | Query)} == {"sw"}
    mr = tmp_path / "mr"
    mr.mkdir()
    (mr / "topics.mrtydi-v1.1-thai.train.txt.gz").write_bytes(gzip.compress("5\tชา?\n".encode()))
    (mr / "qrels.mrtydi-v1.1-thai.train.txt").write_text("5 Q0 1#0 1\n")
    jsonl(mr / "corpus" / "docs.jsonl", {"id": "1#0", "contents": "เครื่องดื่ม"})
    assert relations(mr)[0][:3] == ("ชา?", "เครื่องดื่ม", "positive")
    assert items(mr)[0].lang == "th"


def test_parallel_lines_and_columns(tmp_path):
    for lang, text in (("en", "tea\nbread\n"), ("de", "Tee\nBrot\n")):
        (tmp_path / f"news.{lang}").write_text(text)
    one, _ = items(tmp_path / "news.en", tmp_path / "news.de")
    assert (one.query, one.document, one.source) == (Query("tea", lang="en"), Document("Tee", lang="de"), "news")
    (tmp_path / "news.de").write_text("Tee\n")
    with pytest.raises(InputError, match=r"news.en has a line 2, .*news.de has none"):
        items(tmp_path / "news.en", tmp_path / "news.de")
    (tmp_path / "deu-eng.tsv").write_text('"Tee\ttea\nBrot\tbread\n')
    assert [(item.query.text, item.query.lang, item.document.lang) for item in items(tmp_path / "deu-eng.tsv")] == [
        ('"Tee', "deu", "eng"), ("Brot", "deu", "eng"),
    ]  # fmt: skip
    (tmp_path / "deu-eng.tsv").write_text("Tee\ttea\nBrot\n")
    with pytest.raises(InputError, match=r"deu-eng.tsv, line 2: expected sentence TAB sentence"):
        items(tmp_path / "deu-eng.tsv", form="parallel")


def test_named_columns(tmp_path):
    path = table(
        tmp_path / "in" / "qa.parquet", query=["tea?", "bread?"], positive=["A drink.", "Food."],
        negatives=[["A car."], []],
        query_lang=["en", "en"], positive_lang=["en", "de"], source=["x", "y"], kind=["qa", "qa"],
        task=["Find an answer", ""], licence=["CC0-1.0", "MIT"],
    )  # fmt: skip
    reading = Reading(Options(licence="unused"))
    first, negative, second = read(group([path.parent]), reading)
    assert first == Example(
        Query("tea?", "Find an answer", "en"), Document("A drink.", lang="en"), source="x", licence="CC0-1.0"
    )
    assert (negative.kind, negative.document.text, second.document.lang) == ("negative", "A car.", "de")
    assert list(reading.unread) == ["kind"]
    wrong = jsonl(tmp_path / "w.jsonl", {"query": "a", "positive": "b", "negatives": "c"})
    with pytest.raises(InputError, match=r"w.jsonl, line 1: expected a list 'negatives'"):
        items(wrong)
    listed = jsonl(tmp_path / "w.jsonl", {"query": "a", "positive": ["b"]})
    with pytest.raises(InputError, match=r"w.jsonl, line 1: the text of a document is list"):
        items(listed)


def test_documents_alone_and_datasets_together(tmp_path):
    pool = jsonl(tmp_path / "pool.jsonl", {"text": "To be mined.", "lang": "en"})
    assert items(pool) == [Document("To be mined.", lang="en")]
    write_dataset(tmp_path / "set", items(jsonl(tmp_path / "fe.jsonl", FLAG)), step={})
    both = write_dataset(tmp_path / "both", items(pool, tmp_path / "set"), step={})
    assert dict(both.counts)["documents"] == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"query": "a", "pos": ["b"]}\n{"query": ', "a.jsonl, line 2: invalid JSON"),
        ("a.jsonl", b'{"query": "a", "pos": ["b"]}\n\xff', r"a.jsonl, line 2: byte 1 \(0xff\) is not valid UTF-8"),
        ("a.jsonl", b"[1]\n", r"a.jsonl, line 1: list \(\[1\]\), expected a JSON object"),
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.csv", b"query,positive\na\n", "a.csv, line 2: a row of 1 column, the header has 2"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"query": "a", "pos": ["b"]}\n' * 9999)[:-9],
            "a.jsonl.gz cannot be read: Compressed file ended",
        ),
        ("a.jsonl.zst", b"no zst", "a.jsonl.zst cannot be read: "),
        ("a.parquet", b"no parquet", "a.parquet cannot be read as Parquet"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        items(tmp_path / name)
