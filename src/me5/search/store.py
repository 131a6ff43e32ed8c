"""The store: LanceDB tables in a folder or at an object-store URL.

    passages   a row per passage: text, source, place, language, metadata, vector; `passages-2`, … after a migration
    files      a row per file that is completely indexed: what it looked like, the version of its passages, its problems
    roots      a row per folder or file that was indexed by name: where it was last seen

Writers need no lock. A passage's id follows from its file's content and its place there, and is declared the primary
key: of two writers that insert the same one at the same time, the second is refused by the commit and tries again. A
reader sees every commit whole or not at all.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from lancedb.index import FTS, IvfRq, IvfSq

from me5.errors import InputError, Me5Error, StoreError
from me5.search.conditions import quoted
from me5.search.connecting import Connections, connected, make, tables_of, wait
from me5.search.failures import FAILURES, MEND, reading, reason
from me5.search.files import check_place
from me5.search.schema import (
    FILES,
    PASSAGES_KEY,
    ROOTS,
    TUNING_KEY,
    WORDS,
    IndexedFile,
    Row,
    Tuning,
    check_tables,
    indexed_file,
    named_passages,
    number_of,
    passages_of,
    read_settings,
    words_of,
)
from me5.search.settings import StoreSettings
from me5.search.snapshot import Snapshot, indexed
from me5.vectors import Float32

T = TypeVar("T")
# Old versions of the tables are kept this long for whoever still reads or writes on them.
_KEEP_VERSIONS = timedelta(minutes=5)
STALEST = 240  # seconds; a search on a version that is as old still ends before it is let go of
# LanceDB tries again by itself where it can rebase a write; the others wait 0.1 to 6 seconds in between.
_ATTEMPTS = 8
# Passages per partition of the index over the vectors. Most are read, and each costs by itself: at the same recall 24
# of 8,192 took a fifth less than 49 of half as many.
_PARTITION = 8192
# The words were cut by me5, which knows scripts without spaces; LanceDB takes them as they are.
_WORDS = FTS(
    base_tokenizer="whitespace", max_token_length=None, lower_case=False, stem=False, remove_stop_words=False,
    ascii_folding=False,
)  # fmt: skip


class Store:
    """An open store. `passages`, `files` and `roots` are its LanceDB tables; older stores have no `roots`.

    `passages` is the name of the table of the passages, where it is not the one that the store says.
    """

    def __init__(
        self,
        uri: str,
        connections: Connections,
        tables: Iterable[str],
        freshness: float = 0.0,
        *,
        passages: str | None = None,
    ) -> None:
        self.uri = uri
        self._connection, self._readers = connections
        self._freshness = freshness
        self._snapshot: tuple[Snapshot, float] | None = None
        connection = self._connection
        self.files = connection.open_table("files")
        self._name = passages or named_passages(self.files.schema)
        self.passages = connection.open_table(self._name)
        self.settings = read_settings(uri, self.passages)
        check_tables(uri, self.passages, self.files, self.settings)
        self._roots = connection.open_table("roots") if "roots" in tables else None

    @classmethod
    def open(
        cls, uri: str, storage_options: Mapping[str, str] | None = None, *, freshness: float = 0.0
    ) -> "Store | None":
        """The store at `uri`, or None where there is none.

        Searches see what other processes wrote more than `freshness` seconds ago. Raises `InputError` and `StoreError`.
        """
        if not 0 <= freshness <= STALEST:
            raise InputError(f"freshness must be from 0 to {STALEST} seconds, got {freshness}")
        if "://" not in uri and not Path(uri).is_dir():
            return None
        try:
            connections = connected(uri, storage_options)
            names = tables_of(connections[0])
            there = "files" in names and any(map(number_of, names))
            return cls(uri, connections, names, freshness) if there else None
        except Me5Error:
            raise
        except FAILURES as error:
            raise StoreError(f"{uri} cannot be opened as a store: {reason(error)}. {MEND}") from error

    @classmethod
    def create(cls, uri: str, settings: StoreSettings, storage_options: Mapping[str, str] | None = None) -> "Store":
        """A new store; where another writer was faster, the store that it made."""
        check_place(uri)
        try:
            connections = connected(uri, storage_options)
            for name, schema in (("roots", ROOTS), ("files", FILES), ("passages", passages_of(settings))):
                make(connections[0], name, schema)
            made = cls(uri, connections, ("roots",))
            made.index_words()  # an empty index: what is added later is found by its words at once
            return made
        except Me5Error:
            raise
        except FAILURES as error:
            raise StoreError(f"{uri} cannot be made: {reason(error)}") from error

    def add(self, rows: Sequence[Row], vectors: Float32) -> int:
        """Insert passages and their vectors (rows, dim), and tell how many were not there yet."""
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in Row.__dataclass_fields__}
        columns["words"] = [words_of(row.title, row.text) for row in rows]
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.settings.dim)
        metadata = pa.array(columns["metadata"], pa.string())
        columns["metadata"] = pa.ExtensionArray.from_storage(pa.json_(pa.string()), metadata)
        table = pa.table(columns, schema=passages_of(self.settings))

        def write() -> int:
            return int(self.passages.merge_insert("id").when_not_matched_insert_all().execute(table).num_inserted_rows)

        return self.committed(write)

    def finish(self, done: Sequence[IndexedFile], replaced: Mapping[str, str]) -> None:
        """Record files as completely indexed, and drop the passages of other versions than those of `replaced`."""
        for source, version in replaced.items():
            self.delete_passages(f"source = {quoted(source)} AND version != {quoted(version)}")
        if done:
            self._record(done)
            if gone := self.gone():  # the passages went into a table that nobody reads any more
                self.forget([file.source for file in done])
                raise StoreError(gone)

    def _record(self, done: Sequence[IndexedFile]) -> None:
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

        self.committed(write)

    def remove(self, sources: Sequence[str]) -> int:
        """Drop files with all their passages, and tell how many passages that were."""
        dropped = 0
        for at in range(0, len(sources), 500):
            listed = ", ".join(map(quoted, sources[at : at + 500]))
            dropped += self.delete_passages(f"source IN ({listed})")
            self.forget(sources[at : at + 500])
        return dropped

    def forget(self, sources: Sequence[str]) -> None:
        """Let files be read again by the next run."""
        self.committed(partial(self.files.delete, f"source IN ({', '.join(map(quoted, sources))})"))

    def delete_passages(self, where: str) -> int:
        """Drop passages by SQL of our own, and tell how many."""
        return int(self.committed(lambda: self.passages.delete(where)).num_deleted_rows)

    @reading
    def known_files(self) -> dict[str, IndexedFile]:
        """Every completely indexed file, by source."""
        return {row["source"]: indexed_file(row) for row in self.files.to_arrow().to_pylist()}

    @reading
    def roots(self) -> dict[str, str]:
        """Where each folder or file that was indexed by name was last seen, by its name."""
        rows = [] if self._roots is None else self._roots.to_arrow().to_pylist()
        return {row["name"]: row["path"] for row in rows}

    def add_roots(self, roots: Mapping[str, str], *, moved: bool = False) -> None:
        """Remember roots by name. Of two writers with the same new name the first one has it: look which it is."""
        if self._roots is None:
            self.committed(lambda: make(self._connection, "roots", ROOTS))
            self._roots = self._connection.open_table("roots")
        kept = self._roots
        table = pa.table({"name": list(roots), "path": list(roots.values())}, schema=ROOTS)

        def write() -> None:
            merge = kept.merge_insert("name").when_not_matched_insert_all()
            (merge.when_matched_update_all() if moved else merge).execute(table)

        self.committed(write)

    @reading
    def versions(self) -> dict[str, Counter[str]]:
        """The versions of every source, also of files that are not complete, and how many passages each has."""
        found: dict[str, Counter[str]] = {}
        for batch in self.passages.search().select(["source", "version"]).to_batches():
            grouped = pa.Table.from_batches([batch]).group_by(["source", "version"]).aggregate([([], "count_all")])
            for row in grouped.to_pylist():
                found.setdefault(row["source"], Counter())[row["version"]] += row["count_all"]
        return found

    @reading
    def present(self, source: str, keys: Iterable[str]) -> tuple[set[str], dict[str, list[float]]]:
        """Of passages of a source: the ids that are there, and the vectors by the key of what the model read."""
        listed = ", ".join(map(quoted, keys))
        query = self.passages.search().where(f"source = {quoted(source)} AND key IN ({listed})")
        rows = query.select(["id", "key", "vector"]).to_arrow()
        ids = set(rows["id"].to_pylist())
        return ids, dict(zip(rows["key"].to_pylist(), rows["vector"].to_pylist(), strict=True))

    @reading
    def count(self) -> int:
        """The number of passages."""
        return int(self.passages.count_rows())

    @reading
    def counts(self, column: str) -> dict[str, int]:
        """How many passages there are of every value of a column, most frequent first."""
        rows = self.passages.search().select([column]).to_arrow().group_by(column).aggregate([([], "count_all")])
        found = {row[column]: row["count_all"] for row in rows.to_pylist()}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @reading
    def snapshot(self) -> Snapshot:
        """The newest version, to be searched; one that was the newest `freshness` seconds ago will do."""
        last, now = self._snapshot, monotonic()
        if last is not None and now < last[1] + self._freshness:
            return last[0]
        newest = Snapshot(self.uri, wait(self._readers.open_table(self._name)), self.gone)
        self._snapshot = (newest, now)
        return newest

    @property
    def tuning(self) -> "Tuning | None":
        """How the index over the vectors is searched; None where there is none."""
        return self.snapshot().tuning

    def index_vectors(self) -> int:
        """Build the index over the vectors anew, with two bits a number, and tell how many partitions it has."""
        partitions = max(round(self.count() / _PARTITION), 1)
        config = (
            IvfRq(distance_type="cosine", num_partitions=partitions, num_bits=2)
            if self.settings.dim % 8 == 0
            else IvfSq(distance_type="cosine", num_partitions=partitions)  # any width, at eight bits
        )
        self.committed(lambda: self.passages.create_index("vector", config=config, replace=True))
        return partitions

    def keep_tuning(self, tuning: "Tuning") -> None:
        """Remember how the index is to be searched."""
        self.keep(TUNING_KEY, json.dumps(asdict(tuning)))

    def keep(self, key: bytes, value: str) -> None:
        """Keep something in the metadata of the vectors, which leaves the other things there as they are."""
        change = {"path": "vector", "metadata": {key.decode(): value}}
        self.committed(lambda: self.passages.update_field_metadata(change))

    def index_words(self) -> None:
        """Build the index over the words where there is none; `tidy` keeps it up to date."""
        there = self.passages.list_indices()
        if not indexed(there, WORDS.name):
            self.committed(partial(self.passages.create_index, WORDS.name, config=_WORDS))
            for column in ("title", "text"):  # as an older me5 indexed them
                if indexed(there, column):
                    self.committed(partial(self.passages.drop_index, f"{column}_idx"))

    @reading
    def without_words(self, count: int) -> list[dict[str, Any]]:
        """The id, title and text of passages that an older me5 stored without their words."""
        query = self.passages.search().where(f"{WORDS.name} IS NULL").limit(count)
        rows: list[dict[str, Any]] = query.select(["id", "title", "text"]).to_list()
        return rows

    @reading
    def index_bytes(self, column: str) -> int:
        """The size of the index over a column, 0 where there is none."""
        return sum(index.size_bytes or 0 for index in self.passages.list_indices() if index.columns == [column])

    @reading
    def sample(self, count: int, seed: int = 0, *, columns: Sequence[str] = ("title", "text")) -> list[dict[str, Any]]:
        """Passages drawn at random: rows of title and text, or of other columns."""
        rows = self.count()
        offsets = np.random.default_rng(seed).choice(rows, min(count, rows), replace=False)
        drawn: list[dict[str, Any]] = (
            self.passages.take_offsets(sorted(offsets.tolist())).select(list(columns)).to_list()
        )
        return drawn

    def tidy(self, keep: timedelta = _KEEP_VERSIONS) -> None:
        """Put the small pieces that were written together, bring indexes up to date, and let go of old versions.

        These are kept for `keep`; 0 is for a store that nobody else has open. A writer on a version that is gone would
        not be told what was written since, and could write it a second time.
        """
        for table in (self.files, self.passages):
            for _ in range(1 if keep else 2):  # the second pass lets go of what the first one has replaced
                older = max(keep, timedelta(milliseconds=1))
                self.committed(partial(table.optimize, cleanup_older_than=older))

    def drop_older(self) -> bool:
        """Drop the passages of earlier models, and tell whether there were any."""
        last = number_of(self._named())
        old = [name for name in tables_of(self._connection) if 0 < number_of(name) < last]
        for name in old:
            self.committed(partial(self._connection.drop_table, name, ignore_missing=True))
        return bool(old)

    def _named(self) -> str:
        """Which table has the passages now."""
        return named_passages(wait(wait(self._readers.open_table("files")).schema()))

    def gone(self) -> str | None:
        """That the store has been migrated to another model since it was opened, in words; else None."""
        try:
            if self._named() == self._name:
                return None
        except FAILURES:  # nothing can be read
            return None
        return f"{self.uri} has been migrated to another model since it was opened; open it again"

    def successor(self, settings: StoreSettings | None = None) -> "Store | None":
        """The store that is to take this one's place, with the same files and the passages of a model of its own.

        With `settings` it is made where there is none.
        """
        name = f"passages-{number_of(self._name) + 1}"
        if name not in tables_of(self._connection):
            if settings is None:
                return None
            self.committed(lambda: make(self._connection, name, passages_of(settings)))
        return Store(self.uri, (self._connection, self._readers), ("roots",), self._freshness, passages=name)

    def take_over(self) -> None:
        """Be what is opened from now on, in one commit."""
        metadata = {PASSAGES_KEY: self._name}
        self.committed(lambda: self.files.update_field_metadata({"path": "source", "metadata": metadata}))

    def drop(self) -> None:
        """Delete the passages, and what would be made of them next; the files stay."""
        self.committed(lambda: self._connection.drop_table(self._name, ignore_missing=True))

    def committed(self, write: Callable[[], T]) -> T:
        """The result of a write; one that another writer's commit has overtaken is done again on what is there now."""
        for attempt in range(_ATTEMPTS):
            try:
                done = write()
            except FAILURES as error:
                if "conflict" not in str(error).lower() or attempt == _ATTEMPTS - 1:
                    gone = self.gone() or f"{self.uri} cannot be written to: {reason(error)}"
                    raise StoreError(gone) from error
                sleep(random.uniform(0, 0.1 * 2**attempt))
            else:
                self._snapshot = None  # what this process wrote it finds at once
                return done
        raise AssertionError("unreachable")

    @reading
    def size(self) -> int:
        """Bytes on disk; 0 for a store that is elsewhere."""
        return (
            0 if "://" in self.uri else sum(path.stat().st_size for path in Path(self.uri).rglob("*") if path.is_file())
        )
