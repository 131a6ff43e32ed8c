"""`recipes/tuning`: what docs/tuning.md shows is what the script runs, and no test story is trained on."""

import csv
import re
import subprocess
import sys

import pytest
from pages import ROOT, blocks
from typer.testing import CliRunner

from me5.cli import app
from me5.data.dataset import Dataset
from me5.evaluation.readers import read

RECIPE = ROOT / "recipes" / "tuning"


@pytest.fixture
def clone(tmp_path):
    """Stories as FairytaleQAData divides them; one file begins with a byte order mark."""
    for part, stories in {"train": ("red-shoes", "Snow-man"), "val": ("a-fish",), "test": ("the-wolf",)}.items():
        for number, story in enumerate(stories):
            encoding = "utf-8-sig" if number else "utf-8"
            sections = [{"section": str(n), "text": f"{story} did thing {n}. And so on."} for n in (1, 2, 3)]
            asked = [
                {"cor_section": "2", "question": f"What did {story} do?"},
                {"cor_section": "1, 3", "question": "Who was it?"},
            ]
            for kind, name, rows in (("section-stories", "story", sections), ("questions", "questions", asked)):
                path = tmp_path / "clone" / "data-by-train-split" / kind / part / f"{story}-{name}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("w", encoding=encoding, newline="") as file:
                    writer = csv.DictWriter(file, rows[0])
                    writer.writeheader()
                    writer.writerows(rows)
    return tmp_path / "clone"


def test_stories_are_divided_by_document(clone, tmp_path):
    out = tmp_path / "out"
    subprocess.run([sys.executable, RECIPE / "stories.py", clone, out], check=True, capture_output=True)
    assert (out / "stories" / "red-shoes.md").read_text("utf-8").startswith("# Red shoes\n\nred-shoes did thing 1.")
    assert len(list((out / "stories").iterdir())) == 4
    (task,) = read(out / "held-out")
    documents = dict(task.documents)
    assert set(documents) == {f"{story}/{n}" for story in ("a-fish", "the-wolf") for n in (1, 2, 3)}
    relevant = {text: set(task.relevant[query]) for query, text in task.queries.items()}
    assert relevant == {"What did the-wolf do?": {"the-wolf/2"}, "Who was it?": {"the-wolf/1", "the-wolf/3"}}
    command = ["data", "read", str(out / "train"), "--out", str(tmp_path / "read"), "--quiet"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    trained = Dataset.open(tmp_path / "read")
    assert {document.title for document in trained.documents()} == {"Red shoes", "Snow man"}
    assert (trained.counts["documents"], trained.counts["queries"], trained.counts["positive"]) == (6, 3, 6)


def test_the_page_shows_what_the_script_runs():
    script = (RECIPE / "run.sh").read_text("utf-8").splitlines()
    page = (ROOT / "docs" / "tuning.md").read_text("utf-8")
    shown = [line for block in blocks("docs/tuning.md", "bash", "no-run") for line in block.code.splitlines()]
    assert len(shown) > 8
    for line in shown:
        if "synthesize" not in line:  # there is no chat model in the script
            assert any(line == one or one.endswith(f"|| {line}") for one in script), line
    (recipe,) = [block.code for block in blocks("docs/tuning.md", "toml")]
    assert recipe.strip() in (RECIPE / "tune.toml").read_text("utf-8")
    assert re.search(r"recipes/tuning/run\.sh", page)
