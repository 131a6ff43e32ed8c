"""The tables of a store: their columns, and what stands in a row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from me5.errors import InputError, StoreError
from me5.search.failures import MEND
from me5.search.files import Stamp
from me5.search.settings import StoreSettings
from me5.words import terms

_SETTINGS_KEY = b"me5:settings"
# The index over the vectors is tuned for so many hits.
K = 10
# In the metadata of the column of vectors.
TUNING_KEY = b"me5:tuning"
CALIBRATION_KEY, BACKGROUND_KEY = b"me5:calibration", b"me5:background"
# In the metadata of the files' first column: which table has the passages.
PASSAGES_KEY = "me5:passages"


@dataclass(frozen=True)
class Row:
    """A passage on its way into the store. `key` is the hash of what the model read."""

    id: str
    key: str
    source: str
    version: str
    title: str
    text: str
    start: int
    end: int
    at: int | None
    language: str
    kind: str
    metadata: str
    modified: datetime


@dataclass(frozen=True)
class Tuning:
    """How the index over the vectors is searched.

    Of the partitions that `rows` were divided into, the nearest `probes` are read; `refine` × `K` candidates, or as
    many as are asked for, are compared again by their full vectors.
    """

    probes: int
    refine: int
    rows: int


@dataclass(frozen=True)
class IndexedFile:
    """A file that is completely in the store. `problems` are the rows that could not be used: (at, reason)."""

    source: str
    stamp: Stamp
    version: str
    passages: int
    problems: tuple[tuple[int | None, str], ...] = ()


def _key(name: str) -> pa.Field:
    """A column of strings that is the primary key, as Lance's format writes it."""
    return pa.field(name, pa.string(), nullable=False, metadata={"lance-schema:unenforced-primary-key:position": "1"})


FILES = pa.schema(
    [
        _key("source"),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("version", pa.string()),
        pa.field("passages", pa.int64()),
        pa.field("problems", pa.string()),
    ]
)
ROOTS = pa.schema([_key("name"), pa.field("path", pa.string())])
# The terms of title and text, with a space between two. Only a builder of the index reads them, and all in a row, so
# that they are compressed in large chunks: 35 MB of 83 in 200,000 passages, each by itself 46. Larger ones than these
# are not for every version of the format.
_CHUNKED = {
    "compression": "zstd",
    "compression-level": "9",
    "structural-encoding": "miniblock",
    "minichunk-size": "16384",
}
WORDS = pa.field("words", pa.string(), metadata={f"lance-encoding:{name}": value for name, value in _CHUNKED.items()})
WORDS_OF_ID = pa.schema([_key("id"), WORDS])
# Columns that stores of an older me5 lack.
_LATER = ("problems", "words")


def passages_of(settings: StoreSettings) -> pa.Schema:
    """The columns of the passages, with the settings of the store."""
    strings = [pa.field(name, pa.string()) for name in ("key", "source", "version", "title", "text")]
    return pa.schema(
        [
            _key("id"),
            *strings,
            pa.field("start", pa.int64()),
            pa.field("end", pa.int64()),
            pa.field("at", pa.int64()),
            pa.field("language", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("metadata", pa.json_(pa.string())),
            pa.field("modified", pa.timestamp("us", "UTC")),
            WORDS,
            pa.field("vector", pa.list_(pa.float32(), settings.dim)),
        ],
        metadata={_SETTINGS_KEY: settings.to_json().encode()},
    )


def words_of(title: str, text: str) -> str:
    """What a passage is found by, as the column of its words has it."""
    return " ".join(terms(f"{title} {text}"))


def read_settings(uri: str, passages: Any) -> StoreSettings:
    """How the store was made. Raises `InputError` for another's database."""
    kept = (passages.schema.metadata or {}).get(_SETTINGS_KEY)
    if kept is None:
        raise InputError(f"{uri} is a LanceDB database, but not a store that me5 made; choose another place")
    return StoreSettings.from_json(kept.decode("utf-8", "replace"))


def named_passages(files: pa.Schema) -> str:
    """Which table has the passages, by the schema of the files: another one after every migration."""
    kept = files.field(0).metadata or {}
    return str(kept.get(PASSAGES_KEY.encode(), b"passages").decode())


def number_of(table: str) -> int:
    """Which of the tables of passages it is, from 1; 0 for another table."""
    name, _, number = table.partition("-")
    return int(number or 1) if name == "passages" and (number.isdecimal() or not number) else 0


def check_tables(uri: str, passages: Any, files: Any, settings: StoreSettings) -> None:
    """Raise `StoreError` for tables that are not those of these settings."""
    for table, schema in ((passages, passages_of(settings)), (files, FILES)):
        for field in schema:
            found = table.schema.field(field.name) if field.name in table.schema.names else None
            if found is None and field.name not in _LATER:
                raise StoreError(f"{uri} cannot be opened as a store: a table lacks the column {field.name!r}. {MEND}")
            # JSON is kept in a form of Lance's own.
            if found is not None and found.type != field.type and field.name != "metadata":
                raise StoreError(
                    f"{uri} cannot be opened as a store: its column {field.name!r} is {found.type}, expected "
                    f"{field.type}. {MEND}"
                )


def indexed_file(row: Mapping[str, Any]) -> IndexedFile:
    """A row of the files."""
    problems = json.loads(row.get("problems") or "[]")
    return IndexedFile(
        row["source"], Stamp(row["size"], row["mtime_ns"]), row["version"], row["passages"],
        tuple((at, reason) for at, reason in problems),
    )  # fmt: skip
