"""`recipes/tuning`: what docs/tuning.md shows is what the script runs, and no test article is trained on."""

import json
import re
import subprocess
import sys

import pytest
from pages import ROOT, blocks
from typer.testing import CliRunner

from me5.cli import app
from me5.data.dataset import Dataset
from me5.evaluation.readers import read
from me5.training.recipe import read_recipe

RECIPE = ROOT / "recipes" / "tuning"
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


@pytest.fixture
def clone(tmp_path):
    """Twelve articles of two paragraphs with two questions each in every language, in XQuAD's form."""
    for language in LANGUAGES:
        articles = []
        for number in range(12):
            paragraphs = [
                {
                    "context": f"{language}: article {number}, paragraph {place}. ",
                    "qas": [{"question": f"{language}: {number}.{place}.{n}?"} for n in (0, 1)],
                }
                for place in (0, 1)
            ]
            articles.append({"title": f"Title_{number}", "paragraphs": paragraphs})
        path = tmp_path / "clone" / f"xquad.{language}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"data": articles}), "utf-8")
    return tmp_path / "clone"


def test_articles_are_divided_by_document(clone, tmp_path):
    out = tmp_path / "out"
    subprocess.run([sys.executable, RECIPE / "articles.py", clone, out], check=True, capture_output=True)
    assert len(list((out / "articles").glob("*/*.txt"))) == 12 * 12
    text = (out / "articles" / "de" / "Title_3.txt").read_text("utf-8")
    assert text == "de: article 3, paragraph 0.\n\nde: article 3, paragraph 1.\n"

    (task,) = read(out / "held-out")
    unseen = {3, 5, 7, 11}
    assert {int(name.split("/")[1]) for name, _ in task.documents} == unseen
    assert len(dict(task.documents)) == 4 * 2 * 12
    assert [text.partition(":")[0] for text in task.queries.values()] == list(LANGUAGES)
    for number, text in task.queries.items():
        article, place = re.search(r"(\d+)\.(\d)\.\d\?", text).groups()
        assert int(article) in {3, 7, 11}
        assert task.relevant[number].keys() == {f"{language}/{article}/{place}" for language in LANGUAGES}

    command = ["data", "read", str(out / "train"), "--out", str(tmp_path / "read"), "--quiet"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    trained = Dataset.open(tmp_path / "read")
    read_articles = {int(document.text.split("article ")[1].split(",")[0]) for document in trained.documents()}
    assert read_articles == set(range(12)) - unseen
    assert trained.counts["documents"] == 8 * 2 * 12


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
    assert read_recipe(RECIPE / "tune.toml").model.start == "me5-small"
    assert "recipes/tuning/run.sh" in page
