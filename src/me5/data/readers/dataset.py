"""Datasets of me5 themselves, so that several become one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from me5.data.contract import TABLES
from me5.data.dataset import Dataset
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
        files = [path for table in TABLES for path in dataset.files[table]]
        reading.files.extend(files)
        yield from dataset.items()
        reading.advance(sum(path.stat().st_size for path in files), 0)
