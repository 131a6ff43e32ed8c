"""`me5 data synthesize` as it is used, and what reads its result."""

import json
import random
import re
import warnings
from dataclasses import replace
from itertools import count

import pytest
from chatserver import prompt_of, sentence, well
from checkpoints import E5_PROMPTS, XLMR
from pages import ROOT
from typer.testing import CliRunner

from me5.cli import app
from me5.data.checking import check
from me5.data.contract import Document, Example, Query
from me5.data.dataset import Dataset
from me5.data.writing import write_dataset
from me5.errors import InputError
from me5.synthesis.kinds import KINDS
from me5.training.recipe import read_recipe


def call(*arguments, quiet=True):
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, ["data", "synthesize", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="session")
def judge(build_folder):
    """A tiny model that says which prompts it wants."""
    return build_folder(replace(XLMR, prompts=E5_PROMPTS))


@pytest.fixture
def handbook(tmp_path):
    """Files of several kinds, one of them damaged, one that nothing here reads."""
    folder = tmp_path / "handbook"
    folder.mkdir()
    draw = random.Random(1)
    for number in range(3):
        text = "\n\n".join(" ".join(sentence(draw) for _ in range(4)) for _ in range(2))
        (folder / f"{number}.md").write_text(f"# Chapter {number}\n\n{text}\n", encoding="utf-8")
    (folder / "notes.txt").write_text(" ".join(sentence(draw) for _ in range(5)), encoding="utf-8")
    (folder / "broken.docx").write_bytes(b"PK not a document")
    (folder / "plan.dwg").write_bytes(b"AC1027")
    return folder


def test_from_documents_to_questions(handbook, chat, tmp_path, judge, monkeypatch):
    monkeypatch.setenv("CHAT_KEY", "from the environment")
    out = tmp_path / "questions"
    options = (
        "--from-documents", handbook, "--endpoint", chat.address, "--model", "stand-in", "-o", out, "--judge", judge,
        "--key-variable", "CHAT_KEY", "--top", 100, "--price-in", 1, "--price-out", 2, "--languages", "en",
    )  # fmt: skip
    shown = call(*options)
    assert "synthetic" not in shown.stdout
    assert "questions" in shown.stdout
    assert "broken.docx" in shown.stderr
    assert "without a reader are left out: 1 × .dwg" in shown.stderr.replace("\n", " ")
    assert "4 files" not in shown.stderr
    dataset = Dataset.open(out)
    assert {document.title for document in dataset.documents()} >= {"Chapter 0", "Chapter 1", "Chapter 2"}
    assert dataset.counts["queries"] >= 6
    assert {headers["authorization"] for headers in chat.headers} == {"Bearer from the environment"}
    assert all("<passage>" in prompt_of(body) for body in chat.bodies)
    asked = sum(chat.asked.values())
    replayed = ("--replay", "--overwrite", "--json", *options[:2], *options[4:])
    told = json.loads(call(*replayed).stdout)
    assert told["report"]["total"]["kept"] == dataset.counts["positive"]
    assert told["report"]["total"]["cost"] > 0
    assert Dataset.open(out).fingerprint == dataset.fingerprint
    assert sum(chat.asked.values()) == asked
    report = (out / "report.md").read_text("utf-8")
    assert "| questions | en |" in report
    assert "| all |" in report


def test_what_is_missing_is_named(chat, tmp_path):
    for arguments, name in (
        ((), "--model"),
        (("--model", "x"), "--endpoint"),
        (("--model", "x", "--endpoint", chat.address, "--no-judge"), "--out"),
    ):
        with pytest.raises(InputError, match=f"{name} is missing"):
            call(*arguments)
    call("--write-prompts", tmp_path / "prompts")
    assert (tmp_path / "prompts" / "bitext.example.txt").exists()
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="exists; replace it"):
        call("--model", "x", "--endpoint", chat.address, "--no-judge", "--out", tmp_path / "taken")
    assert not chat.asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from-documents", "x", "--kinds", "bitext", "--per-task", 5), "--kinds, --per-task means nothing with"),
        (("--questions", 5), "--questions means nothing without --from-documents"),
        (("--model", "x", "--endpoint", "localhost:8000/v1"), "must start with http:// or https://, got 'localhost:80"),
    ],
)
def test_options_that_would_change_nothing_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        call(*arguments)


def test_a_folder_of_documents_that_does_not_exist(chat, tmp_path, judge):
    with pytest.raises(InputError, match="does not exist; expected a folder of documents"):
        call("--from-documents", tmp_path / "x", "--model", "x", "--endpoint", chat.address, "--judge", judge)


def test_passages_too_short_to_ask_about_are_counted(chat, tmp_path, judge):
    folder = tmp_path / "short"
    folder.mkdir()
    (folder / "a.txt").write_text("Tea needs boiling water.", encoding="utf-8")
    options = ("--from-documents", folder, "--model", "x", "--endpoint", chat.address, "--judge", judge, "--top", 100)
    with pytest.raises(InputError, match="no passage has 60 letters"):
        call(*options, "--out", tmp_path / "out")
    (folder / "b.txt").write_text("Coffee is ground, and brewed with water of ninety-three degrees or so." * 2)
    shown = call(*options, "--languages", "en", "--out", tmp_path / "out")
    assert "2 files, 2 passages, 1 of them too short to ask about" in shown.stderr
    assert len(chat.bodies) == 1


RECIPE = """
name = "tiny"
steps = 1
precision = "f32"

[model]
start = "{model}"
prompts = "instruct"

[batch]
size = 4
negatives = 1
tokens = 400

[optimizer]
rate = 1e-3
warmup = 0

[[data]]
dataset = "data/synthetic"
sources = ["synthetic-short-long", "synthetic-similarity"]
"""


def test_training_takes_the_result(chat, tmp_path, xlmr):
    """`recipes/e5/instruct.toml`, from a tiny model, is planned over every kind of example; a small recipe trains."""
    numbers = count()

    def answer(body, draw):
        """Translations are too short to tell their language."""
        made = well(body, draw)
        return {name: f"tea {next(numbers)}" for name in made} if "S1" in made else made

    chat.answer = answer
    synthetic = tmp_path / "data" / "synthetic"
    call(
        "--model", "stand-in", "--endpoint", chat.address, "--no-judge", "-o", synthetic, "-n", 60, "--quiet",
        "--kinds", ",".join(KINDS), "--languages", "en,de", "--cross-lingual", "0.1",
    )  # fmt: skip
    assert set(check(Dataset.open(synthetic)).sources) == {f"synthetic-{kind}" for kind in KINDS}
    published = (ROOT / "recipes" / "e5" / "instruct.toml").read_text("utf-8")
    start = 'start = "runs/me5-stage1/model"'
    assert start in published
    path = tmp_path / "instruct.toml"
    path.write_text(published.replace(start, f'start = "{xlmr}"'), encoding="utf-8")
    data = read_recipe(path).data
    assert [entry.sources for entry in data if entry.dataset == synthetic] == [None]
    labelled = [
        Example(Query(f"question of {source}"), Document(f"answer of {source}"), source=source)
        for source in sorted({source for entry in data for source in entry.sources or ()})
    ]
    write_dataset(tmp_path / "data" / "labelled", labelled, step={"step": "by hand"})
    assert re.search(r"^\d+ steps? of [\d,]+ tokens", trained(path, "--plan").stdout, re.MULTILINE)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(model=xlmr), encoding="utf-8")
    trained(path, "--out", tmp_path / "run", "--quiet")
    (line,) = (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["loss"] > 0


def trained(recipe, *options):
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, ["train", str(recipe), *map(str, options)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result
