"""SimLM's JSONL: {"query_id", "query", "positives": {"doc_id": […], "score": […]}, "negatives": …} and its passages.

Passages are {"id", "contents", "title"}, given beside; all of them become documents. Scores are a teacher's.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from me5.data.readers.reading import Corpus, Reading, listed, numbers, relation
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import Row

NAME = "simlm"


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the first record looks like this format."""
    return isinstance(row.get("positives"), dict) and "doc_id" in row["positives"]


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some files, passages among them."""
    return Corpus("passage", reading).and_rows(paths, recognises, _items)


def _items(reading: Reading, corpus: Corpus, source: str, row: Row) -> Iterator[Item]:
    query = reading.query(row.get("query"))
    yield query
    for kind, key in (("positive", "positives"), ("negative", "negatives")):
        group = row.get(key) or {}
        if not isinstance(group, dict):
            raise InputError(f"expected {key!r} as {{doc_id: […], score: […]}}, got {group!r:.60}")
        names = listed(group, "doc_id", needed=False)
        scores = numbers(group["score"], len(names)) if group.get("score") else [None] * len(names)
        for name, score in zip(names, scores, strict=True):
            document = corpus.id_of(name)
            yield from relation(reading, query.id, document, kind=kind, source=source, score=score)  # type: ignore[arg-type]
