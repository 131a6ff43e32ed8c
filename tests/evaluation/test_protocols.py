"""Figures and protocols of `me5 eval`, each against something independent of it."""

import json
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from me5 import Embedder, InputError
from me5.evaluation import bm25
from me5.evaluation.encoders.base import Float32, Prompt
from me5.evaluation.encoders.checkpoint import CheckpointEncoder
from me5.evaluation.exact import nearest, rerank, search
from me5.evaluation.metrics import DEPTHS, by_query
from me5.evaluation.protocols import bitext, evaluate, labels, prompts_of, ranking
from me5.evaluation.protocols.pairs import at_best_threshold
from me5.evaluation.readers import read
from me5.evaluation.task import Bitext, Corpus, Reranking, Retrieval, Similarity, Subset
from me5.words import words

SUBSET = Subset("t", "s")


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
    found_all = search(queries, blocks, depth)
    listed = [data.draw(st.lists(st.sampled_from(ids), unique=True, min_size=1)) for _ in queries]
    reranked = rerank(queries, listed, blocks)
    for at, query in enumerate(queries):
        scores = dict(zip(ids, (documents @ query).tolist(), strict=True))
        expected = sorted(scores, key=lambda name: (scores[name], name), reverse=True)[:depth]
        assert list(found_all[at]) == expected
        assert found_all[at] == {name: scores[name] for name in expected}
        assert reranked[at] == {name: scores[name] for name in listed[at]}


@given(st.data())
@settings(max_examples=30)
def test_nearest_equals_argmax_both_ways(data: st.DataObject) -> None:
    numbers = st.lists(st.integers(-1, 1), min_size=2, max_size=2)
    left, right = (np.array(data.draw(st.lists(numbers, min_size=1, max_size=9)), np.float32) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("me5.nearest._SCORES", data.draw(st.integers(1, 30)))
        forth, back = nearest(left, right)
    scores = left @ right.T
    assert forth.tolist() == scores.argmax(axis=1).tolist()
    assert back.tolist() == scores.argmax(axis=0).tolist()


def test_mixed_dimensions_are_an_error() -> None:
    with pytest.raises(InputError, match="4 dimensions and documents of 3"):
        search(np.ones((2, 4), np.float32), [(["d"], np.ones((1, 3), np.float32))], 10)


grades = st.dictionaries(st.sampled_from([f"d{n}" for n in range(12)]), st.integers(0, 3), min_size=1)
rankings = st.dictionaries(st.sampled_from([f"d{n}" for n in range(12)]), st.sampled_from([0.1, 0.2, 0.3]), min_size=1)


@given(relevant=st.lists(grades, min_size=1, max_size=4), found=st.lists(rankings, min_size=4, max_size=4))
@settings(max_examples=60)
def test_figures_equal_trec_eval(relevant: list[dict[str, int]], found: list[dict[str, float]]) -> None:
    """Random and tied rankings, at every depth; a query without a relevant document counts as zero in both."""
    qrels = {f"q{at}": judged for at, judged in enumerate(relevant)}
    run = {f"q{at}": found[at] for at in range(len(relevant))}
    figures = by_query(qrels, run)
    theirs = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
    depths = ",".join(map(str, DEPTHS))
    oracle = pytrec_eval.RelevanceEvaluator(qrels, {f"{name}.{depths}" for name in theirs.values()} | {"recip_rank"})
    for query, expected in oracle.evaluate(run).items():
        for ours, name in theirs.items():
            for depth in DEPTHS:
                assert figures[f"{ours}_at_{depth}"][query] == pytest.approx(expected[f"{name}_{depth}"], abs=1e-9)
        assert figures["mrr_at_100"][query] == pytest.approx(expected["recip_rank"], abs=1e-9)


def test_ndcg_by_hand_and_a_query_that_found_nothing() -> None:
    run = {"q": {"x": 3.0, "a": 2.0, "b": 1.0}}
    figures = by_query({"q": {"a": 2, "b": 1}, "lost": {"a": 1}}, run)
    gained, ideal = 2 / np.log2(3) + 1 / np.log2(4), 2 / np.log2(2) + 1 / np.log2(3)
    assert figures["ndcg_at_10"] == {"q": pytest.approx(gained / ideal), "lost": 0.0}


def test_bitext_figures_by_hand() -> None:
    """Rows 0 and 2 both choose row 0: two of three right, and F1 lower, for row 0 has a false friend."""
    left = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0, 0.1]], np.float32)
    task = Bitext(SUBSET, ["a", "b", "c"], ["A", "B", "C"])
    outcome = bitext.outcome(task, left, np.eye(3, dtype=np.float32))
    assert outcome.scores["accuracy"] == pytest.approx(2 / 3)
    assert outcome.scores["f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert outcome.scores["accuracy_both"] == pytest.approx((2 / 3 + 1) / 2)
    (failure,) = outcome.shown["failures"]
    assert (failure["asked"], failure["found"][0]["text"], failure["wanted"][0]["text"]) == ("c", "A", "C")


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.integers(0, 2**31))
@settings(max_examples=40)
def test_f1_is_the_mean_of_its_samples_also_where_answers_recur(gold: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (rng.standard_normal((size, 3)).astype(np.float32) for size in (len(gold), 6))
    outcome = bitext.outcome(Bitext(SUBSET, ["x"] * len(gold), ["y"] * 6, gold), left, right)
    expected = f1_score(gold, (left @ right.T).argmax(axis=1), average="weighted", zero_division=0)
    assert outcome.score == pytest.approx(expected)
    assert np.mean(list(outcome.samples.values())) == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers(0, 1)), min_size=2, max_size=12))
