"""`me5 data synthesize` as it is used, and what reads its result."""

import json
import random
import warnings

import pytest
from chatserver import prompt_of, sentence
from typer.testing import CliRunner

from me5.cli import app
from me5.data.dataset import Dataset
from me5.errors import InputError


def call(*arguments, quiet=True):
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, ["data", "synthesize", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def handbook(tmp_path):
    """Files of several kinds, one of them damaged."""
    folder = tmp_path / "handbook"
    folder.mkdir()
    draw = random.Random(1)
    for number in range(3):
        text = "\n\n".join(" ".join(sentence(draw) for _ in range(4)) for _ in range(2))
        (folder / f"{number}.md").write_text(f"# Chapter {number}\n\n{text}\n", encoding="utf-8")
    (folder / "notes.txt").write_text(" ".join(sentence(draw) for _ in range(5)), encoding="utf-8")
    (folder / "broken.docx").write_bytes(b"PK not a document")
    return folder


def test_from_documents_to_questions(handbook, chat, tmp_path, xlmr, monkeypatch):
    monkeypatch.setenv("CHAT_KEY", "from the environment")
    out = tmp_path / "questions"
    options = (
        "--from-documents", handbook, "--endpoint", chat.address, "--model", "stand-in", "-o", out, "--judge", xlmr,
        "--key-variable", "CHAT_KEY", "--top", 100, "--price-in", 1, "--price-out", 2,
    )  # fmt: skip
    shown = call(*options)
    assert "synthetic" not in shown.stdout
    assert "questions" in shown.stdout
    assert "broken.docx" in shown.stderr
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
    with pytest.raises(InputError, match="allow overwriting"):
        call("--model", "x", "--endpoint", chat.address, "--no-judge", "--out", tmp_path / "taken")
    assert not chat.asked


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
dataset = "synthetic"
sources = ["synthetic-short-long", "synthetic-similarity"]
"""


def test_training_takes_the_result(chat, tmp_path, xlmr):
    call(
        "--model", "stand-in", "--endpoint", chat.address, "--no-judge", "-o", tmp_path / "synthetic", "-n", 24,
        "--kinds", "short-long,similarity", "--languages", "en", "--quiet",
    )  # fmt: skip
    (tmp_path / "recipe.toml").write_text(RECIPE.format(model=xlmr), encoding="utf-8")
    command = ["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, [*command, "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (line,) = (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["loss"] > 0
