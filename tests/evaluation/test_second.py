"""A cross-encoder behind a model: the order of both together, against one made by hand."""

import json

import crossencoders
import numpy as np
import pytest
from evaluation_sets import PASSAGES, QUERIES
from typer.testing import CliRunner

from me5 import InputError
from me5.cli import app
from me5.evaluation.protocols import prompts_of
from me5.evaluation.readers import read
from me5.evaluation.run import judge
from me5.evaluation.second import SecondStage
from me5.evaluation.task import Reranking
from me5.reranker import Reranker

TEXTS = {name: f"{title} {text}".strip() for name, (title, text) in PASSAGES.items()}
DEPTH = 3


@pytest.fixture(scope="module")
def reranker(tmp_path_factory) -> Reranker:
    folder = tmp_path_factory.mktemp("second") / "crossencoder"
    return Reranker.load(crossencoders.build(folder, crossencoders.LAYOUTS["xlm-roberta"]), precision="f32")


def test_the_best_are_ordered_anew_and_the_rest_stays(sets, encoder, reranker, tmp_path) -> None:
    tasks = read(sets / "retrieval")
    (task,) = tasks
    stage = SecondStage(reranker, DEPTH)
    (result,) = judge(tasks, encoder, second=stage, yardstick=False, out=tmp_path)
    assert result.model == "me5-small (f32) + crossencoder"
    embedder = encoder.embedder
    sentence = prompts_of(task, encoder)[0].task
    cosines = embedder.similarity(
        embedder.encode_query(list(task.queries.values()), task=sentence), embedder.encode_document([*TEXTS.values()])
    )
    gains, changed = [], 0
    for query, scores in zip(task.queries, cosines, strict=True):
        first = [list(TEXTS)[at] for at in np.argsort(-scores)]
        again = reranker.rank(QUERIES[query], [TEXTS[name] for name in first[:DEPTH]])
        order = [first[one.index] for one in again] + first[DEPTH:]
        changed += order != first
        grades = task.relevant[query]
        ideal = sum(grade / np.log2(place + 2) for place, grade in enumerate(sorted(grades.values(), reverse=True)))
        found = sum(grades.get(name, 0) / np.log2(place + 2) for place, name in enumerate(order))
        gains.append(found / ideal)
    assert changed
    assert result.outcome.score == pytest.approx(float(np.mean(gains)))
    assert "histogram" not in result.outcome.shown  # logits are no cosines
    # The same first stage is not asked again, and another depth does not belong with these results.
    assert list(stage.first) == [task.subset]
    embedded = encoder.embed
    encoder.embed = None
    assert SecondStage(reranker, DEPTH, stage.first).evaluate(task, encoder, ()).score == result.outcome.score
    encoder.embed = embedded
    with pytest.raises(InputError, match="was made with another fingerprint"):
        list(judge(tasks, encoder, second=SecondStage(reranker, 2), yardstick=False, out=tmp_path))


def test_candidates_are_ordered_too_and_other_sets_refused(sets, encoder, reranker) -> None:
    (task,) = read(sets / "retrieval")
    candidates = {query: ["bread", "tea", "k2"] for query in task.queries}
    listed = Reranking(task.subset, task.documents, task.queries, task.relevant, candidates)
    (result,) = judge([listed], encoder, second=SecondStage(reranker), yardstick=False)
    precisions = []
    for query, text in task.queries.items():
        order = [candidates[query][one.index] for one in reranker.rank(text, [TEXTS[at] for at in candidates[query]])]
        right = [place for place, name in enumerate(order, 1) if task.relevant[query].get(name, 0) > 0]
        precisions.append(np.mean([(at + 1) / place for at, place in enumerate(right)]))
    assert result.outcome.score == pytest.approx(float(np.mean(precisions)))
    with pytest.raises(InputError, match="is a set for STS, and a cross-encoder orders documents"):
        list(judge(read(sets / "sts"), encoder, second=SecondStage(reranker)))


def test_the_command(sets, reranker, tmp_path) -> None:
    model = str(reranker.checkpoint.path)
    command = ["eval", "run", str(sets / "retrieval"), "--precision", "f32", "--no-bm25", "--json"]
    told = CliRunner().invoke(app, [*command, "--rerank", model, "--depth", "3"], catch_exceptions=False)
    (entry,) = json.loads(told.stdout)
    assert entry["me5"]["model"] == "me5-small (f32) + crossencoder"
    assert entry["me5"]["fingerprint"].endswith("-3")
    assert "how many documents --rerank orders" in CliRunner().invoke(app, [*command, "--depth", "3"]).output
