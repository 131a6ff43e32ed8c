"""Nomic's (contrastors') folder of shard-*.jsonl.gz: {"query", "document"[, "negatives" or "negative"]}."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from me5.data.contract import Example
from me5.data.readers.reading import Reading, listed
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import Row

NAME = "nomic"


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return any(folder.glob("shard-*.jsonl*"))


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some folders, shard by shard."""
    for folder in paths:
        shards = sorted(folder.glob("shard-*.jsonl*")) if folder.is_dir() else [folder]
        if not shards:
            raise InputError(f"{folder} has no shard-*.jsonl.gz")
        for shard in shards:
            convert = partial(_examples, reading, reading.source_of(folder if folder.is_dir() else shard))
            yield from reading.convert(reading.records(shard), convert)


def _examples(reading: Reading, source: str, row: Row) -> Iterator[Example]:
    query = reading.query(row.get("query"))
    yield from reading.examples(query, [row.get("document")], source=source)
    lone = row.get("negative")
    negatives = [lone] if isinstance(lone, str) else listed(row, "negatives", needed=False)
    yield from reading.examples(query, negatives, "negative", source=source)
