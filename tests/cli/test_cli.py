"""The commands, as a person types them."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from me5 import catalog
from me5.checkpoint import resolve
from me5.cli import main

COMMANDS = ("demo", "embed", "score", "tokens", "models", "info", "verify", "index", "search", "data")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def me5(monkeypatch, capsys):
    """Run a command in this process, for each start of one costs a second."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "argv", ["me5", *arguments])
        with warnings.catch_warnings(action="default"), pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, *capsys.readouterr())

    return run


def me5_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as the shell starts it."""
    return subprocess.run(
        [sys.executable, "-m", "me5", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "COLUMNS": "120"},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, me5):
    result = me5(command, "--help")
    assert result.returncode == 0
    assert f"me5 {command}" in result.stdout.split("Usage:")[1].split("\n", 1)[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_place_in_the_documents(command):
    assert f"## me5 {command}\n" in (ROOT / "docs" / "commands.md").read_text("utf-8")


def test_demo_puts_the_right_document_on_top():
    result = me5_process("demo")
    assert result.returncode == 0, result.stderr
    protein, pumpkin = (line.split("│") for line in result.stdout.splitlines() if "←" in line)
    assert "protein" in protein[1]
    assert "←" in protein[2]
    assert "←" in pumpkin[3]
    assert r"Instruct: Given a web search query" in result.stdout


def test_score_as_json(me5):
    result = me5("score", "--json", "-q", "how tall is K2?", "-d", "K2 rises to 8,611 metres.", "-d", "Bake a cake.")
    scored = json.loads(result.stdout)
    assert scored["model"] == catalog.BUNDLED
    assert scored["query_prompt"].startswith("Instruct: ")
    assert scored["document_prompt"] == ""
    assert scored["scores"][0][0] > scored["scores"][0][1]


def test_tokens_tells_what_is_read_and_lost(me5):
    result = me5("tokens", "--json", "--side", "document", "--max-tokens", "5", "one two three four five six seven")
    (looked,) = json.loads(result.stdout)
    assert looked["prompt"] == ""
    assert looked["lost"] == looked["tokens"] - 5
    assert len(looked["sequences"][0]["ids"]) == 5
    assert looked["sequences"][0]["pieces"][0] == "<s>"


def test_tokens_are_apart_without_colours(me5):
    (line,) = (line for line in me5("tokens", "-s", "document", "K2 rises").stdout.splitlines() if "tokens " in line)
    assert line == "tokens   <s> ▁K 2 ▁ris es </s>"


def test_models_lists_the_catalogue(me5):
    listed = json.loads(me5("models", "--json").stdout)
    assert [model["id"] for model in listed] == [model.id for model in catalog.KNOWN_MODELS]
    assert listed[0]["local"] is True
    bundled = json.loads(me5("info", "--json").stdout)
    assert listed[0]["parameters"] == bundled["parameters"]
    assert listed[0]["dim"] == bundled["dim"]
    assert listed[0]["layers"] == bundled["layers"]


def test_what_is_on_this_machine_is_told_without_bold_letters_too(me5):
    assert "on this machine (bold): me5-small" in me5("models").stdout


def test_info_shows_prompts_byte_for_byte(me5):
    facts = json.loads(me5("info", "--json").stdout)
    assert facts["query_prompt"].endswith("answer the query\nQuery: ")
    assert me5("info").returncode == 0


def test_verify_tells_what_it_measured(xlmr, me5):  # of the bundled model: tests/golden
    result = me5("verify", str(xlmr), "--json", "--precision", "f32")
    assert result.returncode == 0, result.stdout
    told = json.loads(result.stdout)
    assert told["passed"] is True


def test_a_model_of_a_known_name_and_another_size_is_not_compared_with_what_is_published(xlmr, tmp_path, me5):
    """As after `me5 trim`: a GGUF file keeps the name of its model, a folder may have it."""
    folder = shutil.copytree(xlmr, tmp_path / "all-MiniLM-L6-v2")
    assert resolve(folder).known is not None
    result = me5("verify", str(folder), "--precision", "f32")
    assert result.returncode == 0, result.stdout
    assert "2 checks passed" in result.stdout
    assert "22,713,216, as where a vocabulary was trimmed" in result.stdout
    told = json.loads(me5("verify", str(folder), "--precision", "f32", "--json").stdout)
    assert [check["passed"] for check in told["checks"]] == [True, True, None]


def test_quiet_verify_says_one_line(xlmr, me5):
    result = me5("verify", str(xlmr), "--precision", "f32", "--quiet")
    assert result.stdout.strip() == "2 checks passed"
    assert result.stderr == ""


def assert_mistake(result, code, said):
    assert result.returncode == code
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["info", "/no/such/folder"], 3, "not a folder"),
        (["info", "some/model"], 3, "hf download some/model"),
        (["score", "-q", "x", "-d", "y", "--task", "web-serch"], 2, "did you mean web-search"),
        (["score", "-q", "x"], 2, "--document"),
        (["score", "-q", "x", "-d", "y", "--precision", "f8"], 2, "f8"),
        (["score", "-q", "x", "-d", "y", "--device", "gpu"], 2, "expected cpu, cuda"),
        (["score", "-q", "x", "-d", "y", "--device", "torch-cpu", "-p", "int8"], 2, "bf16, f16, fp8"),
        (["tokens", "--max-tokens", "4", "--truncation", "error", "a longer text than four"], 2, "the model reads 4"),
        (["nonsense"], 2, "No such command"),
    ],
    ids=[
        "no folder",
        "no hub",
        "unknown task",
        "missing option",
        "unknown precision",
        "unknown device",
        "not there",
        "too long",
        "unknown command",
    ],
)
def test_a_users_mistake_is_a_sentence_and_an_exit_code(me5, arguments, code, said):
    assert_mistake(me5(*arguments), code, said)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["info", "/no/such/folder"], 3, "not a folder"), (["nonsense"], 2, "No such command")],
    ids=["no folder", "unknown command"],
)
def test_a_process_ends_with_the_exit_code(arguments, code, said):
    assert_mistake(me5_process(*arguments), code, said)


def test_warnings_are_one_line_and_can_be_silenced():
    score = ("score", "-q", "x", "-d", "word " * 600)
    assert "warning: texts longer than 512 tokens were cut: 1 of 1 (item 0)" in me5_process(*score).stderr
    assert me5_process(*score, "--quiet").stderr == ""
