"""The folder of a run: its recipe, its environment, its logs, its state.

    recipe.toml         as it was when the run began
    run.json            versions, commit, device, hashes of the data
    log.jsonl           a line per step and per evaluation
    tensorboard/        the same to look at
    state.safetensors   to resume from
    evaluation/         what the evaluations on the way gave
    model/              the result, once it is done

A run that was stopped resumes in it.
"""

import json
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from me5._version import __version__
from me5.errors import InputError
from me5.files.atomic import explained, write_text

_LIBRARIES = ("torch", "numpy", "tokenizers", "safetensors", "pyarrow")


class Run:
    """A run's folder, new or resumed."""

    def __init__(self, folder: Path, recipe: Path) -> None:
        """Raises `InputError` where the folder holds something that another recipe made."""
        self._board: SummaryWriter | None = None
        self.folder = folder
        text, kept = recipe.read_text("utf-8"), folder / "recipe.toml"
        before = kept.read_text("utf-8") if kept.exists() else None
        if before not in (None, text) and self._made():
            raise InputError(
                f"{folder} is a run of another recipe than {recipe}; choose another folder with --out, or compare "
                f"{kept} and {recipe}"
            )
        with explained(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
        if before != text:
            write_text(kept, text)

    def _made(self) -> bool:
        """Whether there is something to lose or to resume; a run that failed before that is bound to no recipe."""
        return any(path.exists() for path in (self.state, self.model, self.folder / "evaluation"))

    @property
    def state(self) -> Path:
        """The state that a stopped run resumes from."""
        return self.folder / "state.safetensors"

    @property
    def model(self) -> Path:
        """The finished checkpoint folder."""
        return self.folder / "model"

    def judged(self, step: int) -> Path:
        """The folder of results after a step, there once they are complete."""
        return self.folder / "evaluation" / f"{step:08d}"

    @property
    def evaluated(self) -> Path:
        """The checkpoint folder that is judged at the moment."""
        return self.folder / "evaluated"

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Write run.json: the facts of the caller, and those of the machine, behind those of earlier starts.

        `data` are hashes by name. Raises `InputError` where they are not those of the last start.
        """
        path = self.folder / "run.json"
        before = json.loads(path.read_text("utf-8"))["starts"] if path.exists() else []
        if before and self._made() and sorted(before[-1]["data"].values()) != sorted(facts["data"].values()):
            raise InputError(
                f"{self.folder} was started with other data than {', '.join(facts['data'])} as it is now; put the "
                "old data back, or choose another folder with --out"
            )
        here = {
            "me5": __version__, "python": python_version(), "platform": platform(), "commit": _commit(),
            "libraries": {name: version(name) for name in _LIBRARIES}, "threads": torch.get_num_threads(), **facts,
        }  # fmt: skip
        write_text(path, json.dumps({"starts": [*before, here]}, indent=2, ensure_ascii=False) + "\n")

    def rewind(self, step: int) -> None:
        """Take what was logged after a step out again: those steps will be done once more. Opens the logs."""
        with explained(str(self.folder / "tensorboard")):
            self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)
        path = self.folder / "log.jsonl"
        if path.exists():
            lines = [line for line in path.read_text("utf-8").splitlines() if _number(line) <= step]
            write_text(path, "".join(f"{line}\n" for line in lines))

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append an entry, with the `step` that it is about, to both logs."""
        with explained(f"the logs of {self.folder}"):
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            if self._board is not None:
                figures = entry.get("evaluation", entry)
                for name, value in figures.items():
                    if name != "step":
                        self._board.add_scalar(name, value, entry["step"])

    def close(self) -> None:
        """Close the logs."""
        if self._board is not None:
            self._board.close()


def _number(line: str) -> int:
    """The step of a line; one that was cut off while it was written counts as later than any."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 1 << 62


def _commit() -> str | None:
    """The commit that me5 runs from, if it runs from a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
