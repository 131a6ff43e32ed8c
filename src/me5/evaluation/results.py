"""One result: the figures of a task under mteb's keys, with the prompts, the model and an interval beside them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from me5._version import __version__
from me5.errors import InputError
from me5.evaluation.encoder import Prompt
from me5.evaluation.task import Outcome, Subset


@dataclass(frozen=True)
class Result:
    """What one model reached on one subset. `interval` is the 95 % bootstrap interval of the main figure."""

    subset: Subset
    model: str
    outcome: Outcome
    prompts: tuple[Prompt, ...]
    seconds: float
    interval: tuple[float, float] | None


def interval_of(outcome: Outcome) -> tuple[float, float] | None:
    """95 % percentile bootstrap over the examples, or None where the main figure is no mean of examples."""
    values = np.array(list(outcome.samples.values()))
    if len(values) < 2:
        return None
    if (values == values[0]).all():
        return float(values[0]), float(values[0])
    found = bootstrap((values,), np.mean, n_resamples=1000, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def as_json(result: Result) -> dict[str, Any]:
    """A result as the content of a file of one subset: mteb's keys, and me5's own under `me5`."""
    name = result.subset.name
    return {
        "dataset_revision": "local",
        "mteb_version": None,  # where the key is missing, mteb takes the file for one of its old format
        "task_name": result.subset.task,
        "evaluation_time": round(result.seconds, 2),
        "scores": {
            "test": [
                {
                    "hf_subset": name,
                    "languages": list(result.subset.languages),
                    "main_score": result.outcome.score,
                    **result.outcome.scores,
                }
            ]
        },
        "me5": {
            "version": __version__,
            "model": result.model,
            "prompts": [{"side": p.side, "task": p.task, "text": p.text} for p in result.prompts],
            "intervals": {name: result.interval},
            "seconds": {name: round(result.seconds, 2)},
            "samples": {name: dict(result.outcome.samples)},
        },
    }


def write(folder: Path, result: Result) -> Path:
    """Write a result into the file of its model and task, `folder/MODEL/TASK.json`, whole or not at all.

    Other subsets in a file that is there already are kept. Raises `InputError` where it was made with other prompts
    or by another version, whose figures do not belong together.
    """
    path = folder / result.model.replace("/", "__") / f"{result.subset.task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = as_json(result)
    if path.exists():
        _keep(content, path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _keep(content: dict[str, Any], path: Path) -> None:
    """Take over the subsets of an existing file that `content` lacks."""
    try:
        old = json.loads(path.read_text("utf-8"))
        same = all(old["me5"][key] == content["me5"][key] for key in ("version", "model", "prompts"))
        kept = {entry["hf_subset"]: entry for entry in old["scores"]["test"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is there already and no result of me5; write to another folder") from error
    if not same:
        raise InputError(f"{path} was made with other prompts or another version of me5; write to another folder")
    new = {entry["hf_subset"]: entry for entry in content["scores"]["test"]}
    content["scores"]["test"] = list({**kept, **new}.values())
    for key in ("intervals", "samples", "seconds"):
        content["me5"][key] = {**old["me5"][key], **content["me5"][key]}
    content["evaluation_time"] = round(sum(content["me5"]["seconds"].values()), 2)
