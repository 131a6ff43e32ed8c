"""The files of results, of which report.py makes the report: one per run, NAME[_VARIANT]_MACHINE_DATE.json."""

import datetime
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import machine
from me5.files.atomic import write_text

RESULTS = Path(__file__).resolve().parents[1] / "results"
# Options whose values are places of this machine and change no figure.
PLACES = ("--out", "--work", "--keep", "--cache")


def begin(benchmark: str) -> dict[str, Any]:
    """What every file begins with; call it before anything is measured."""
    return {
        "benchmark": benchmark,
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "load_average": [machine.load_average()],
        "commit": commit(),
        "command": command(sys.argv),
    }


def save(run: dict[str, Any], out: Path, variant: str = "", place: str = "") -> str:
    """Write a run to the folder `out`, whole or not at all, and return it as a line of JSON.

    `variant` tells runs of one benchmark apart, `place` stands for the machine where that is not the processor.
    """
    run["load_average"] = [run["load_average"][0], machine.load_average()]
    line = without_paths(json.dumps(rounded(run), ensure_ascii=False))
    names = (run["benchmark"], slug(variant), slug(place) or machine.slug(), run["date"])
    path = out / ("_".join(filter(None, names)) + ".json")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, line + "\n")
    return line


def slug(text: str) -> str:
    """For a file name; without underscores, which separate its parts."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def rounded(data: Any) -> Any:
    """The same data with six digits per figure: more say nothing, and the line is for people too."""
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [rounded(value) for value in data]
    if isinstance(data, float):
        return float(f"{data:.6g}") if math.isfinite(data) else None  # JSON has no NaN
    return data


def without_paths(text: str) -> str:
    """Error messages quote files; the report keeps their names and drops where they lay."""
    return re.sub(r"(?:/[\w.+@-]+)+/([\w.+@-]+)", r"\1", text)


def command(arguments: list[str]) -> str:
    """The command of a run without the paths of this machine."""
    parts, given = [f"python benchmarks/{Path(arguments[0]).name}"], iter(arguments[1:])
    for argument in given:
        if argument in PLACES:
            next(given, None)
        elif not argument.startswith(tuple(f"{name}=" for name in PLACES)):
            name, equals, value = argument.rpartition("=")
            parts.append(name + equals + (kind(Path(value)) if "/" in value else value))
    return " ".join(parts)


def kind(path: Path) -> str:
    """What stands for a path in a command."""
    if path.is_dir():
        return "FOLDER"
    return "PYTHON" if path.name.startswith("python") and os.access(path, os.X_OK) else "FILE"


def commit() -> str | None:
    """The commit of the me5 that is measured, with a `+` where its files have changed; None where git has none."""
    found = importlib.util.find_spec("me5")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=package, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", found.origin)  # an installed copy beside a repository has no commit
        return git("rev-parse", "--short=10", "HEAD") + "+" * bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None
