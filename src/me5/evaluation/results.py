"""Results as files of mteb's shape, with prompts, model, intervals and what a report needs beside the figures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from me5._version import __version__
from me5.errors import InputError
from me5.evaluation.encoders.base import Prompt
from me5.evaluation.task import Outcome, Subset
from me5.files.atomic import explained, write_text

_BY_SUBSET = ("main", "intervals", "seconds", "samples", "paired", "shown")


@dataclass(frozen=True)
class Result:
    """What one model reached on one subset. `interval` is the 95 % bootstrap interval of the main figure."""

    subset: Subset
    type: str
    model: str
    outcome: Outcome
    prompts: tuple[Prompt, ...]
    seconds: float
    fingerprint: str
    interval: tuple[float, float] | None


def as_json(result: Result) -> dict[str, Any]:
    """A result as the content of a file of one subset: mteb's keys, and me5's own under `me5`."""
    name, outcome = result.subset.name, result.outcome
    entry = {
        "hf_subset": name,
        "languages": list(result.subset.languages),
        "main_score": outcome.score,
        **outcome.scores,
    }
    return {
        "dataset_revision": "local",
        "mteb_version": None,  # where the key is missing, mteb takes the file for one of its old format
        "task_name": result.subset.task,
        "evaluation_time": round(result.seconds, 2),
        "scores": {result.subset.split: [entry]},
        "me5": {
            "version": __version__,
            "type": result.type,
            "model": result.model,
            "fingerprint": result.fingerprint,
            "prompts": [asdict(prompt) for prompt in result.prompts],
            "main": {name: outcome.main},
            "intervals": {name: result.interval},
            "seconds": {name: round(result.seconds, 2)},
            "samples": {name: {sample: round(value, 6) for sample, value in outcome.samples.items()}},
            "paired": {name: dict(outcome.paired)},
            "shown": {name: dict(outcome.shown)},
        },
    }


def path_of(folder: Path, model: str, task: str) -> Path:
    """The file of a model and task: `folder/MODEL/TASK.json`."""
    return folder / model.replace("/", "__") / f"{task}.json"


def open_folder(folder: Path) -> None:
    """Make a folder for results where there is none. Raises `InputError` where nothing can be written."""
    with explained(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


def check(folder: Path, model: str, fingerprint: str, task: str, prompts: Sequence[Prompt]) -> None:
    """Raise `InputError` where a file is there already whose figures would not belong with new ones."""
    path = path_of(folder, model, task)
    if not path.exists():
        return
    old = _load(path)["me5"]
    for key, new in (
        ("version", __version__),
        ("fingerprint", fingerprint),
        ("prompts", [asdict(prompt) for prompt in prompts]),
    ):
        if old[key] != new:
            before, now = (_said(value) for value in (old[key], new))
            raise InputError(
                f"{path} was made with another {key.removesuffix('s')}: {before}, now {now}; write to another folder, "
                "or call this model by a --name of its own"
            )


def _said(value: Any) -> str:
    """A version or a fingerprint, or the prompts of all sides, in words."""
    if not isinstance(value, list):
        return str(value)
    return ", ".join(f"{prompt['side']} {prompt['text']!r}" for prompt in value) or "none"


def write(folder: Path, result: Result) -> Path:
    """Write a result into the file of its model and task, whole or not at all.

    Other subsets in a file that is there already are kept. Raises `InputError` as `check` does.
    """
    check(folder, result.model, result.fingerprint, result.subset.task, result.prompts)
    path = path_of(folder, result.model, result.subset.task)
    with explained(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = as_json(result)
    if path.exists():
        _keep(content, _load(path))
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1))
    return path


def _keep(content: dict[str, Any], old: dict[str, Any]) -> None:
    """Take over the subsets of an older file that `content` lacks."""
    scores: dict[str, list[dict[str, Any]]] = {}
    for source in (old, content):
        for split, entries in source["scores"].items():
            kept = {entry["hf_subset"]: entry for entry in [*scores.get(split, []), *entries]}
            scores[split] = list(kept.values())
    content["scores"] = scores
    for key in _BY_SUBSET:
        content["me5"][key] = {**old["me5"][key], **content["me5"][key]}
    content["evaluation_time"] = round(sum(content["me5"]["seconds"].values()), 2)


def _load(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = {
            key: content["me5"][key] for key in (*_BY_SUBSET, "version", "type", "model", "prompts", "fingerprint")
        }
        known["scores"] = [entry["hf_subset"] for entries in content["scores"].values() for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a result of me5 eval run, or one of an older version") from error
    return content


def read(path: Path) -> list[Result]:
    """All results of a file, or of the .json files in a folder and below. Raises `InputError` naming the file."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    found = [result for file in files for result in _results(_load(file))]
    if not found:
        raise InputError(f"{path} holds no results; make some with `me5 eval run … --out {path}`")
    return found


def _results(content: dict[str, Any]) -> list[Result]:
    me5 = content["me5"]
    prompts = tuple(Prompt(**prompt) for prompt in me5["prompts"])
    found = []
    for split, entries in content["scores"].items():
        for entry in entries:
            name = entry["hf_subset"]
            figures = {key: value for key, value in entry.items() if isinstance(value, float) and key != "main_score"}
            own = (me5[key].get(name, {}) for key in ("samples", "paired", "shown"))
            outcome = Outcome(figures, me5["main"][name], *own)
            subset = Subset(content["task_name"], name, tuple(entry["languages"]), split)
            interval = tuple(me5["intervals"][name]) if me5["intervals"].get(name) else None
            of_all = (me5["type"], me5["model"], outcome, prompts, me5["seconds"][name], me5["fingerprint"])
            found.append(Result(subset, *of_all, interval))
    return found


def by_model(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of each model, in the order of their coming."""
    grouped: dict[str, list[Result]] = {}
    for result in results:
        grouped.setdefault(result.model, []).append(result)
    return grouped