@settings(max_examples=60)
def test_best_threshold_equals_trying_every_one(rows: list[tuple[float, int]]) -> None:
    """Thresholds lie between two different scores."""
    values, truth = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if truth.sum() == 0:
        return
    found = at_best_threshold(values, truth)
    kinds = np.unique(values)
    tried = [(values > (low + high) / 2).astype(int) for low, high in pairwise(kinds)]
    assert found["accuracy"] == pytest.approx(max([float((one == truth).mean()) for one in tried], default=0.0))
    assert found["f1"] == pytest.approx(max([f1_score(truth, one, zero_division=0) for one in tried], default=0.0))


def test_similarity_of_the_bundled_model_is_scipys_own(
    sets: Path, embedder: Embedder, encoder: CheckpointEncoder
) -> None:
    from scipy.stats import spearmanr

    (task,) = read(sets / "sts")
    assert isinstance(task, Similarity)
    cosines = np.diag(embedder.similarity(embedder.encode(task.left), embedder.encode(task.right)))
    assert evaluate(task, encoder).score == pytest.approx(spearmanr(cosines, task.scores)[0])


def test_retrieval_uses_the_models_prompts(sets: Path, embedder: Embedder, encoder: CheckpointEncoder) -> None:
    (task,) = read(sets / "retrieval")
    assert isinstance(task, Retrieval)
    outcome = evaluate(task, encoder)
    documents = dict(task.documents)
    cosines = embedder.similarity(
        embedder.encode_query(task.queries.values()), embedder.encode_document(documents.values())
    )
    run = {
        query: dict(zip(documents, row.tolist(), strict=True)) for query, row in zip(task.queries, cosines, strict=True)
    }
    expected = pytrec_eval.RelevanceEvaluator(dict(task.relevant), {"ndcg_cut.10"}).evaluate(run)
    assert outcome.samples == {query: pytest.approx(row["ndcg_cut_10"]) for query, row in expected.items()}
    said = [prompt.text for prompt in prompts_of(task, encoder)]
    assert said == [embedder.prompts.prefix("query", "web-search"), ""]


def test_a_model_with_fixed_prompts_is_given_no_task(xlmr: Path) -> None:
    encoder = CheckpointEncoder(Embedder.load(xlmr, prompts="prefix"))
    assert (encoder.prompt("query", "web-search").text, encoder.prompt("both", "sts").task) == ("query: ", None)


def test_clustering_draws_four_per_cent_of_large_sets_only() -> None:
    assert len(labels.drawn(100)) == 100
    assert len(labels.drawn(40_000)) == 2048
    assert len(labels.drawn(100_000)) == 4000
    assert len(set(labels.drawn(100_000))) == 4000


def test_bm25_finds_what_shares_words(sets: Path) -> None:
    (task,) = read(sets / "retrieval")
    assert isinstance(task, Retrieval)
    outcome = bm25.evaluate(task)
    assert outcome.score == 1.0
    assert "histogram" not in outcome.shown
    wordless = Corpus.of({name: "…!" for name, _ in task.documents})
    assert bm25.evaluate(replace(task, documents=wordless)).score == 0.0


def test_bm25_scores_are_those_of_the_library(sets: Path) -> None:
    import bm25s

    (task,) = read(sets / "retrieval")
    assert isinstance(task, Retrieval)
    ids, texts = zip(*task.documents, strict=True)
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index([words(text) for text in texts], show_progress=False)
    asked = words(task.queries["q2"])
    expected = dict(zip(ids, index.get_scores(asked).tolist(), strict=True))
    wanted = bm25.evaluate(task).shown["failures"]
    assert not wanted
    candidates = {query: list(ids) for query in task.queries}
    reranking = Reranking(task.subset, task.documents, task.queries, task.relevant, candidates)
    outcome = bm25.evaluate(replace(reranking, relevant={**task.relevant, "q2": {"berlin": 1}}))
    (failure,) = outcome.shown["failures"]
    found = {one["text"]: one["score"] for one in failure["found"]}
    assert found[texts[1]] == pytest.approx(expected["bread"], abs=1e-4)


class Counting:
    """An encoder of made-up vectors that remembers the most texts it was given at once."""

    name, fingerprint = "counting", "0"

    def __init__(self, dim: int = 16) -> None:
        self.dim, self.most = dim, 0

    def prompt(self, side: str, task: str) -> Prompt:
        return Prompt(side, None, "")  # type: ignore[arg-type]

    def embed(self, texts: list[str], prompt: Prompt, advance: object = None) -> Float32:
        self.most = max(self.most, len(texts))
        vectors = np.array([np.frombuffer(text[:64].encode(), np.uint8)[-self.dim :] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_corpus_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the documents take no more memory but for what every id costs."""
    monkeypatch.setattr(ranking, "BLOCK_DOCUMENTS", 200)

    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        (folder / "qrels").mkdir(parents=True)
        with (folder / "corpus.jsonl").open("w") as file:
            for at in range(count):
                file.write(json.dumps({"_id": str(at), "text": f"{at:064} " + "some words " * 400}) + "\n")
        (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": f"{7:064}"}) + "\n")
        (folder / "qrels" / "test.tsv").write_text("q\t7\t1\n")
        encoder = Counting()
        tracemalloc.start()
        try:
            (task,) = read(folder)
            outcome = evaluate(task, encoder)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert encoder.most == 200
        assert outcome.score == 1.0
        return most

    small, large = peak(500), peak(5000)  # 2 and 22 MB of text
    assert large < small + 5000 * 200
    assert large < 5_000_000
