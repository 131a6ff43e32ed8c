"""Tab-separated files: parallel sentences, similarity (score and two sentences), classification (label and text)."""

from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.evaluation.task import Bitext, Classification, Similarity, Subset


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of every line that is not empty. Raises `InputError` with the place."""
    if not path.exists():
        raise InputError(f"{path} is missing")
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number}: not UTF-8 ({error})") from error
            if line:
                yield number, line


def read(path: Path) -> Bitext | Similarity:
    """The task of a file, named after its folder, the subset after the file."""
    numbers, rows = _table(path, (2, 3), "two columns (parallel sentences) or three (score and two sentences)")
    subset = Subset(path.parent.name, path.stem, tuple(path.stem.split("-")))
    if len(rows[0]) == 2:
        return Bitext(subset, [row[0] for row in rows], [row[1] for row in rows])
    scores = [_number(row[0], path, number) for number, row in zip(numbers, rows, strict=True)]
    return Similarity(subset, [row[1] for row in rows], [row[2] for row in rows], scores)


def read_labelled(folder: Path) -> Classification:
    """The classification task of a folder: train.tsv and test.tsv, each label TAB text."""
    (_, train), (_, test) = (_table(folder / f"{half}.tsv", (2,), "label TAB text") for half in ("train", "test"))
    unseen = {row[0] for row in test} - {row[0] for row in train}
    if unseen:
        raise InputError(f"{folder / 'test.tsv'} has labels that train.tsv lacks: {', '.join(sorted(unseen))}")
    subset = Subset(folder.parent.name, folder.name, (folder.name,))
    return Classification(
        subset, [row[1] for row in train], [row[0] for row in train], [row[1] for row in test], [row[0] for row in test]
    )


def _table(path: Path, widths: tuple[int, ...], expected: str) -> tuple[list[int], list[list[str]]]:
    """The line numbers and fields of a file whose lines all have one of the widths."""
    numbered = list(lines(path))
    if not numbered:
        raise InputError(f"{path} is empty")
    rows = [line.split("\t") for _, line in numbered]
    width = len(rows[0])
    for (number, line), row in zip(numbered, rows, strict=True):
        if len(row) != width or width not in widths:
            raise InputError(
                f"{path}, line {number}: {len(row)} columns where the first line has {width}; expected {expected} "
                f"throughout, got {line[:60]!r}"
            )
    return [number for number, _ in numbered], rows


def _number(text: str, path: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{path}, line {line}: the score {text!r} is not a number") from error
