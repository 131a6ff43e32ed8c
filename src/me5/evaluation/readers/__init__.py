"""Data in files -> tasks. `read` recognises what a path holds, and goes through folders of folders in sorted order.

a folder with corpus.jsonl                    retrieval or reranking in BEIR's form
a folder with topics.… and qrels.…            MIRACL, Mr.TyDi: retrieval in TREC's form
a folder with README.md that lists configs    a dataset as the hub and mteb have them
a folder with train.tsv or train.jsonl        classification
NAME.gold beside two sentence files           parallel sentences in BUCC's form
xxx-eng.tsv, or any two columns               parallel sentences: sentence TAB sentence
a .tsv of three columns                       similarity: score TAB sentence TAB sentence
.jsonl or .parquet                            recognised by its columns
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from me5.errors import InputError
from me5.evaluation.languages import of_pair
from me5.evaluation.readers import beir, bucc, columns, dataset, records, trec
from me5.evaluation.task import Classification, Clustering, Similarity, Subset, Task
from me5.files import beir as layout
from me5.files.records import format_of


def read(path: Path) -> list[Task]:
    """All tasks that a file or folder holds. Raises `InputError` where it holds none, naming what was looked for."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    # A task is named after the folder of its file, which a bare name leaves out.
    tasks = _read(path if path.parent.name else path.absolute())
    if not tasks:
        raise InputError(
            f"{path} holds no evaluation data: expected a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv), "
            "topics and qrels of MIRACL or Mr.TyDi, a dataset folder with README.md, a folder of train.tsv and "
            "test.tsv (label TAB text), BUCC's .gold, .tsv files of two columns (parallel sentences) or three (score, "
            f"sentence, sentence), or .jsonl or .parquet of the columns {records.COLUMNS}"
        )
    return tasks


def read_all(paths: Iterable[Path]) -> list[Task]:
    """The sets of all paths, to be judged. Raises `InputError` as `read` does, and where figures would say nothing.

    Results are kept by the names of sets, so that of two sets of one name the second would replace the first.
    """
    places: dict[tuple[str, str], Path] = {}
    tasks = []
    for path in paths:
        for task in read(path):
            _check_that_it_tells(task)
            key = (str(task.subset), task.subset.split)
            if key in places:
                where = f"in {path}" if places[key] == path else f"one in {places[key]}, one in {path}"
                raise InputError(
                    f"two sets are called {task.subset}, {where}: name each once, or rename one's file or folder, or "
                    "the folder that it is in"
                )
            places[key] = path
            tasks.append(task)
    return tasks


def _check_that_it_tells(task: Task) -> None:
    values: Sequence[Sequence[object]] = []
    if isinstance(task, Similarity):
        values, what = [task.scores], "pairs have the score"
    elif isinstance(task, Classification):
        values, what = [task.train_labels], "training texts have the label"
    elif isinstance(task, Clustering):
        values, what = list(zip(*task.labels, strict=False)), "texts have the label"
    if values and all(len(set(column)) == 1 for column in values):
        raise InputError(f"{task.subset}: all {what} {values[0][0]}, so that there is nothing to tell apart")


def _read(path: Path) -> list[Task]:
    if path.is_file():
        return _read_file(path)
    if dataset.is_one(path):
        return dataset.read(path)
    if layout.is_one(path):
        return [beir.read(path)]
    if collections := trec.collections(path):
        return [trec.read(collection) for collection in collections]
    if (path / "train.tsv").exists():
        return [columns.read_labelled(path)]
    if (path / "train.jsonl").exists():
        subset = Subset(path.parent.name, path.name, of_pair(path.name))
        return [records.read(subset, [path / "test.jsonl"], [path / "train.jsonl"])]
    return [task for inner in sorted(path.iterdir()) for task in _read(inner)]


def _read_file(path: Path) -> list[Task]:
    if format_of(path) == "tsv":
        return [columns.read(path)]
    if path.suffix == ".gold":
        return [bucc.read(path)]
    if format_of(path) in ("jsonl", "parquet"):
        name = path.name.split(".")[0]
        return [records.read(Subset(path.parent.name, name, of_pair(name)), [path])]
    return []
