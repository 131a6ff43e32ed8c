"""A dataset folder as the hub holds them, mteb's among them: Parquet or JSONL files, and README.md that lists configs.

A retrieval set is three configs (`corpus`, `queries`, `default` or `qrels`; with `top_ranked`, reranking), of several
languages `LANG-corpus`, `LANG-queries`, `LANG-qrels`. Of other tasks a config is a subset, recognised by its columns.
Where README.md lists none, folders stand for configs, and files in `data` or at the top for the config `default`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from me5.errors import InputError
from me5.evaluation.languages import of_pair
from me5.evaluation.readers import ranked
from me5.evaluation.readers import records as by_columns
from me5.evaluation.readers.beir import SPLITS
from me5.evaluation.sentences import sentence_of_set
from me5.evaluation.task import Subset, Task
from me5.files.place import FileError
from me5.files.records import format_of, records
from me5.files.retrieval import Judgement, queries

# config -> split -> files
Configs = Mapping[str, Mapping[str, Sequence[Path]]]
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---", re.DOTALL)
_SPLIT = re.compile(r"(?:^|[-_./])(test|dev|validation|train)(?=[-_.]|$)")
_PARTS = ("corpus", "queries", "qrels", "top_ranked")


def is_one(folder: Path) -> bool:
    """Whether a folder looks like a dataset."""
    laid_out = (folder.glob(f"{name}/*.parquet") for name in ("data", "corpus", "*-corpus"))
    return bool(_listed(folder / "README.md")) or any(any(found) for found in laid_out)


def read(folder: Path) -> list[Task]:
    """All tasks of a dataset. Raises `InputError` naming file and line."""
    configs = _configs(folder)
    tasks: list[Task] = []
    for name in configs:
        if name == "corpus" or name.endswith("-corpus"):
            tasks.append(_retrieval(folder, configs, name.removesuffix("corpus")))
    if tasks:
        return tasks
    for name, files in configs.items():
        split = next((one for one in SPLITS if one in files), None)
        if split is not None:
            tasks.append(by_columns.read(_subset(folder, name, split), files[split], files.get("train", ())))
    if not tasks:
        raise InputError(f"{folder} has no {', '.join(SPLITS)} split in any of its configs: {', '.join(configs)}")
    return tasks


def _subset(folder: Path, config: str, split: str) -> Subset:
    return Subset(folder.name, config, of_pair(config), split, sentence_of_set(folder.name))


def _retrieval(folder: Path, configs: Configs, prefix: str) -> Task:
    judgements = f"{prefix}qrels" if prefix or "qrels" in configs else "default"
    for needed in (f"{prefix}queries", judgements):
        if needed not in configs:
            raise InputError(f"{folder} has {prefix}corpus but no config {needed}; it has {', '.join(configs)}")
    split = next((one for one in SPLITS if one in configs[judgements]), None)
    if split is None:
        raise InputError(
            f"{folder}: {judgements} has no split {' or '.join(SPLITS)}, only {', '.join(configs[judgements])}"
        )
    order = configs.get(f"{prefix}top_ranked")
    return ranked.assemble(
        _subset(folder, prefix.rstrip("-") or "default", split),
        queries=chain.from_iterable(map(queries, _only(configs[f"{prefix}queries"], split))),
        corpus=_only(configs[f"{prefix}corpus"], split),
        judged=_judgements(configs[judgements][split]),
        ranked=ranked.candidates(_only(order, split)) if order else None,
        source=str(configs[judgements][split][0]),
    )


def _only(splits: Mapping[str, Sequence[Path]], split: str) -> Sequence[Path]:
    """The files of a split, or of the only one that there is, whatever its name."""
    return splits[split] if split in splits else next(iter(splits.values()))


def _judgements(paths: Sequence[Path]) -> Iterator[Judgement]:
    for record in chain.from_iterable(map(records, paths)):
        grade = record.values.get("score")
        if isinstance(grade, bool) or not isinstance(grade, int | float):
            raise FileError(record.place, f'expected a whole number "score", got {grade!r:.60}')
        yield Judgement(record.place, record.id("query-id"), record.id("corpus-id"), grade)


def _configs(folder: Path) -> dict[str, dict[str, list[Path]]]:
    listed = _listed(folder / "README.md")
    found: dict[str, dict[str, list[Path]]] = {}
    for entry in listed:
        splits = {}
        for split, pattern in _data_files(entry):
            patterns = pattern if isinstance(pattern, list) else [pattern]
            paths = sorted(path for one in patterns for path in folder.glob(str(one)) if _holds_records(path))
            if paths:
                splits[split] = paths
        if splits:
            found[str(entry["config_name"])] = splits
    return found or _by_folder(folder)


def _listed(readme: Path) -> list[dict[str, Any]]:
    """The entries under `configs` in the front matter of README.md."""
    if not readme.exists():
        return []
    match = _FRONT_MATTER.match(readme.read_text("utf-8", errors="replace"))
    try:
        content = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise InputError(f"{readme}: its front matter is not YAML: {error}") from error
    entries = content.get("configs") if isinstance(content, dict) else None
    return [entry for entry in entries or [] if isinstance(entry, dict) and "config_name" in entry]


def _data_files(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    files = entry.get("data_files", [])
    if isinstance(files, str):
        yield "test", files
        return
    if isinstance(files, dict):
        yield from files.items()
        return
    for one in files:
        if isinstance(one, dict) and "path" in one:
            yield str(one.get("split", "test")), one["path"]
        elif isinstance(one, str):
            yield "test", one


def _by_folder(folder: Path) -> dict[str, dict[str, list[Path]]]:
    found: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.rglob("*")):
        if not _holds_records(path):
            continue
        inner = path.relative_to(folder)
        stem = inner.name.split(".")[0]
        config = inner.parts[0] if len(inner.parts) > 1 else stem if stem in _PARTS else "default"
        split = _SPLIT.search(str(inner))
        found.setdefault("default" if config == "data" else config, {}).setdefault(
            split[1] if split else "test", []
        ).append(path)
    return found


def _holds_records(path: Path) -> bool:
    return format_of(path) in ("jsonl", "parquet")
