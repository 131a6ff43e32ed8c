"""Judgements of a BEIR folder that lead nowhere are left out and counted; the others are read."""

from pathlib import Path

from typer.testing import CliRunner

from me5.cli import app
from me5.data.dataset import Dataset


def test_judgements_that_lead_nowhere_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "tea"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d0", "text": "About tea."}\n{"_id": "d1", "text": "About bread."}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "tea?"}\n')
    rows = ["query-id\tcorpus-id\tscore", "q1\td0\t1", "q1\tgone\t1", "q1\td1\t0", "q9\td0\t1"]
    (folder / "qrels" / "train.tsv").write_text("\n".join(rows) + "\n")
    ended = CliRunner().invoke(
        app, ["data", "read", str(folder), "--out", str(tmp_path / "out")], catch_exceptions=False
    )
    dataset = Dataset.open(tmp_path / "out")
    assert (dataset.counts["positive"], dataset.counts["negative"]) == (1, 1)
    assert dataset.steps[-1]["left_out"]["unknown"] == 2
    assert "judgements skipped, because their query or document is missing: 2" in ended.stderr
