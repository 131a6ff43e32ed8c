"""Hits: what a search returns, and what a store keeps of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

# What the place of a document in its file is called.
_PLACES: Mapping[str, str] = {
    "pdf": "page", "epub": "chapter", "pptx": "slide", "xlsx": "sheet", "email": "message", "jsonl": "line",
    "csv": "line", "parquet": "row",
}  # fmt: skip


@dataclass(frozen=True)
class Copy:
    """Another passage with nearly the same text: its source, and its place in words."""

    source: str
    place: str


@dataclass(frozen=True)
class Hit:
    """One passage that was found.

    `score` is what ranks it: the weighted mean of what vectors and words say, 0 to 1; by vectors alone the cosine with
    the question (E5 models put even unrelated texts near 0.7), by words alone BM25. `start` and `end` count characters
    of the document's text, `at` is the page, line or row of the document in `source`. `best` are the ends of the
    sentence within `text` that answers best, where asked. `also` are the passages further down that say the same.

    `cosine` is that of passage and question, where the search looked at it. `probability` is what a calibration makes
    of it, `percentile` the per cent of random pairs in these languages that lie below it, each where the store or its
    model has one (docs/calibration.md).
    """

    score: float
    source: str
    title: str
    text: str
    start: int
    end: int
    at: int | None
    language: str
    kind: str
    metadata: Mapping[str, Any]
    id: str
    best: tuple[int, int] | None = None
    also: tuple[Copy, ...] = ()
    cosine: float | None = None
    probability: float | None = None
    percentile: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], score: float, cosine: float | None = None) -> "Hit":
        """A row of the store, with `COLUMNS`."""
        stored = {name: row[name] for name in COLUMNS}
        return cls(score=score, cosine=cosine, **{**stored, "metadata": json.loads(row["metadata"] or "{}")})

    @property
    def place(self) -> str:
        """Source, and page, line or row, in words; of subtitles the time."""
        if self.at is None:
            return self.source
        if self.kind == "subtitles":
            return f"{self.source}, {self.at // 3600}:{self.at // 60 % 60:02}:{self.at % 60:02}"
        return f"{self.source}, {_PLACES.get(self.kind, 'part')} {self.at:,}"

    def as_dict(self) -> dict[str, Any]:
        """Every field, and `place`."""
        return {**asdict(self), "place": self.place}

    @property
    def best_sentence(self) -> str:
        """The sentence that answers best, or nothing where none was looked for."""
        return "" if self.best is None else self.text[slice(*self.best)]


# What a store keeps of a hit; the others are of the search.
_OF_THE_SEARCH = ("score", "best", "also", "cosine", "probability", "percentile")
COLUMNS = tuple(field.name for field in fields(Hit) if field.name not in _OF_THE_SEARCH)
