"""The store: two LanceDB tables in a folder or at an object-store URL. The only place that knows LanceDB.

    passages   a row per passage: text, source, place, language, metadata, vector
    files      a row per file that is completely indexed: what it looked like, and the version of its passages

Writers need no lock. A passage's id follows from its file's content and its place there, and is declared the primary
key: of two writers that insert the same one at the same time, the second is refused by the commit and tries again. A
reader sees every commit whole or not at all.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS, IvfFlat, IvfRq, IvfSq
from lancedb.query import FullTextOperator, MultiMatchQuery

from me5.embedder import Float32
from me5.errors import InputError
from me5.search.conditions import Condition, quoted
from me5.search.files import Stamp
from me5.search.settings import Settings

_SETTINGS_KEY, _TUNING_KEY = b"me5:settings", b"me5:tuning"
# Old versions of the tables are kept this long for whoever still reads or writes on them.
_KEEP_VERSIONS = timedelta(minutes=5)
# LanceDB tries again by itself where it can rebase a write; the others wait 0.1 to 6 seconds in between.
_ATTEMPTS = 8
# Built in a hundredth of the time of a graph (HNSW), and with a higher recall at the same speed (100,000 vectors of
# 256).
_INDEXES = {"none": IvfFlat, "int8": IvfSq, "binary": IvfRq}
# Pairs and triples of characters find words in every script, with or without spaces, and most spellings of them.
_NGRAMS = FTS(base_tokenizer="ngram", ngram_min_length=2, ngram_max_length=3, stem=False, remove_stop_words=False)
_TEXTS = ("title", "text")
COLUMNS = ("id", "source", "title", "text", "start", "end", "at", "language", "kind", "metadata")


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

    Of the partitions that `rows` were divided into, the nearest `probes` are read; `refine` times as many candidates as
    asked for are compared again by their full vectors.
    """

    probes: int
    refine: int
    rows: int


@dataclass(frozen=True)
class IndexedFile:
    """A file that is completely in the store."""

    source: str
    stamp: Stamp
    version: str
    passages: int


