"""Full disks and places that cannot be written: one sentence that names it, before hours of work where possible."""

import resource
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from me5 import InputError
from me5.cli import app
from me5.data.dataset import Dataset
from me5.training.run import Run
from me5.training.teacher import open_vectors


def test_logs_on_a_full_disk(tmp_path) -> None:
    tiny.workshop(tmp_path)
    run = Run(tmp_path / "run", tmp_path / "recipe.toml")
    (run.folder / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"the logs of .*run cannot be written: No space left on device"):
        run.log({"step": 1, "loss": 1.0})


def test_a_teachers_vectors_on_a_full_disk(tmp_path) -> None:
    dataset = tiny.write_data(tmp_path / "data")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # job.json fits, the vectors do not
    try:
        with pytest.raises(InputError, match=r"00000.npy cannot be written"):
            open_vectors(dataset, "me5-small", tmp_path / "cache", advance=lambda texts, tokens: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


PLACES = {
    "train": lambda there: ["train", "recipe.toml", "--out", there],
    "train --cache": lambda there: ["train", "recipe.toml", "--cache", there],
    "data deduplicate": lambda there: ["data", "deduplicate", "data", "--out", there],
    "eval report": lambda there: ["eval", "report", "results", "--out", f"{there}/report.md"],
    "eval run": lambda there: ["eval", "run", "sts.tsv", "--out", there],
    "eval run --cache": lambda there: ["eval", "run", "sts.tsv", "--cache", there],
}


@pytest.mark.parametrize("arguments", PLACES.values(), ids=PLACES)
def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path, monkeypatch, arguments) -> None:
    """A file where a folder should be, which stops root too."""
    tiny.workshop(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "sts.tsv").write_text("5\ta cat\ta cat\n1\ta cat\tthe sea\n3\ta cat\ta dog\n")
    monkeypatch.chdir(tmp_path)
    if "report" in arguments("x"):
        CliRunner().invoke(app, ["eval", "run", "sts.tsv", "--out", "results", "--quiet"], catch_exceptions=False)
    ended = CliRunner().invoke(app, arguments("file/below"))
    assert isinstance(ended.exception, InputError), ended
    assert "file/below" in str(ended.exception)
    assert Path("file").read_text() == ""
    assert Dataset.open(Path("data")).counts["positive"] == len(tiny.QUESTIONS) + len(tiny.SECOND) + len(tiny.LEFT)
