"""A dataset by row number: texts out of a mapped file, relations as arrays.

Jobs ask for texts in any order, which Parquet cannot give without reading a whole row group each. So the texts are
laid out once as a plain Arrow file, which is mapped: reading a row costs a row, and memory holds none. With them lie
the keys by which texts and titles are called equal.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from me5.data.contract import KINDS, Dataset, Document, Query
from me5.data.jobs import Shard, Workplace
from me5.data.letters import key
from me5.errors import InputError

Int64 = npt.NDArray[np.int64]
POSITIVE, NEGATIVE, IGNORE = (KINDS.index(kind) for kind in ("positive", "negative", "ignore"))


def text_key(text: str) -> int:
    """64 bits that are equal for texts of the same letters and digits, see `letters`. 0 for no text."""
    return int.from_bytes(key(text)[:8], "little", signed=True) if text.strip() else 0


class Texts:
    """The documents or queries of a dataset by row, from a mapped file. Made by `lay_out`."""

    def __init__(self, path: Path, table: Literal["documents", "queries"]) -> None:
        self.table = table
        self._head = "title" if table == "documents" else "instruction"
        self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [self._file.get_batch(number) for number in range(self._file.num_record_batches)]
        self._columns = [[batch.column(name) for name in ("text", self._head, "lang")] for batch in self._batches]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def documents(self, rows: Sequence[int] | Int64) -> list[Document]:
        """The documents of some rows."""
        return [Document(text, title, lang) for text, title, lang in self._rows(rows)]

    def queries(self, rows: Sequence[int] | Int64) -> list[Query]:
        """The queries of some rows."""
        return [Query(text, instruction, lang) for text, instruction, lang in self._rows(rows)]

    @cached_property
    def keys(self) -> Int64:
        """`text_key` of every row's text, int64 (rows,)."""
        return self._numbers("key")

    @cached_property
    def head_keys(self) -> Int64:
        """`text_key` of every row's title or instruction, 0 for none, int64 (rows,)."""
        return self._numbers("head_key")

    @cached_property
    def languages(self) -> npt.NDArray[np.str_]:
        """The language of every row, (rows,)."""
        return np.array([lang for batch in self._batches for lang in batch.column("lang").to_pylist()], np.str_)

    def _rows(self, rows: Sequence[int] | Int64) -> Iterator[tuple[str, str, str]]:
        wanted = np.asarray(rows, np.int64)
        places = np.searchsorted(self._starts, wanted, "right") - 1
        for row, place in zip(wanted.tolist(), places.tolist(), strict=True):
            at = row - int(self._starts[place])
            text, head, lang = (column[at].as_py() for column in self._columns[place])
            yield text, head, lang

    def _numbers(self, name: str) -> Int64:
        columns = [batch.column(name).to_numpy() for batch in self._batches]
        return np.concatenate(columns) if columns else np.empty(0, np.int64)


def lay_out(dataset: Dataset, table: Literal["documents", "queries"], work: Workplace) -> Texts:
    """The texts of a dataset's table, laid out where work is done if they are not there yet.

    Raises `InputError` where the table is empty.
    """
    rows = dataset.counts[table]
    if not rows:
        raise InputError(f"{dataset.folder} has no {table}; there is nothing to do")
    job = work.job(
        f"texts/{table}", rows=rows, size=rows, suffix=".arrow", settings={"made": f"texts of {table}"},
        inputs={table: table_hash(dataset, table)},
    )  # fmt: skip
    with work.progress(job, f"Laying out {table}") as advance:

        def write(shard: Shard, file: IO[bytes]) -> None:  # noqa: ARG001
            writer: Any = None
            for batch in dataset.batches(table):
                keyed = _keyed(batch, "title" if table == "documents" else "instruction")
                writer = writer or pa.ipc.new_file(file, keyed.schema)
                writer.write_batch(keyed)
                advance(batch.num_rows, 0)
            writer.close()

        job.run(write)
    return Texts(job.shards[0].path, table)


def table_hash(dataset: Dataset, table: str) -> str:
    """One hash over the files of one table."""
    told = [
        f"{name} {entry['sha256']}"
        for name, entry in sorted(dataset.manifest["files"].items())
        if name == f"{table}.parquet" or name.startswith(f"{table}/")
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _keyed(batch: pa.RecordBatch, head: str) -> pa.RecordBatch:
    """A batch without its ids, with the keys of its texts and titles."""
    columns = {name: batch.column(name) for name in (head, "text", "lang")}
    for name, source in (("key", "text"), ("head_key", head)):
        columns[name] = pa.array([text_key(text) for text in columns[source].to_pylist()], pa.int64())
    return pa.RecordBatch.from_pydict(columns)


@dataclass(frozen=True)
class Relations:
    """The relations of a dataset in order, as arrays (relations,): rows of query and document, kind, source.

    `kinds` are places in `KINDS`, `sources` places in `names`.
    """

    queries: Int64
    documents: Int64
    kinds: npt.NDArray[np.int8]
    sources: npt.NDArray[np.int32]
    names: tuple[str, ...]

    @cached_property
    def _starts(self) -> tuple[Int64, Int64]:
        order = np.argsort(self.queries, kind="stable")
        return order, self.queries[order]

    def of(self, query: int) -> Int64:
        """The places of a query's relations."""
        order, queries = self._starts
        first, last = np.searchsorted(queries, [query, query + 1])
        return order[first:last]

    def of_kind(self, query: int, *kinds: int) -> Int64:
        """The document rows of a query's relations of some kinds."""
        places = self.of(query)
        return self.documents[places[np.isin(self.kinds[places], kinds)]]


def number_relations(dataset: Dataset) -> Relations:
    """Read all relations into arrays: 21 bytes each, and 20 for every id while they are read."""
    documents, queries = _Ids(dataset, "documents"), _Ids(dataset, "queries")
    names: dict[str, int] = {}
    columns: list[list[npt.NDArray[Any]]] = [[], [], [], []]
    for batch in dataset.relations(["query_id", "document_id", "kind", "source"]):
        query_ids, document_ids, kinds, sources = (column.to_pylist() for column in batch.columns)
        columns[0].append(queries.rows(query_ids))
        columns[1].append(documents.rows(document_ids))
        columns[2].append(np.array([KINDS.index(kind) for kind in kinds], np.int8))
        columns[3].append(np.array([names.setdefault(source, len(names)) for source in sources], np.int32))
    if not columns[0]:
        raise InputError(f"{dataset.folder} has no relations; there is nothing to do")
    joined = [np.concatenate(column) for column in columns]
    return Relations(joined[0], joined[1], joined[2], joined[3], tuple(names))


class _Ids:
    """The ids of a table, to find their rows."""

    def __init__(self, dataset: Dataset, table: Literal["documents", "queries"]) -> None:
        self._name = f"{table} of {dataset.folder}"
        blocks = [_packed(batch.column(0).to_pylist()) for batch in dataset.batches(table, ["id"])]
        ids = np.concatenate(blocks) if blocks else np.empty(0, "S12")
        self._order = np.argsort(ids)
        self._ids = ids[self._order]

    def rows(self, ids: Sequence[str]) -> Int64:
        wanted = _packed(ids)
        places = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        if (lost := np.flatnonzero(self._ids[places] != wanted)).size:
            raise InputError(f"a relation points to {ids[lost[0]]!r}, which is not among the {self._name}")
        return self._order[places]


def _packed(ids: Sequence[str]) -> npt.NDArray[np.bytes_]:
    return np.array([bytes.fromhex(name) for name in ids], "S12")
