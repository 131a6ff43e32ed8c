"""The documents of a store, whole again from their passages."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from me5.search.conditions import any_of
from me5.search.index import Index

# Names that are looked up at once.
_NAMES = 500


class Stored(NamedTuple):
    """A document by its name. White space between two passages is not stored, and made up."""

    name: str
    text: str
    metadata: dict[str, Any]


def stored(index: Index, names: Iterable[str] | None = None) -> Iterator[Stored]:
    """The documents of these names that are there, or all of them."""
    if names is None:
        yield from _whole(index.store.snapshot().rows())
        return
    listed = list(dict.fromkeys(names))
    for at in range(0, len(listed), _NAMES):
        yield from _whole(index.store.snapshot().rows(any_of("source", listed[at : at + _NAMES])))


def metadata_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a row of the store."""
    metadata: dict[str, Any] = json.loads(row["metadata"] or "{}")
    return metadata


def _whole(rows: list[dict[str, Any]]) -> Iterator[Stored]:
    for name, group in groupby(rows, key=lambda row: row["source"]):
        passages = list(group)
        text, end = "", None
        for passage in passages:
            gap = 0 if end is None else passage["start"] - end
            text += (" " if gap == 1 else "\n" * gap) + passage["text"]
            end = passage["end"]
        yield Stored(name, text, metadata_of(passages[0]))
