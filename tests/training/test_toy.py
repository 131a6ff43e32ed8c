"""The toy recipe, end to end: the very commands of its run.sh, in this process, for each start of one costs seconds."""

import os
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from me5 import Embedder
from me5.cli import app
from me5.errors import Me5Warning
from me5.evaluation import results
from me5.training.recipe import read_recipe
from me5.training.start import start

TOY = Path(__file__).parents[2] / "recipes" / "toy"


def commands() -> Iterator[list[str]]:
    """What run.sh runs, after its preamble."""
    for line in (TOY / "run.sh").read_text("utf-8").split('cd "$1"\n', 1)[1].splitlines():
        if line and not line.startswith("#"):
            yield shlex.split(line.replace("$toy", str(TOY)))


def call(program: str, *arguments: str) -> None:
    if program == "me5":
        # What a command says of its model is for people; a warning here would be an error.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Me5Warning)
            result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
    elif program == "python":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", list(arguments))
            runpy.run_path(arguments[0], run_name="__main__")
    else:
        assert program == "cp"
        for source in arguments[:-1]:
            (Path(arguments[-1]) / Path(source).name).write_bytes(Path(source).read_bytes())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with results of the untrained network beside."""
    folder = tmp_path_factory.mktemp("toy")
    with chdir(folder):
        for command in commands():
            call(*command)
        write_untrained()
        call(*shlex.split("me5 eval run eval --model untrained --no-bm25 --out results/untrained"))
    return folder


def write_untrained() -> None:
    """The network of stage 1 before its first step, as a checkpoint."""
    from me5.model.folder import save

    begun = start(read_recipe(Path("stage1.toml")).model, seed=1)
    save(begun.encoder, Path("untrained"), tokenizer=begun.tokenizer_file, prompts=begun.prompts)


def scores(run: Path, name: str) -> dict[str, float]:
    return {str(result.subset): result.outcome.score for result in results.read(run / "results" / name)}


def test_scores_rise_from_chance_with_each_stage(run: Path) -> None:
    untrained, first, second = (scores(run, name) for name in ("untrained", "stage1", "stage2"))
    bitext, same, across = sorted(untrained, key=lambda name: ("retrieval" in name, "xb" in name))
    # Languages that share no word: chance finds one of 200 translations, and next to none of 1,250 passages.
    assert untrained[bitext] < 0.05
    assert untrained[across] < 0.05
    assert first[bitext] > 0.5
    # Stage 1 never saw a question.
    assert first[across] > 0.2
    assert second[across] > first[across]
    assert second[across] > 0.8
    # Within a language shared words tell much even before training.
    assert second[same] > max(untrained[same], 0.8)


def test_the_result_is_a_checkpoint_like_any_other(run: Path) -> None:
    embedder = Embedder.load(run / "stage2" / "model", precision="f32")
    assert embedder.prompts.query == "query: "
    vectors = np.load(run / "questions.npy", allow_pickle=False)
    assert vectors.shape == (200, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    assert (run / "stage2" / "log.jsonl").read_text("utf-8").count("\n") == read_recipe(run / "stage2.toml").steps


def test_run_sh_is_what_was_run() -> None:
    assert os.access(TOY / "run.sh", os.X_OK)
    programs = [program for program, *_ in commands()]
    assert programs.count("me5") == len(programs) - 2
