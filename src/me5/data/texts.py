"""The texts of a dataset by row, in any order.

Parquet would have to read a whole row group for each. So the texts are laid out once as a plain Arrow file, which is
mapped: reading a row costs a row, and memory holds none. With them lie the keys by which texts and titles are called
equal.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from me5.data.contract import Document, Query
from me5.data.dataset import Dataset, TextTable
from me5.data.jobs import Workspace
from me5.data.letters import text_key
from me5.data.relations import Int64
from me5.errors import InputError
from me5.progress import Advance


class Texts:
    """The documents or queries of a dataset by row, from a mapped file. Made by `lay_out`."""

    def __init__(self, path: Path, table: TextTable) -> None:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        self._columns = [[batch.column(name) for name in ("text", _HEADS[table], "lang")] for batch in self._batches]
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
        """`text_key` of every row's text, titles and instructions apart, int64 (rows,)."""
        return self._numbers("key")

    @cached_property
    def head_keys(self) -> Int64:
        """`text_key` of every row's title or instruction, 0 for none, int64 (rows,)."""
        return self._numbers("head_key")

    def _rows(self, rows: Sequence[int] | Int64) -> Iterator[tuple[str, str, str]]:
        wanted = np.asarray(rows, np.int64)
        places = np.searchsorted(self._starts, wanted, "right") - 1
        for row, place in zip(wanted.tolist(), places.tolist(), strict=True):
            at = row - int(self._starts[place])
            text, head, lang = (column[at].as_py() for column in self._columns[place])
            yield text, head, lang

    def _numbers(self, name: str) -> Int64:
        return np.concatenate([batch.column(name).to_numpy() for batch in self._batches])


def lay_out(dataset: Dataset, table: TextTable, workspace: Workspace) -> Texts:
    """The texts of a dataset's table, laid out in the workspace if they are not there yet.

    Raises `InputError` where the table is empty.
    """
    rows = dataset.counts[table]
    if not rows:
        raise InputError(f"{dataset.folder} has no {table}; there is nothing to do")
    job = workspace.job(
        f"texts/{table}", rows=rows, size=rows, suffix=".arrow", settings={"made": f"texts of {table}"},
        inputs={table: dataset.table_fingerprint(table)},
    )  # fmt: skip
    with workspace.progress(job, f"Laying out {table}") as advance:
        job.run(lambda shard, file: _write(dataset, table, file, advance))  # noqa: ARG005
    return Texts(job.shards[0].path, table)


_HEADS = {"documents": "title", "queries": "instruction"}


def _write(dataset: Dataset, table: TextTable, file: IO[bytes], advance: Advance) -> None:
    head = _HEADS[table]
    text, number = pa.string(), pa.int64()
    schema = pa.schema([(head, text), ("text", text), ("lang", text), ("key", number), ("head_key", number)])
    with pa.ipc.new_file(file, schema) as writer:
        for heads, texts, langs in dataset.columns(table, head, "text", "lang"):
            keys = ([text_key(value) for value in column] for column in (texts, heads))
            writer.write_batch(pa.record_batch([heads, texts, langs, *keys], schema=schema))
            advance(len(texts), 0)
