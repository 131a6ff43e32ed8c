"""The store: LanceDB tables in a folder or at an object-store URL. The only place that knows LanceDB.

    passages   a row per passage: text, source, place, language, metadata, vector
    files      a row per file that is completely indexed: what it looked like, the version of its passages, its problems
    roots      a row per folder or file that was indexed by name: where it was last seen

Writers need no lock. A passage's id follows from its file's content and its place there, and is declared the primary
key: of two writers that insert the same one at the same time, the second is refused by the commit and tries again. A
reader sees every commit whole or not at all.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS, IvfFlat, IvfRq, IvfSq
from lancedb.query import FullTextOperator, MultiMatchQuery

from me5.errors import InputError, Me5Error, StoreError
from me5.search.conditions import Condition, quoted
from me5.search.hits import COLUMNS
from me5.search.schema import (
    FILES,
    MEND,
    ROOTS,
    IndexedFile,
    Row,
    Tuning,
    check_tables,
    indexed_file,
    passages_of,
    read_settings,
)
from me5.search.settings import StoreSettings
from me5.vectors import Float32

T = TypeVar("T")
# What LanceDB and Arrow raise, about damaged files, full disks and filters alike.
_FAILURES = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException)
_TUNING_KEY = b"me5:tuning"
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


def _reading(method: Callable[..., T]) -> Callable[..., T]:
    """A method that reads from the store: what LanceDB says of damaged files is told in one sentence."""

    @wraps(method)
    def told(store: "Store", *arguments: Any, **options: Any) -> T:
        try:
            return method(store, *arguments, **options)
        except (Me5Error, TimeoutError):
            raise
        except _FAILURES as error:
            raise StoreError(f"{store.uri} cannot be read: {_reason(error)}. {MEND}") from error

    return told


class Store:
    """An open store. `passages`, `files` and `roots` are its LanceDB tables; older stores have no `roots`."""

    def __init__(self, uri: str, connection: Any, tables: Iterable[str]) -> None:
        self.uri = uri
        self._connection = connection
        self.passages = connection.open_table("passages")
        self.settings = read_settings(uri, self.passages)
        self.files = connection.open_table("files")
        check_tables(uri, self.passages, self.files, self.settings)
        self._roots = connection.open_table("roots") if "roots" in tables else None

    @classmethod
    def open(cls, uri: str, storage_options: Mapping[str, str] | None = None) -> "Store | None":
        """The store at `uri`, or None where there is none."""
        if "://" not in uri and not Path(uri).is_dir():
            return None
        try:
            connection = _connect(uri, storage_options)
            names = _tables(connection)
            return cls(uri, connection, names) if {"passages", "files"} <= names else None
        except Me5Error:
            raise
        except _FAILURES as error:
            raise StoreError(f"{uri} cannot be opened as a store: {_reason(error)}. {MEND}") from error

    @classmethod
    def create(cls, uri: str, settings: StoreSettings, storage_options: Mapping[str, str] | None = None) -> "Store":
        """A new store; where another writer was faster, the store that it made."""
        if "://" not in uri and Path(uri).exists() and not Path(uri).is_dir():
            raise InputError(f"{uri} is a file, expected a folder or an object-store URL")
        try:
            connection = _connect(uri, storage_options)
            for name, schema in (("roots", ROOTS), ("files", FILES), ("passages", passages_of(settings))):
                _make(connection, name, schema)
            return cls(uri, connection, ("roots",))
        except Me5Error:
            raise
        except _FAILURES as error:
            raise StoreError(f"{uri} cannot be made: {_reason(error)}") from error

    def add(self, rows: Sequence[Row], vectors: Float32) -> int:
        """Insert passages and their vectors (rows, dim), and tell how many were not there yet."""
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in Row.__dataclass_fields__}
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.settings.dim)
        metadata = pa.array(columns["metadata"], pa.string())
        columns["metadata"] = pa.ExtensionArray.from_storage(pa.json_(pa.string()), metadata)
        table = pa.table(columns, schema=passages_of(self.settings))

        def write() -> int:
            return int(self.passages.merge_insert("id").when_not_matched_insert_all().execute(table).num_inserted_rows)

        return self._committed(write)

    def finish(self, done: Sequence[IndexedFile], replaced: Mapping[str, str]) -> None:
        """Record files as completely indexed, and drop the passages of other versions than those of `replaced`."""
        for source, version in replaced.items():
            self.delete_passages(f"source = {quoted(source)} AND version != {quoted(version)}")
        if not done:
            return
        columns = {
            "source": [file.source for file in done],
            "size": [file.stamp.size for file in done],
            "mtime_ns": [file.stamp.mtime_ns for file in done],
            "version": [file.version for file in done],
            "passages": [file.passages for file in done],
            "problems": [json.dumps(file.problems) if file.problems else "" for file in done],
        }
        table = pa.table(columns, schema=FILES)

        def write() -> None:
            self.files.merge_insert("source").when_matched_update_all().when_not_matched_insert_all().execute(table)

        self._committed(write)

    def remove(self, sources: Sequence[str]) -> int:
        """Drop files with all their passages, and tell how many passages that were."""
        dropped = 0
        for at in range(0, len(sources), 500):
            listed = ", ".join(map(quoted, sources[at : at + 500]))
            dropped += self.delete_passages(f"source IN ({listed})")
            self._committed(partial(self.files.delete, f"source IN ({listed})"))
        return dropped

    def delete_passages(self, where: str) -> int:
        """Drop passages by SQL of our own, and tell how many."""
        return int(self._committed(lambda: self.passages.delete(where)).num_deleted_rows)

    @_reading
    def known_files(self) -> dict[str, IndexedFile]:
        """Every completely indexed file, by source."""
        return {row["source"]: indexed_file(row) for row in self.files.to_arrow().to_pylist()}

    @_reading
    def roots(self) -> dict[str, str]:
        """Where each folder or file that was indexed by name was last seen, by its name."""
        rows = [] if self._roots is None else self._roots.to_arrow().to_pylist()
        return {row["name"]: row["path"] for row in rows}

    def add_roots(self, roots: Mapping[str, str], *, moved: bool = False) -> None:
        """Remember roots by name. Of two writers with the same new name the first one has it: look which it is."""
        if self._roots is None:
            self._committed(lambda: _make(self._connection, "roots", ROOTS))
            self._roots = self._connection.open_table("roots")
        kept = self._roots
        table = pa.table({"name": list(roots), "path": list(roots.values())}, schema=ROOTS)

        def write() -> None:
            merge = kept.merge_insert("name").when_not_matched_insert_all()
            (merge.when_matched_update_all() if moved else merge).execute(table)

        self._committed(write)

    def relocate(self, path: str, name: str) -> None:
        """Call files by their root where an older me5 called them by their absolute paths."""
        where = f"source = {quoted(path)} OR starts_with(source, {quoted(path + '/')})"
        values = {"source": f"concat({quoted(name)}, substr(source, {len(path) + 1}))"}
        for table in (self.passages, self.files):
            if table.count_rows(where):
                self._committed(partial(table.update, where=where, values_sql=values))

    def upgrade(self) -> None:
        """Add to the tables of an older me5 what they lack, before something is written."""
        if "problems" not in self.files.schema.names:
            self._committed(self._add_problems)

    def _add_problems(self) -> None:
        if "problems" not in self.files.schema.names:  # another writer may have been faster
            self.files.add_columns({"problems": "''"})

    @_reading
    def versions(self) -> dict[str, set[str]]:
        """The versions of every source that passages are there of, files that are not complete among them."""
        found: dict[str, set[str]] = {}
        for batch in self.passages.search().select(["source", "version"]).to_batches():
            for row in pa.Table.from_batches([batch]).group_by(["source", "version"]).aggregate([]).to_pylist():
                found.setdefault(row["source"], set()).add(row["version"])
        return found

    @_reading
    def present(self, source: str, keys: Iterable[str]) -> tuple[set[str], dict[str, list[float]]]:
        """Of passages of a source: the ids that are there, and the vectors by the key of what the model read."""
        listed = ", ".join(map(quoted, keys))
        query = self.passages.search().where(f"source = {quoted(source)} AND key IN ({listed})")
        rows = query.select(["id", "key", "vector"]).to_arrow()
        ids = set(rows["id"].to_pylist())
        return ids, dict(zip(rows["key"].to_pylist(), rows["vector"].to_pylist(), strict=True))

    @_reading
    def count(self) -> int:
        """The number of passages."""
        return int(self.passages.count_rows())

    @_reading
    def counts(self, column: str) -> dict[str, int]:
        """How many passages there are of every value of a column, most frequent first."""
        rows = self.passages.search().select([column]).to_arrow().group_by(column).aggregate([([], "count_all")])
        found = {row[column]: row["count_all"] for row in rows.to_pylist()}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @_reading
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

    @_reading
    def rows(self, where: Condition | None = None, *, vectors: bool = False) -> list[dict[str, Any]]:
        """All passages that a filter lets through, by source and in their order; with their vectors where asked."""
        query = self.passages.search().select([*COLUMNS, "vector"] if vectors else [*COLUMNS])
        return sorted(_rows(query, where, None), key=lambda row: (row["source"], row["at"] or 0, row["start"]))

    @_reading
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
    @_reading
    def tuning(self) -> "Tuning | None":
        """How the index over the vectors is searched; None where there is none."""
        kept = self.passages.schema.field("vector").metadata or {}
        return Tuning(**json.loads(kept[_TUNING_KEY])) if _TUNING_KEY in kept else None

    def index_vectors(self) -> None:
        """Build the index over the vectors anew, of the kind that the quantization asks for."""
        config = _INDEXES[self.settings.quantization](distance_type="cosine")
        self._committed(lambda: self.passages.create_index("vector", config=config, replace=True))

    def keep_tuning(self, tuning: "Tuning") -> None:
        """Remember how the index is to be searched."""
        metadata = {_TUNING_KEY.decode(): json.dumps(asdict(tuning))}
        self._committed(lambda: self.passages.update_field_metadata({"path": "vector", "metadata": metadata}))

    def index_text(self) -> None:
        """Build the full-text indexes where there are none; `tidy` keeps them up to date."""
        for column in _TEXTS:
            if not self._indexed(column):
                self._committed(partial(self.passages.create_index, column, config=_NGRAMS))

    @_reading
    def has_text_index(self) -> bool:
        """Whether the full text can be searched."""
        return all(map(self._indexed, _TEXTS))

    def _indexed(self, column: str) -> bool:
        return any(index.columns == [column] for index in self.passages.list_indices())

    @_reading
    def index_bytes(self, column: str) -> int:
        """The size of the index over a column, 0 where there is none."""
        return sum(index.size_bytes or 0 for index in self.passages.list_indices() if index.columns == [column])

    @_reading
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
            self._committed(partial(table.optimize, cleanup_older_than=_KEEP_VERSIONS))

    def _committed(self, write: Callable[[], T]) -> T:
        """The result of a write; one that another writer's commit has overtaken is done again on what is there now."""
        for attempt in range(_ATTEMPTS):
            try:
                return write()
            except _FAILURES as error:
                if "conflict" not in str(error).lower() or attempt == _ATTEMPTS - 1:
                    raise StoreError(f"{self.uri} cannot be written to: {_reason(error)}") from error
                sleep(random.uniform(0, 0.1 * 2**attempt))
        raise AssertionError("unreachable")

    @_reading
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


def _connect(uri: str, storage_options: Mapping[str, str] | None) -> Any:
    # 0: every read sees what other processes have written.
    options = dict(storage_options) if storage_options else None
    return lancedb.connect(uri, read_consistency_interval=timedelta(0), storage_options=options)


def _tables(connection: Any) -> set[str]:
    return set(connection.list_tables().tables or ())


def _make(connection: Any, name: str, schema: pa.Schema) -> None:
    """Make a table, unless another writer has just made it."""
    try:
        connection.create_table(name, schema=schema)
    except _FAILURES:
        if name not in _tables(connection):
            raise


def _reason(error: BaseException) -> str:
    """What LanceDB says, without the places in its own source."""
    told = str(error).split(", /")[0].removeprefix("lance error: ")
    return re.sub(r"^LanceError\(\w+\): ", "", told) or type(error).__name__
