"""Judgements that lead nowhere or contradict each other are counted and said, as mteb judges them; names of models."""

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_sets import make_sets
from typer.testing import CliRunner

from me5 import InputError
from me5.cli import app
from me5.errors import Me5Warning
from me5.evaluation.readers import read
from me5.evaluation.run import judge
from me5.evaluation.task import Retrieval


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_sets(tmp_path) / "retrieval" / "small"


def judgements(small: Path, *rows: str) -> Retrieval:
    (small / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{row}\n" for row in rows))
    (task,) = read(small)
    assert isinstance(task, Retrieval)
    return task


def test_a_judged_document_that_is_not_there_counts_and_is_told(small, encoder) -> None:
    with pytest.warns(
        Me5Warning,
        match=r"test\.tsv: 2 judgements of documents that are not in corpus\.jsonl, counted although they "
        r"cannot be found, as in mteb \(the first: .*test\.tsv, line 3: the document 'gone'\)",
    ) as told:
        task = judgements(small, "q1\tk2\t1", "q1\tgone\t1", "q2\tlost\t1")
    assert len(told) == 1
    assert task.relevant["q1"] == {"k2": 1, "gone": 1}
    (result,) = judge([task], encoder, yardstick=False)
    # Of q1 one of two is found first: 1 / (1 + 1 / log2(3)). Of q2 nothing can be.
    assert result.outcome.samples["q1"] == pytest.approx(1 / (1 + 1 / np.log2(3)), abs=1e-4)
    assert result.outcome.samples["q2"] == 0
    assert "(not in the corpus)" in json.dumps(result.outcome.shown)


def test_judgements_of_unknown_queries_are_left_out_and_counted(small) -> None:
    with pytest.warns(
        Me5Warning, match=r"1 judgement of queries that are not among the queries, left out.* line 3: the query 'q9'"
    ):
        task = judgements(small, "q1\tk2\t1", "q9\tk2\t1")
    assert list(task.relevant) == ["q1"]


def test_of_contradicting_judgements_the_last_counts_and_it_is_said(small) -> None:
    with pytest.warns(
        Me5Warning, match=r"1 judgement contradicting an earlier one .*line 3: 'q1' and 'k2', 1 and then 0"
    ):
        task = judgements(small, "q1\tk2\t1", "q1\tk2\t0", "q1\ttea\t1", "q1\ttea\t1")
    assert task.relevant["q1"] == {"k2": 0, "tea": 1}


def test_a_list_to_rank_with_a_document_that_is_not_there_is_an_error(small) -> None:
    lists = [{"query-id": query, "corpus-ids": ["k2", "gone"]} for query in ("q1", "q2", "q3")]
    (small / "top_ranked.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lists))
    with pytest.raises(InputError, match="the documents to rank for the query 'q1': the document 'gone' is not in"):
        read(small)


def test_two_models_share_a_folder_of_results_under_names_of_their_own(tmp_path, bundled) -> None:
    (tmp_path / "sts.tsv").write_text("5\ta cat\ta cat\n1\ta cat\tthe sea\n3\ta cat\ta dog\n")
    out = tmp_path / "results"
    for run, name in (("first", []), ("second", []), ("second", ["--name", "mine"])):
        (tmp_path / run).mkdir(exist_ok=True)
        (tmp_path / run / "run.json").write_text("{}")
        model = tmp_path / run / "model"
        if not model.exists():
            model.symlink_to(bundled)
        arguments = [str(tmp_path / "sts.tsv"), "-o", str(out), "--model", str(model), "--precision", "f32", *name]
        shown = CliRunner().invoke(app, ["eval", "run", *arguments, "--quiet"], catch_exceptions=False)
        assert shown.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["first (f32)", "mine", "second (f32)"]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "BM25", "a\nb"])
def test_what_is_no_name_is_refused(encoder, name) -> None:
    with pytest.raises(InputError, match="a model cannot be called"):
        list(judge([], encoder, name=name))
