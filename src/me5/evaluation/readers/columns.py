"""Tab-separated files: parallel sentences, similarity (score and two sentences), classification (label and text)."""

from math import isfinite, nan
from pathlib import Path

from me5.errors import InputError, counted
from me5.evaluation.languages import of_pair
from me5.evaluation.task import Bitext, Classification, Label, Similarity, Subset
from me5.files.compression import bare_name
from me5.files.lines import lines


def read(path: Path) -> Bitext | Similarity:
    """The task of a file, named after its folder, the subset after the file."""
    name = Path(bare_name(path)).stem
    numbers, rows = _table(path, (2, 3), "two columns (parallel sentences) or three (score and two sentences)")
    subset = Subset(path.parent.name, name, of_pair(name))
    if len(rows[0]) == 2:
        return Bitext(subset, [row[0] for row in rows], [row[1] for row in rows])
    scores = [_number(row[0], path, number) for number, row in zip(numbers, rows, strict=True)]
    return Similarity(subset, [row[1] for row in rows], [row[2] for row in rows], scores)


def read_labelled(folder: Path) -> Classification:
    """The classification task of a folder: train.tsv and test.tsv, each label TAB text."""
    (_, train), (_, test) = (_table(folder / f"{half}.tsv", (2,), "label TAB text") for half in ("train", "test"))
    if train[0] == test[0] and {field.lower() for field in train[0]} == {"label", "text"}:
        raise InputError(
            f"{folder / 'train.tsv'}, line 1: a header, which would count as a text; remove it in both files"
        )
    check_labels({row[0] for row in train}, {row[0] for row in test}, folder / "test.tsv", folder / "train.tsv")
    subset = Subset(folder.parent.name, folder.name, of_pair(folder.name))
    return Classification(
        subset, [row[1] for row in train], [row[0] for row in train], [row[1] for row in test], [row[0] for row in test]
    )


def check_labels(train: set[Label], test: set[Label], tested: Path, learned: Path) -> None:
    """Raise `InputError` where the test set has labels that the train set lacks."""
    if unseen := test - train:
        raise InputError(f"{tested} has labels that {learned.name} lacks: {', '.join(sorted(map(str, unseen)))}")


def _table(path: Path, widths: tuple[int, ...], expected: str) -> tuple[list[int], list[list[str]]]:
    """The line numbers and fields of a file whose lines all have one of the widths."""
    numbered = [(number, line) for number, line in lines(path) if line]
    if not numbered:
        raise InputError(f"{path} is empty")
    rows = [line.split("\t") for _, line in numbered]
    width = len(rows[0])
    for (number, line), row in zip(numbered, rows, strict=True):
        if len(row) != width or width not in widths:
            raise InputError(
                f"{path}, line {number}: {counted(len(row), 'column')} where the first line has {width}; expected "
                f"{expected} throughout, got {line[:60]!r}"
            )
    return [number for number, _ in numbered], rows


def _number(text: str, path: Path, line: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = nan
    if not isfinite(score):
        raise InputError(f"{path}, line {line}: the score {text!r} is not a number")
    return score