class Store:
    """An open store. `passages` and `files` are its LanceDB tables."""

    def __init__(self, uri: str, passages: Any, files: Any) -> None:
        self.uri = uri
        self.passages = passages
        self.files = files
        self.settings = _read_settings(uri, passages)

    @classmethod
    def open(cls, uri: str, storage_options: Mapping[str, str] | None = None) -> "Store | None":
        """The store at `uri`, or None where there is none."""
        if "://" not in uri and not Path(uri).is_dir():
            return None
        try:
            connection = _connect(uri, storage_options)
            names = set(connection.list_tables().tables or ())
            if not {"passages", "files"} <= names:
                return None
            return cls(uri, connection.open_table("passages"), connection.open_table("files"))
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{uri} cannot be opened as a store: {error}") from error

    @classmethod
    def create(cls, uri: str, settings: Settings, storage_options: Mapping[str, str] | None = None) -> "Store":
        """A new store; where another writer was faster, the store that it made."""
        if "://" not in uri and Path(uri).exists() and not Path(uri).is_dir():
            raise InputError(f"{uri} is a file, expected a folder or an object-store URL")
        try:
            connection = _connect(uri, storage_options)
            files = _made(connection, "files", _FILES)
            passages = _made(connection, "passages", _passages(settings))
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{uri} cannot be made: {error}") from error
        return cls(uri, passages, files)

    def add(self, rows: Sequence[Row], vectors: Float32) -> int:
        """Insert passages and their vectors (rows, dim), and tell how many were not there yet."""
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in Row.__dataclass_fields__}
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.settings.dim)
        metadata = pa.array(columns["metadata"], pa.string())
        columns["metadata"] = pa.ExtensionArray.from_storage(pa.json_(pa.string()), metadata)
        table = pa.table(columns, schema=_passages(self.settings))
        merge = self.passages.merge_insert("id").when_not_matched_insert_all()
        return int(_committed(lambda: merge.execute(table)).num_inserted_rows)

    def finish(self, done: Sequence[IndexedFile], replaced: Iterable[str] = ()) -> None:
        """Record files as completely indexed, and drop the passages of older versions of the `replaced` sources."""
        if not done:
            return
        versions = {file.source: file.version for file in done}
        for source in replaced:
            self.delete_passages(f"source = {quoted(source)} AND version != {quoted(versions[source])}")
        columns = {
            "source": [file.source for file in done],
            "size": [file.stamp.size for file in done],
            "mtime_ns": [file.stamp.mtime_ns for file in done],
            "version": [file.version for file in done],
            "passages": [file.passages for file in done],
        }
        merge = self.files.merge_insert("source").when_matched_update_all().when_not_matched_insert_all()
        _committed(lambda: merge.execute(pa.table(columns, schema=_FILES)))

    def remove(self, sources: Sequence[str]) -> int:
        """Drop files with all their passages, and tell how many passages that were."""
        dropped = 0
        for at in range(0, len(sources), 500):
            listed = ", ".join(map(quoted, sources[at : at + 500]))
            dropped += self.delete_passages(f"source IN ({listed})")
            _committed(partial(self.files.delete, f"source IN ({listed})"))
        return dropped

    def delete_passages(self, where: str) -> int:
        """Drop passages by SQL of our own, and tell how many."""
        return int(_committed(lambda: self.passages.delete(where)).num_deleted_rows)

    def known_files(self) -> dict[str, IndexedFile]:
        """Every completely indexed file, by source."""
        return {
            row["source"]: IndexedFile(
                row["source"], Stamp(row["size"], row["mtime_ns"]), row["version"], row["passages"]
            )
            for row in self.files.to_arrow().to_pylist()
        }

    def versions(self) -> dict[str, set[str]]:
        """The versions of every source that passages are there of, files that are not complete among them."""
        found: dict[str, set[str]] = {}
        for batch in self.passages.search().select(["source", "version"]).to_batches():
            for row in pa.Table.from_batches([batch]).group_by(["source", "version"]).aggregate([]).to_pylist():
                found.setdefault(row["source"], set()).add(row["version"])
        return found

    def present(self, source: str, keys: Iterable[str]) -> tuple[set[str], dict[str, list[float]]]:
        """Of passages of a source: the ids that are there, and the vectors by the key of what the model read."""
        listed = ", ".join(map(quoted, keys))
        query = self.passages.search().where(f"source = {quoted(source)} AND key IN ({listed})")
        rows = query.select(["id", "key", "vector"]).to_arrow()
        ids = set(rows["id"].to_pylist())
        return ids, dict(zip(rows["key"].to_pylist(), rows["vector"].to_pylist(), strict=True))

    def count(self) -> int:
        """The number of passages."""
        return int(self.passages.count_rows())

    def counts(self, column: str) -> dict[str, int]:
        """How many passages there are of every value of a column, most frequent first."""
        rows = self.passages.search().select([column]).to_arrow().group_by(column).aggregate([([], "count_all")])
        found = {row[column]: row["count_all"] for row in rows.to_pylist()}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def nearest(
        self,
        vector: Float32,
        k: int,
        *,
        where: Condition | None = None,
        exact: bool = False,
        tuning: "Tuning | None" = None,
        seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The `k` passages whose vectors are nearest to `vector` (dim,), as rows with `_distance`, 1 - cosine.

        `tuning` None is what the store keeps; `exact` compares with every vector. Raises `TimeoutError` after
        `seconds`, and `InputError` for a filter that meets metadata of another kind.
        """
        query = self._tuned(self.passages.search(vector, vector_column_name="vector"), exact, tuning or self.tuning)
        return _rows(query.limit(k).select([*COLUMNS, "_distance"]), where, seconds)

    def matching(
        self, text: str, k: int, *, where: Condition | None = None, seconds: float | None = None
    ) -> list[dict[str, Any]]:
        """The `k` passages whose full text matches best, as rows with `_score`, BM25. Raises as `nearest`."""
        words = MultiMatchQuery(text, list(_TEXTS), boosts=None, operator=FullTextOperator.OR)
        query = self.passages.search(words, query_type="fts").limit(k).select([*COLUMNS, "_score"])
        return _rows(query, where, seconds)

    @staticmethod
    def _tuned(query: Any, exact: bool, tuning: "Tuning | None") -> Any:
        query = query.distance_type("cosine")
        if exact:
            return query.bypass_vector_index()
        return query if tuning is None else query.nprobes(tuning.probes).refine_factor(tuning.refine)

    @property
    def tuning(self) -> "Tuning | None":
        """How the index over the vectors is searched; None where there is none."""
        kept = self.passages.schema.field("vector").metadata or {}
        return Tuning(**json.loads(kept[_TUNING_KEY])) if _TUNING_KEY in kept else None

    def index_vectors(self) -> None:
        """Build the index over the vectors anew, of the kind that the quantization asks for."""
        config = _INDEXES[self.settings.quantization](distance_type="cosine")
        _committed(lambda: self.passages.create_index("vector", config=config, replace=True))

    def keep_tuning(self, tuning: "Tuning") -> None:
        """Remember how the index is to be searched."""
        metadata = {_TUNING_KEY.decode(): json.dumps(asdict(tuning))}
        _committed(lambda: self.passages.update_field_metadata({"path": "vector", "metadata": metadata}))

    def index_text(self) -> None:
        """Build the full-text indexes where there are none; `tidy` keeps them up to date."""
        for column in _TEXTS:
            if not self._indexed(column):
                _committed(partial(self.passages.create_index, column, config=_NGRAMS))

    def has_text_index(self) -> bool:
        """Whether the full text can be searched."""
        return all(map(self._indexed, _TEXTS))

    def _indexed(self, column: str) -> bool:
        return any(index.columns == [column] for index in self.passages.list_indices())

    def index_bytes(self, column: str) -> int:
        """The size of the index over a column, 0 where there is none."""
        return sum(index.size_bytes or 0 for index in self.passages.list_indices() if index.columns == [column])

    def sample(self, count: int, seed: int = 0) -> list[dict[str, Any]]:
        """Passages drawn at random: rows of title and text."""
        rows = self.count()
        offsets = np.random.default_rng(seed).choice(rows, min(count, rows), replace=False)
        drawn: list[dict[str, Any]] = (
            self.passages.take_offsets(sorted(offsets.tolist())).select(["title", "text"]).to_list()
        )
        return drawn

    def tidy(self) -> None:
        """Put the small pieces that were written together, bring indexes up to date, and let go of old versions."""
        for table in (self.files, self.passages):
            _committed(partial(table.optimize, cleanup_older_than=_KEEP_VERSIONS))

    def size(self) -> int:
        """Bytes on disk; 0 for a store that is elsewhere."""
        return (
            0 if "://" in self.uri else sum(path.stat().st_size for path in Path(self.uri).rglob("*") if path.is_file())
        )


def _rows(query: Any, where: Condition | None, seconds: float | None) -> list[dict[str, Any]]:
    """What a query finds. The text of LanceDB's error is all there is to tell its kinds by."""
    # LanceDB looks at the clock between two batches of rows.
    timeout = None if seconds is None else timedelta(seconds=max(seconds, 0))
    try:
        rows: list[dict[str, Any]] = (query if where is None else query.where(str(where))).to_list(timeout=timeout)
    except (RuntimeError, ValueError, OSError) as error:
        if "Query timeout" in str(error):
            raise TimeoutError("the store did not answer in time") from error
        kind = str(error).partition("Failed to convert to ")[2].partition(":")[0]
        if where is None or not kind:
            raise
        raise InputError(
            f"the filter {where} cannot be used: some passage has something in that field of its metadata that is no "
            f"{kind}; json_get_string reads strings, numbers, true and false"
        ) from error
    return rows


def _committed(write: Callable[[], Any]) -> Any:
    """The result of a write; one that another writer's commit has overtaken is done again on what is there now."""
    for attempt in range(_ATTEMPTS):
        try:
            return write()
        except (RuntimeError, OSError, ValueError) as error:
            if "conflict" not in str(error).lower() or attempt == _ATTEMPTS - 1:
                raise
            sleep(random.uniform(0, 0.1 * 2**attempt))
    raise AssertionError("unreachable")


def _connect(uri: str, storage_options: Mapping[str, str] | None) -> Any:
    # 0: every read sees what other processes have written.
    options = dict(storage_options) if storage_options else None
    return lancedb.connect(uri, read_consistency_interval=timedelta(0), storage_options=options)


def _made(connection: Any, name: str, schema: pa.Schema) -> Any:
    """A new table, or the one that another writer has just made."""
    try:
        return connection.create_table(name, schema=schema)
    except (OSError, RuntimeError, ValueError):
        if name not in (connection.list_tables().tables or ()):
            raise
        return connection.open_table(name)


def _key(name: str) -> pa.Field:
    """A column of strings that is the primary key, as Lance's format writes it."""
    return pa.field(name, pa.string(), nullable=False, metadata={"lance-schema:unenforced-primary-key:position": "1"})


_FILES = pa.schema(
    [
        _key("source"),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("version", pa.string()),
        pa.field("passages", pa.int64()),
    ]
)


def _passages(settings: Settings) -> pa.Schema:
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
            pa.field("vector", pa.list_(pa.float32(), settings.dim)),
        ],
        metadata={_SETTINGS_KEY: settings.to_json().encode()},
    )


def _read_settings(uri: str, passages: Any) -> Settings:
    kept = (passages.schema.metadata or {}).get(_SETTINGS_KEY)
    if kept is None:
        raise InputError(f"{uri} is a LanceDB database, but not a store that me5 made; choose another place")
    return Settings.from_json(kept.decode())
