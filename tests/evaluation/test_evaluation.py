"""Readers, figures and protocols of `me5 eval`, each against something independent of it."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from me5 import Embedder, InputError
from me5.cli import app
from me5.evaluation import bm25
from me5.evaluation.encoder import CheckpointEncoder
from me5.evaluation.exact import search
from me5.evaluation.metrics import by_query
from me5.evaluation.protocols import bitext_outcome, evaluate
from me5.evaluation.readers import read
from me5.evaluation.results import interval_of
from me5.evaluation.task import Bitext, Classification, Outcome, Retrieval, Similarity


def test_a_folder_of_folders_gives_all_its_tasks_in_order(sets: Path) -> None:
    retrieval, similarity, bitext, topics = read(sets)
    assert isinstance(topics, Classification)
    assert (len(topics.train), len(topics.test)) == (36, 15)
    assert isinstance(retrieval, Retrieval)
    assert isinstance(similarity, Similarity)
    assert isinstance(bitext, Bitext)
    assert (str(retrieval.subset), str(similarity.subset), str(bitext.subset)) == (
        "retrieval/small", "sts/en", "tatoeba/deu-eng",
    )  # fmt: skip
    assert retrieval.documents["k2"] == "K2 K2 rises to 8,611 metres above sea level."
    assert retrieval.documents["bread"].startswith("Bake")
    assert (list(retrieval.queries), retrieval.unjudged) == (["q1", "q2", "q3"], 1)
    assert similarity.scores == [5.0, 1.5, 0.0]
    assert bitext.subset.languages == ("deu", "eng")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("retrieval/small/corpus.jsonl", "", "is empty"),
        ("retrieval/small/corpus.jsonl", "{", "line 1: not JSON"),
        ("retrieval/small/queries.jsonl", '{"_id": "q1", "text": 3}\n', "line 1: the record 'q1' has no string"),
        (
            "retrieval/small/queries.jsonl",
            '{"_id": "a", "text": "x"}\n' * 2,
            "line 2: the id 'a' stands there a second",
        ),
        ("retrieval/small/qrels/test.tsv", "q9\tk2\t1\n", "line 1: the query 'q9' is not in queries.jsonl"),
        ("retrieval/small/qrels/test.tsv", "q1\tk9\t1\n", "line 1: the document 'k9' is not in corpus.jsonl"),
        ("retrieval/small/qrels/test.tsv", "q1\tk2\n", "line 1: expected query-id TAB"),
        ("retrieval/small/qrels/test.tsv", "q1\tk2\t0\n", "judges no document relevant"),
        ("sts/en.tsv", "5\ta\tb\nfive\ta\tb\n", "line 2: the score 'five' is not a number"),
        ("sts/en.tsv", "5\ta\tb\na\tb\n", "line 2: 2 columns where the first line has 3"),
        ("topics/en/test.tsv", "war\tbattle\n", "labels that train.tsv lacks: war"),
        ("tatoeba/deu-eng.tsv", "alone\n", "line 1: 1 columns"),
    ],
)
def test_bad_data_is_an_error_with_its_place(sets: Path, file: str, text: str, said: str) -> None:
    (sets / file).write_text(text, "utf-8")
    with pytest.raises(InputError, match=re.escape(said)):
        read(sets)


def test_missing_judgements_and_bytes_that_are_no_text(sets: Path) -> None:
    (sets / "sts" / "en.tsv").write_bytes(b"1\ta\tb\n2\t\xff\tb\n")
    with pytest.raises(InputError, match=r"en\.tsv, line 2: not UTF-8"):
        read(sets / "sts")
    (sets / "retrieval" / "small" / "qrels" / "test.tsv").unlink()
    with pytest.raises(InputError, match=r"test\.tsv is missing"):
        read(sets)
    with pytest.raises(InputError, match="holds no evaluation data"):
        read(sets / "retrieval" / "small" / "qrels")
    with pytest.raises(InputError, match="does not exist"):
        read(sets / "nowhere")


@given(st.data())
@settings(max_examples=60)
def test_blocked_search_equals_sorting_everything(data: st.DataObject) -> None:
    """Vectors of few values, so that many scores are equal."""
    size, depth = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 45))
    numbers = st.lists(st.integers(-1, 1), min_size=3, max_size=3)
    documents = np.array([data.draw(numbers) for _ in range(size)], np.float32)
    queries = np.array([data.draw(numbers) for _ in range(3)], np.float32)
    ids = [f"d{number}" for number in range(size)]
    step = data.draw(st.integers(1, 12))
    blocks = [(ids[at : at + step], documents[at : at + step]) for at in range(0, size, step)]
    for query, found in zip(queries, search(queries, blocks, depth), strict=True):
        scores = dict(zip(ids, (documents @ query).tolist(), strict=True))
        expected = sorted(scores, key=lambda name: (scores[name], name), reverse=True)[:depth]
        assert list(found) == expected
        assert found == {name: scores[name] for name in expected}


grades = st.dictionaries(st.sampled_from([f"d{n}" for n in range(12)]), st.integers(0, 3), min_size=1)
ranking = st.dictionaries(st.sampled_from([f"d{n}" for n in range(12)]), st.sampled_from([0.1, 0.2, 0.3]), min_size=1)


@given(relevant=st.lists(grades, min_size=1, max_size=4), found=st.lists(ranking, min_size=4, max_size=4))
@settings(max_examples=60)
def test_figures_equal_trec_eval(relevant: list[dict[str, int]], found: list[dict[str, float]]) -> None:
    """Random and tied rankings; a query without a relevant document counts as zero in both."""
    qrels = {f"q{at}": judged for at, judged in enumerate(relevant)}
    run = {f"q{at}": found[at] for at in range(len(relevant))}
    figures = by_query(qrels, run)
    oracle = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "map_cut.100", "recall.100", "P.5", "recip_rank"})
    for query, expected in oracle.evaluate(run).items():
        assert figures["ndcg_at_10"][query] == pytest.approx(expected["ndcg_cut_10"], abs=1e-9)
        assert figures["map_at_100"][query] == pytest.approx(expected["map_cut_100"], abs=1e-9)
        assert figures["recall_at_100"][query] == pytest.approx(expected["recall_100"], abs=1e-9)
        assert figures["precision_at_5"][query] == pytest.approx(expected["P_5"], abs=1e-9)
        assert figures["mrr_at_100"][query] == pytest.approx(expected["recip_rank"], abs=1e-9)


def test_ndcg_by_hand_and_a_query_that_found_nothing() -> None:
    run = {"q": {"x": 3.0, "a": 2.0, "b": 1.0}}
    figures = by_query({"q": {"a": 2, "b": 1}, "lost": {"a": 1}}, run)
    gained, ideal = 2 / np.log2(3) + 1 / np.log2(4), 2 / np.log2(2) + 1 / np.log2(3)
    assert figures["ndcg_at_10"] == {"q": pytest.approx(gained / ideal), "lost": 0.0}


def test_bitext_figures_by_hand() -> None:
    """Rows 0 and 2 both choose row 0: two of three right, and F1 lower, for row 0 has a false friend."""
    left = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0, 0.1]], np.float32)
    scores = bitext_outcome(left, np.eye(3, dtype=np.float32)).scores
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores["accuracy_both"] == pytest.approx((2 / 3 + 1) / 2)


def test_similarity_of_the_bundled_model_is_scipys_own(sets: Path) -> None:
    from scipy.stats import spearmanr

    embedder = Embedder.load(precision="f32")
    task = next(task for task in read(sets) if isinstance(task, Similarity))
    cosines = np.diag(embedder.similarity(embedder.encode(task.left), embedder.encode(task.right)))
    outcome = evaluate(task, CheckpointEncoder(embedder))
    assert outcome.score == pytest.approx(spearmanr(cosines, task.scores)[0])


def test_retrieval_uses_the_models_prompts(sets: Path) -> None:
    embedder = Embedder.load(precision="f32")
    (task,) = read(sets / "retrieval")
    assert isinstance(task, Retrieval)
    outcome = evaluate(task, CheckpointEncoder(embedder))
    cosines = embedder.similarity(
        embedder.encode_query(task.queries.values()), embedder.encode_document(task.documents.values())
    )
    run = {
        query: dict(zip(task.documents, row.tolist(), strict=True))
        for query, row in zip(task.queries, cosines, strict=True)
    }
    expected = pytrec_eval.RelevanceEvaluator(dict(task.relevant), {"ndcg_cut.10"}).evaluate(run)
    assert outcome.samples == {query: pytest.approx(row["ndcg_cut_10"]) for query, row in expected.items()}


def test_a_model_with_fixed_prompts_is_given_no_task(xlmr: Path) -> None:
    encoder = CheckpointEncoder(Embedder.load(xlmr, prompts="prefix"))
    assert (encoder.prompt("query", "web-search").text, encoder.prompt("both", "sts").task) == ("query: ", None)


def test_bm25_reads_words_of_every_script() -> None:
    assert bm25.tokenize("Straße, CAFÉ") == ["strasse", "café"]
    assert bm25.tokenize("हिन्दी में") == ["हिन्दी", "में"]
    assert bm25.tokenize("绿茶8度 tea") == ["绿茶", "8", "度", "tea"]
    assert bm25.tokenize("東京都") == ["東京", "京都"]
    assert bm25.tokenize("ไทย") == ["ไท", "ทย"]


def test_bm25_finds_what_shares_words(sets: Path) -> None:
    (task,) = read(sets / "retrieval")
    assert isinstance(task, Retrieval)
    assert bm25.evaluate(task).score == 1.0


def test_interval_holds_the_mean_and_narrows_with_examples() -> None:
    values = np.random.default_rng(3).random(400)

    def width(count: int) -> float:
        samples = {str(at): float(value) for at, value in enumerate(values[:count])}
        low, high = interval_of(Outcome({"m": 0.0}, "m", samples)) or (0, 0)
        assert low < values[:count].mean() < high
        return high - low

    assert width(400) < width(20)
    assert interval_of(Outcome({"m": 1.0}, "m")) is None


def run(*arguments: str) -> str:
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, ["eval", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command_prints_and_writes(sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    shown = run(str(sets), "--bm25", "--out", str(out), "--precision", "f32")
    assert "retrieval/small" in shown
    assert "1 queries have no relevant document" in shown
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.json"))
    assert found == [
        "BM25/retrieval.json",
        *(f"me5-mini (f32)/{name}.json" for name in ("retrieval", "sts", "tatoeba", "topics")),
    ]
    told = json.loads((out / "me5-mini (f32)" / "retrieval.json").read_text("utf-8"))
    assert told["scores"]["test"][0]["hf_subset"] == "small"
    assert told["scores"]["test"][0]["main_score"] == told["scores"]["test"][0]["ndcg_at_10"]
    query, document = told["me5"]["prompts"]
    assert query["text"].startswith("Instruct: Given a web search query")
    assert document["text"] == ""


def test_command_as_json(sets: Path) -> None:
    told = json.loads(run(str(sets / "sts"), "--json", "--precision", "f32"))
    assert [entry["task_name"] for entry in told] == ["sts"]


def test_bm25_of_documents_without_words_finds_nothing(sets: Path) -> None:
    (task,) = read(sets / "retrieval")
    assert isinstance(task, Retrieval)
    assert bm25.evaluate(replace(task, documents=dict.fromkeys(task.documents, "…!"))).score == 0.0


def test_results_of_two_runs_stand_in_one_file(sets: Path, tmp_path: Path) -> None:
    other, out = sets / "tatoeba" / "fra-eng.tsv", tmp_path / "out"
    other.write_text("Bonjour.\tHello.\n", "utf-8")
    for name in ("deu", "fra", "deu"):
        run(str(sets / "tatoeba" / f"{name}-eng.tsv"), "--out", str(out), "--precision", "f32")
    (path,) = out.rglob("*.json")
    told = json.loads(path.read_text("utf-8"))
    assert sorted(entry["hf_subset"] for entry in told["scores"]["test"]) == ["deu-eng", "fra-eng"]
    assert told["evaluation_time"] == pytest.approx(sum(told["me5"]["seconds"].values()))
    assert list(path.parent.iterdir()) == [path]
    result = CliRunner().invoke(app, ["eval", str(other), "--out", str(out), "--precision", "f32", "--task", "sts"])
    assert isinstance(result.exception, InputError)
    assert "other prompts" in str(result.exception)
    assert json.loads(path.read_text("utf-8")) == told
