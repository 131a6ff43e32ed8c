"""`me5 data filter`, `mine` and `score` as they are used."""

import json
import warnings

import checkpoints
import planted
import pytest
from typer.testing import CliRunner

from me5.cli import app
from me5.data.contract import Document
from me5.data.dataset import Dataset
from me5.errors import InputError


def run(*arguments):
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def pairs(tmp_path):
    """Questions and their answers, in many languages, and some passages that nobody asks for."""
    examples = [
        planted.example(question, answer, source="faq")
        for question, answer in zip(checkpoints.SENTENCES[:22:2], checkpoints.SENTENCES[1:22:2], strict=True)
    ]
    return planted.dataset(tmp_path / "pairs", examples, map(Document, checkpoints.passages(8))).folder


def test_from_pairs_to_scored_negatives(tmp_path, pairs):
    model = ("--model", "me5-small", "--precision", "f32")
    shown = run("filter", pairs, "--out", tmp_path / "consistent", "--top", 3, *model)
    assert "top 1" in shown
    assert "faq" in shown
    step = Dataset.open(tmp_path / "consistent").steps[-1]
    assert step["settings"] == {"top": 3, "pool": 1_000_000, "seed": 0}
    assert step["sources"][0]["kept"] >= 6

    mined = tmp_path / "mined"
    told = json.loads(
        run(
            "mine", tmp_path / "consistent", "-o", mined, "-n", 2, "--percent-of-positive", 0, "--check", "me5-small",
            "--json", *model,
        )
    )  # fmt: skip
    assert told["counts"]["negative"] == told["step"]["sources"][0]["negatives"] > 6
    assert told["step"]["check"]["teacher"].startswith("cosine-")
    assert [step["step"] for step in Dataset.open(mined).steps] == ["test", "filter", "mine"]
    again = ("mine", tmp_path / "consistent", "-o", mined, "--job", tmp_path / "mined.job", *model)
    with pytest.raises(InputError, match="exists; replace it"):
        run(*again)
    with pytest.raises(InputError, match="--restart"):
        run(*again, "--overwrite", "--number", 3)
    assert "negatives" in run(*again, "--overwrite", "--number", 3, "--restart")

    shown = run("score", mined, "--out", tmp_path / "scored", "--teacher", "me5-small", "--precision", "f32")
    assert "positives" in shown
    scores = [relation.teacher_score for relation in Dataset.open(tmp_path / "scored").relations()]
    assert len(scores) > 6
    assert None not in scores
