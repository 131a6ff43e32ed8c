"""Abstention, and the figures of a calibration beside those of raw cosines."""

import numpy as np
import pytest
from checkpoints import SENTENCES

from me5.calibration.applied import Calibration
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Curve
from me5.evaluation.abstention import confidences, gain, gains
from me5.evaluation.encoders import CheckpointEncoder, calibration_of
from me5.evaluation.protocols import evaluate
from me5.evaluation.report.page import as_html
from me5.evaluation.report.table import as_markdown
from me5.evaluation.run import judge
from me5.evaluation.task import Corpus, Retrieval, Subset


def test_abstaining_by_the_figure_itself_gains_all_and_by_its_opposite_costs():
    rng = np.random.default_rng(0)
    figure = rng.random(200)
    assert gain(figure, figure) == pytest.approx(1)
    assert gain(-figure, figure) < -0.5
    assert abs(np.mean([gain(rng.random(200), figure) for _ in range(50)])) < 0.1
    assert gain(np.zeros(200), figure) == pytest.approx(0)
    assert gain(figure, np.ones(200)) is None
    assert gains({"hit": {"a": 1.0, "b": 1.0}}, {"max": np.array([0.1, 0.2])}) == {}


def test_gains_are_those_of_mteb():
    """Also where many are equally sure, and few there are."""
    from mteb._evaluators.retrieval_metrics import nauc

    rng = np.random.default_rng(1)
    for queries in (3, 17, 400):
        for digits in (1, 8):
            confidence, figure = rng.random(queries).round(digits), rng.random(queries).round(1)
            assert gain(confidence, figure) == pytest.approx(nauc(confidence, figure), abs=1e-9)


def test_the_least_sure_are_those_with_low_flat_and_close_scores():
    found = confidences([{"a": 0.9, "b": 0.5, "c": 0.4}, {"a": 0.7}, {}])
    assert found["max"].tolist() == [0.9, 0.7, 0.0]
    assert found["diff1"].tolist() == pytest.approx([0.4, 0.0, 0.0])
    assert found["std"].tolist() == pytest.approx([np.std([0.9, 0.5, 0.4]), 0.0, 0.0])


@pytest.fixture
def calibrated(embedder, monkeypatch):
    """A calibration of the tiny model, with a background."""
    curve = Curve("isotonic", cosines=(-1.0, 1.0), probabilities=(0.001, 0.999))
    vectors = Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim)
    task = "Given a web search query, retrieve relevant passages that answer the query"
    made = Calibration(vectors, Sides.of(embedder.prompts, task), curve, 0.1, 0.1, neighbourhood=0.2)
    monkeypatch.setattr(embedder, "_calibration", made)
    return made


@pytest.fixture
def task(monkeypatch):
    """A set that is large enough for a calibration that measures against the other passages."""
    documents = {f"d{at}": text for at, text in enumerate(SENTENCES[:24])}
    queries = {f"q{at}": text for at, text in enumerate(SENTENCES[:8])}
    relevant = {f"q{at}": {f"d{at}": 1, f"d{at + 9}": 1} for at in range(8)}
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", len(documents))
    return Retrieval(Subset("own", "small"), Corpus.of(documents), queries, relevant)


def test_a_calibration_is_judged_beside_raw_cosines(task, embedder, calibrated, monkeypatch):
    encoder = CheckpointEncoder(embedder)
    assert calibration_of(encoder) is calibrated
    scores = evaluate(task, encoder, calibration=calibrated).scores
    texts = dict(task.documents)
    queries = embedder.encode_query(list(task.queries.values()), task="web-search")
    documents = embedder.encode_document(list(texts.values()))
    errors, briers = [], []
    for place, query in enumerate(task.queries):
        row = queries[place] @ documents.T
        first = np.argsort(-row)[:10]
        after = np.sort(row)[::-1][10:20]
        said = calibrated.curve(row[first] - after.mean() + 0.2)
        right = np.array([task.relevant[query].get(list(texts)[at], 0) > 0 for at in first], float)
        errors += list(zip(said, right, row[first], strict=True))
        briers += ((said - right) ** 2).tolist()
    assert scores["brier"] == pytest.approx(np.mean(briers), abs=1e-4)
    said, right, raw = np.array(errors).T
    for name, values in (("calibration_error", said), ("cosine_error", raw.clip(0, 1))):
        bins = np.minimum((values * 10).astype(int), 9)
        expected = sum(abs((values - right)[bins == at].sum()) for at in range(10)) / len(values)
        assert scores[name] == pytest.approx(expected, abs=1e-3)
    assert -2 < scores.get("nauc_ndcg_at_10_probability", 0) <= 1
    plain = evaluate(task, encoder).scores
    assert set(scores) - set(plain) <= {"calibration_error", "cosine_error", "brier", "nauc_ndcg_at_10_probability"}
    assert {name: scores[name] for name in plain} == plain
    other = evaluate(task, encoder, calibration=calibrated, prompts=[encoder.prompt("query", "Find it here.")] * 2)
    assert "brier" not in other.scores
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", len(texts) + 1)
    assert evaluate(task, encoder, calibration=calibrated).scores == plain


def test_pages_and_tables_show_them(task, embedder, calibrated):
    (result,) = judge([task], CheckpointEncoder(embedder), yardstick=False, calibration=calibrated)
    scores = result.outcome.scores
    page, table = as_html([result], "Title"), as_markdown([result], "Title")
    assert f"{scores['calibration_error']:.3f}" in page
    row = f"| {result.subset.name} | {result.model} | "
    (line,) = [line for line in table.splitlines() if line.startswith(row) and line.count("|") == 9]
    assert f" {scores['cosine_error']:.3f} | {scores['calibration_error']:.3f} " in line
    (plain,) = judge([task], CheckpointEncoder(embedder), yardstick=False)
    assert "calibration error" not in as_markdown([plain], "Title")
    assert "Abstention: " in table
