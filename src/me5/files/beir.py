"""BEIR's layout of a retrieval collection: corpus.jsonl, queries.jsonl (also compressed) and qrels/SPLIT.tsv."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from me5.errors import InputError
from me5.files.compression import SUFFIXES
from me5.files.lines import lines
from me5.files.place import Place
from me5.files.retrieval import Judgement, judgement
from me5.progress import Advance


def is_one(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return _found(folder, "corpus") is not None


def part(folder: Path, name: Literal["corpus", "queries"]) -> Path:
    """The file of the documents or queries. Raises `InputError` where there is none."""
    if (path := _found(folder, name)) is None:
        raise InputError(f"{folder} needs {name}.jsonl (also {', '.join(SUFFIXES)}) beside qrels/")
    return path


def qrels(folder: Path, split: str) -> Path:
    """The file of a split's judgements, whether it is there or not."""
    return folder / "qrels" / f"{split}.tsv"


def splits(folder: Path) -> list[str]:
    """The splits that have judgements."""
    return sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))


def judgements(path: Path, advance: Advance | None = None) -> Iterator[Judgement]:
    """Every judgement of a file. Raises `FileError` naming the line."""
    for number, line in lines(path, advance=advance):
        fields = line.split("\t")
        if line and not (number == 1 and fields[0] == "query-id"):
            yield judgement(Place(str(path), number), line, fields, "query-id TAB corpus-id TAB number")


def _found(folder: Path, name: str) -> Path | None:
    return next((path for end in ("", *SUFFIXES) if (path := folder / f"{name}.jsonl{end}").exists()), None)
