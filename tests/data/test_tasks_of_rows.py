"""A task has one meaning everywhere: a name in training data stands for the sentence that it is at inference."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from me5 import TASKS, InputError
from me5.cli import app
from me5.data.contract import Query
from me5.data.dataset import Dataset
from me5.prompts import INSTRUCT, task_sentence

SENTENCE = "Find what answers the question"
CHINESE = "为这个句子生成表示以用于检索相关文章"


def read(folder: Path, *rows: dict[str, object], options: tuple[str, ...] = ()) -> list[str]:
    """The instructions of the queries that rows become."""
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    arguments = ["data", "read", str(folder / "rows.jsonl"), "--out", str(folder / "out"), "--quiet", *options]
    ended = CliRunner().invoke(app, arguments)
    if ended.exception is not None:
        raise ended.exception
    queries = Dataset.open(folder / "out").queries()
    return [query.instruction for query in queries if isinstance(query, Query)]


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("web-search", TASKS["web-search"]), ("NFCorpus", task_sentence("nfcorpus")), (SENTENCE, SENTENCE),
        (CHINESE, CHINESE), ("", ""), (None, ""), ("  ", "  "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["task", "instruction"])
def test_a_column_means_what_a_task_means_at_inference(tmp_path, column, told, meant) -> None:
    row = {"query": "what is tea?", "positive": "Tea is a drink.", column: told}
    assert read(tmp_path, row) == [meant]
    if told and told.strip():
        assert INSTRUCT.prefix("query", told) == INSTRUCT.prefix("query", meant)


def test_other_formats_and_the_option_mean_the_same(tmp_path) -> None:
    row = {"query": "what is tea?", "pos": ["Tea is a drink."], "neg": ["Bread is food."]}
    assert read(tmp_path, {**row, "prompt": "fact-check"}) == [TASKS["fact-check"]]
    (tmp_path / "more").mkdir()
    assert read(tmp_path / "more", row, options=("--instruction", "bitext")) == [TASKS["bitext"]]


def test_a_word_that_is_no_name_is_an_error_with_its_place(tmp_path) -> None:
    rows = [{"query": f"q{at}", "positive": "a", "task": task} for at, task in enumerate(["web-search", "Summarize"])]
    with pytest.raises(
        InputError, match=r"rows.jsonl, line 2: unknown task 'Summarize'; did you mean summarization\? "
    ):
        read(tmp_path, *rows)
    assert not (tmp_path / "out").exists()
