"""The loop from end to end: killed and gone on with, in two processes, judged on the way, read by other libraries."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from typer.testing import CliRunner

from me5.cli import app
from me5.embedder import Embedder
from me5.errors import InputError, TrainingError
from me5.prompts import INSTRUCT
from me5.training.loop import Step, Trainer
from me5.training.recipe import read_recipe
from me5.training.run import Run

STILL = ("dropout = 0.1", "dropout = 0.0")
SHORT = ("steps = 6", "steps = 2")
# From Python 3.12 on every fork beside threads is warned of.
FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def whole(workshop, tmp_path_factory) -> Path:
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    tiny.train(workshop / "recipe.toml", folder)
    return folder


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def children(count: int, *arguments: object) -> list[subprocess.Popen[str]]:
    """Processes that train, started as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    path = os.pathsep.join([str(Path(tiny.__file__).parents[1]), *sys.path])
    return [
        subprocess.Popen(
            [sys.executable, tiny.__file__, *map(str, arguments)],
            env=os.environ | address | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def test_a_run_leaves_what_tells_of_it(whole, workshop) -> None:
    log = logged(whole)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert set(log[0]) == {
        "step", "loss", "contrastive", "distillation", "accuracy", "positive_score", "rate", "norm", "tokens",
        "seconds",
    }  # fmt: skip
    assert log[0]["rate"] == pytest.approx(0.005)
    assert log[-1]["loss"] < log[0]["loss"]
    assert (whole / "recipe.toml").read_text("utf-8") == (workshop / "recipe.toml").read_text("utf-8")
    (began,) = json.loads((whole / "run.json").read_text("utf-8"))["starts"]
    assert began["steps"] == 6
    assert began["pairs"] == len(tiny.QUESTIONS) + len(tiny.SECOND) + len(tiny.LEFT)
    assert list(map(len, began["data"].values())) == [64]
    assert set(began["libraries"]) >= {"torch", "tokenizers"}
    assert list((whole / "tensorboard").glob("events.*"))


def test_killed_and_gone_on_with_it_ends_as_if_nothing_had_been(whole, workshop, tmp_path) -> None:
    folder = tmp_path / "killed"
    (child,) = children(1, 5, workshop / "recipe.toml", folder)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == -signal.SIGKILL, errors
    assert [entry["step"] for entry in logged(folder)] == [1, 2, 3, 4, 5]
    assert not (folder / "model").exists()
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "lo')  # as if it had been cut off there
    seen = tiny.train(workshop / "recipe.toml", folder)
    assert [entry.step for entry in seen] == [5, 6]  # the last state was of step 4
    for one, other in zip(logged(whole), logged(folder), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (whole / weights).read_bytes()
    starts = json.loads((folder / "run.json").read_text("utf-8"))["starts"]
    assert [start["from_step"] for start in starts] == [0, 4]
    # Once more: nothing is left to do.
    assert tiny.train(workshop / "recipe.toml", folder) == []
    assert (folder / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_it_finishes_the_step_and_saves(whole, workshop, tmp_path, monkeypatch, number, status) -> None:
    folder = tmp_path / "stopped"
    command = ["train", str(workshop / "recipe.toml"), "--out", str(folder), "--cache", str(workshop / "cache")]
    step, done = Trainer.step, []

    def asked_in_the_third(*arguments) -> Step:
        if len(done) == 2:
            os.kill(os.getpid(), number)
        done.append(step(*arguments))
        return done[-1]

    before = signal.getsignal(number)
    monkeypatch.setattr(Trainer, "step", asked_in_the_third)
    stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == status
    assert f"stopped, and saved in {folder}; the same command resumes it" in stopped.output
    assert [entry["step"] for entry in logged(folder)] == [1, 2, 3]
    assert signal.getsignal(number) == before
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [entry.step for entry in done] == [1, 2, 3, 4, 5, 6]
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.usefixtures("interruptible")
def test_asked_twice_it_stops_at_once(workshop, tmp_path, monkeypatch) -> None:
    command = ["train", str(workshop / "recipe.toml"), "--out", str(tmp_path / "stopped"), "--quiet"]

    def asked_twice(*_) -> Step:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(Trainer, "step", asked_twice)
    stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code != 0
    assert not isinstance(stopped.exception, AssertionError)
    assert not (tmp_path / "stopped" / "state.safetensors").exists()


def test_two_processes_have_the_losses_of_one(whole, workshop, tmp_path) -> None:
    teacher = f'[teacher]\nmodel = "{whole / "model"}"\nquery_share = 0.5\nbank = 5\n[optimizer]'
    recipes = [
        tiny.write_recipe(workshop, "still", STILL),
        tiny.write_ranking(workshop, "ranked", ("steps = 24", "steps = 6"), ("rate = 3e-2", "rate = 1e-3")),
        tiny.write_recipe(workshop, "teach", STILL, ("negatives = 1", ""), ("[optimizer]", teacher)),
    ]
    pairs = [path for recipe in recipes for path in (recipe, tmp_path / f"two-{recipe.stem}")]
    running = children(2, 0, *pairs)
    try:
        for process in running:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    finally:
        for process in running:
            process.kill()
            process.wait()
    for recipe in recipes:
        tiny.train(recipe, tmp_path / f"one-{recipe.stem}")
        one, two = (logged(tmp_path / f"{count}-{recipe.stem}") for count in ("one", "two"))
        assert [entry["step"] for entry in two] == [1, 2, 3, 4, 5, 6]
        for name in ("loss", "contrastive", "distillation", "accuracy", "norm", "tokens"):
            ours, theirs = ([entry[name] for entry in log] for log in (one, two))
            assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5), (recipe, name)
    assert one[0]["distillation"] > 0


@FORKS
def test_batches_made_ahead_by_others_are_the_same(whole, workshop, tmp_path) -> None:
    recipe = workshop / "recipe.toml"
    trainer = Trainer(read_recipe(recipe), workshop / "cache", advance=lambda texts, tokens: None, workers=2)
    trainer.fit(Run(tmp_path / "run", recipe), observe=lambda entry: None)
    for one, other in zip(logged(whole), logged(tmp_path / "run"), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@FORKS
def test_an_error_of_a_process_that_makes_batches_is_told(workshop) -> None:
    recipe = tiny.write_recipe(workshop, "short", ("max_tokens = 128", "max_tokens = 8"))
    trainer = Trainer(read_recipe(recipe), workshop / "cache", advance=lambda texts, tokens: None, workers=1)
    with pytest.raises(InputError, match=r"shorten the instruction, or raise model\.max_tokens"):
        trainer.step(0, trainer.feed.ahead(range(1), trainer.device, trainer.workers))


def test_a_loss_that_is_no_number_names_step_and_data(workshop, tmp_path) -> None:
    recipe = tiny.write_recipe(workshop, "broken", SHORT)
    trainer = Trainer(read_recipe(recipe), workshop / "cache", advance=lambda texts, tokens: None)
    with torch.no_grad():
        trainer.encoder.embedding_norm.weight.fill_(torch.nan)
    kept = trainer.encoder.words.weight.clone()
    with pytest.raises(TrainingError, match=r"loss of step 1 is nan.*(qa en>en|parallel de>en)"):
        trainer.fit(Run(tmp_path / "run", recipe), observe=lambda entry: None)
    assert torch.equal(trainer.encoder.words.weight, kept)
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_evaluation_on_the_way(workshop, tmp_path) -> None:
    lines = [f"{left}\t{right}\n" for left, right in zip(tiny.LEFT, tiny.RIGHT, strict=True)]
    (workshop / "deu-eng.tsv").write_text("".join(lines), "utf-8")
    evaluation = '[evaluation]\npaths = ["deu-eng.tsv"]\nevery = 4\n[optimizer]'
    recipe = tiny.write_recipe(workshop, "judged", SHORT, ("[optimizer]", evaluation))
    folder = tmp_path / "run"
    seen = tiny.train(recipe, folder)
    judged = [entry for entry in seen if not isinstance(entry, Step)]
    assert [entry.step for entry in judged] == [2]  # at the end
    ((name, score),) = judged[0].evaluation.items()
    assert "deu-eng" in name
    assert 0 <= score <= 1
    assert logged(folder)[-1] == {"step": 2, "evaluation": {name: score}}
    (result,) = (folder / "evaluation" / "00000002").rglob("*.json")
    assert json.loads(result.read_text("utf-8"))["scores"]
    assert not (folder / "evaluated").exists()
    # Killed while it evaluates, it is made up for, and nothing half written stays.
    shutil.rmtree(folder / "tensorboard")  # a file of each process
    before = files(folder)
    (folder / "evaluation" / "00000002").rename(folder / "evaluation" / ".00000002.me5-0123abcd")
    shutil.copytree(folder / "model", folder / "evaluated")
    shutil.copytree(folder / "model", folder / ".evaluated.me5-0123abcd")
    assert [entry.step for entry in tiny.train(recipe, folder)] == [2]
    shutil.rmtree(folder / "tensorboard")
    assert files(folder) == before
    missing = tiny.write_recipe(workshop, "missing", SHORT, ("[optimizer]", evaluation.replace("deu-eng", "none")))
    with pytest.raises(InputError, match=r"none\.tsv does not exist"):
        tiny.train(missing, tmp_path / "missing")


def test_other_libraries_read_the_result(whole) -> None:
    from sentence_transformers import SentenceTransformer

    ours = Embedder.load(whole / "model", precision="f32")
    assert ours.prompts == INSTRUCT
    theirs = SentenceTransformer(str(whole / "model"), device="cpu")
    queries = [ours.prompts.prefix("query", tiny.INSTRUCTION) + text for text in tiny.QUESTIONS]
    for mine, texts in (
        (ours.encode_query(tiny.QUESTIONS, task=tiny.INSTRUCTION), queries),
        (ours.encode_document(tiny.ANSWERS), tiny.ANSWERS),
    ):
        np.testing.assert_allclose(mine, theirs.encode(texts, normalize_embeddings=True), atol=1e-5)


def test_a_folder_is_of_one_recipe_and_its_data(whole, workshop, tmp_path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    other = tiny.write_recipe(workshop, "other", ("seed = 3", "seed = 4"))
    with pytest.raises(InputError, match="is a run of another recipe"):
        Run(tmp_path / "run", other)
    run = Run(tmp_path / "run", workshop / "recipe.toml")
    with pytest.raises(InputError, match="was started with other data than data as it is now"):
        run.describe({"data": {"data": "another hash"}})


def test_a_run_that_failed_before_it_saved_anything_takes_a_mended_recipe(workshop, tmp_path) -> None:
    # Told before the teacher is asked: its folder does not exist.
    teacher = '[teacher]\nmodel = "nowhere"\n[optimizer]'
    wrong = tiny.write_recipe(
        workshop, "wrong", ("negatives = 1", ""), ("[optimizer]", teacher),
        ('"parallel"]', '"parallel"]\nlanguages = ["xx"]'),
    )  # fmt: skip
    Run(tmp_path / "run", wrong)
    with pytest.raises(InputError, match="has no language xx"):
        tiny.train(wrong, tmp_path / "run")
    mended = tiny.write_recipe(workshop, "mended", SHORT)
    assert [entry.step for entry in tiny.train(mended, tmp_path / "run")] == [1, 2]
    assert (tmp_path / "run" / "recipe.toml").read_text("utf-8") == mended.read_text("utf-8")
    with pytest.raises(InputError, match="is a run of another recipe"):
        Run(tmp_path / "run", wrong)
