"""Datasets of me5 themselves, so that several become one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from me5.data.contract import TABLES, Dataset
from me5.data.readers.reading import Reading
from me5.data.writing import Item

NAME = "me5"


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return (folder / "dataset.json").exists()


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """All rows of some datasets."""
    for folder in paths:
        dataset = Dataset.open(folder)
        for table in TABLES:
            reading.files.extend(dataset.files[table])
            yield from dataset.items(table)
            reading.advance(sum(path.stat().st_size for path in dataset.files[table]), 0)
