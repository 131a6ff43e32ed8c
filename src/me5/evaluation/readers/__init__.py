"""Data in files -> tasks. `read` recognises what a path holds, and goes through folders of folders in sorted order.

a folder with corpus.jsonl         retrieval in BEIR's form
xxx-eng.tsv, or any two columns    parallel sentences: sentence TAB sentence
three columns                      similarity: score TAB sentence TAB sentence
"""

from pathlib import Path

from me5.errors import InputError
from me5.evaluation.readers import beir, columns
from me5.evaluation.task import Task


def read(path: Path) -> list[Task]:
    """All tasks that a file or folder holds. Raises `InputError` where it holds none, naming what was looked for."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    tasks = _read(path)
    if not tasks:
        raise InputError(
            f"{path} holds no evaluation data: expected a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv), "
            "a folder of train.tsv and test.tsv (label TAB text), "
            "or .tsv files of two columns (parallel sentences) or three (score, sentence, sentence)"
        )
    return tasks


def _read(path: Path) -> list[Task]:
    if path.is_file():
        return [columns.read(path)] if path.suffix == ".tsv" else []
    if (path / "corpus.jsonl").exists():
        return [beir.read(path)]
    if (path / "train.tsv").exists():
        return [columns.read_labelled(path)]
    return [task for inner in sorted(path.iterdir()) for task in _read(inner)]
