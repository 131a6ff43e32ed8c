"""A stream of documents, queries and relations -> a dataset folder, in memory that grows with ids, not with texts."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from me5._version import __version__
from me5.data.contract import FORMAT, KINDS, SCHEMAS, Document, Example, Query, Relation, Table
from me5.data.dataset import Dataset
from me5.errors import InputError
from me5.files.atomic import new_folder

Item = Document | Query | Relation | Example
SHARD_ROWS = 1_000_000
# Rows and characters that are collected before they are written.
_ROWS, _CHARACTERS = 8192, 1 << 24
# Of two relations of the same pair, the kind that stays.
_STRENGTH = {"positive": 2, "ignore": 1, "negative": 0}


def write_dataset(
    folder: Path,
    items: Iterable[Item],
    *,
    step: Mapping[str, Any],
    before: Dataset | None = None,
    repeats: Literal["error", "merge"] = "error",
    lists: Mapping[str, Iterable[str]] = MappingProxyType({}),
    overwrite: bool = False,
) -> Dataset:
    """Write a dataset, which appears whole or not at all, and open it.

    A relation comes after its query and its document. Equal documents, queries and relations become one row. Relations
    of the same pair that differ are an error, or with `merge` one: positive before ignore before negative, then the
    first, which takes over a label or teacher score that it lacks; how many is counted in the step as `merged`, and as
    `contradictions` where kinds differed. `step` describes what is done, with settings and counts; it is read at the
    end, so that a generator of items may still count in it. `before` is the dataset that this one is made from. `lists`
    are further files of the folder, by name, and their lines.
    """
    with new_folder(folder, overwrite=overwrite) as partial:
        with _Writer(partial) as writer:
            for item in items:
                writer.add(item)
            merged = writer.finish(merge=repeats == "merge")
        files = {
            path.relative_to(partial).as_posix(): {"sha256": sha256(path), "rows": pq.read_metadata(path).num_rows}
            for path in sorted(partial.rglob("*.parquet"))
        }
        manifest = {
            "me5": __version__,
            "format": FORMAT,
            "counts": writer.counts(),
            "files": files,
            "steps": [*(before.steps if before else ()), {**step, **merged}],
        }
        for name, lines in lists.items():
            with (partial / name).open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        (partial / "dataset.json").write_text(
            json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return Dataset.open(folder)


def sha256(path: Path) -> str:
    """The hash of a file, as the manifest has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Rows:
    """One table on its way into shards."""

    def __init__(self, folder: Path, table: Table) -> None:
        self._folder = folder / table
        self._schema = SCHEMAS[table]
        self._held: list[tuple[Any, ...]] = []
        self._characters = self._in_shard = self._shards = 0
        self._file: pq.ParquetWriter | None = None
        self._folder.mkdir()

    def add(self, row: tuple[Any, ...], characters: int) -> None:
        self._held.append(row)
        self._characters += characters
        if len(self._held) >= _ROWS or self._characters >= _CHARACTERS:
            self.flush()

    def flush(self) -> None:
        held, self._held, self._characters = self._held, [], 0
        while held:
            room = SHARD_ROWS - self._in_shard
            part, held = held[:room], held[room:]
            columns = zip(zip(*part, strict=True), self._schema.types, strict=True)
            arrays = [pa.array(column, kind) for column, kind in columns]
            self.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def write(self, batch: pa.RecordBatch) -> None:
        """A batch that fits into the shard."""
        if self._file is None:
            path = self._folder / f"{self._shards:05}.parquet"
            self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
            self._shards += 1
        self._file.write_batch(batch)
        self._in_shard += batch.num_rows
        if self._in_shard >= SHARD_ROWS:
            self.close_shard()

    def close_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._in_shard = None, 0

    def close(self) -> None:
        """End the table; one shard becomes one file, and none an empty one."""
        self.flush()
        if not self._shards:
            self.write(pa.RecordBatch.from_pylist([], schema=self._schema))
        self.close_shard()
        if self._shards == 1:
            (self._folder / "00000.parquet").rename(self._folder.with_suffix(".parquet"))
            self._folder.rmdir()


class _Writer(ExitStack):
    """The three tables: texts go to disk at once, relations are held as numbers and sorted at the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._documents, self._queries, self._relations = (_Rows(folder, table) for table in SCHEMAS)
        # Files are closed also when something goes wrong, before the folder vanishes.
        for rows in (self._documents, self._queries, self._relations):
            self.callback(rows.close_shard)
        # id -> its row. In order of rows, so that the keys are the ids by row.
        self._document_rows: dict[bytes, int] = {}
        self._query_rows: dict[bytes, int] = {}
        # Strings that recur -> their number; None is the first.
        self._words: dict[str | None, int] = {None: 0}
        self._columns: dict[str, array[Any]] = {
            "query": array("I"), "document": array("I"), "kind": array("B"), "label": array("f"), "score": array("f"),
            "teacher": array("I"), "source": array("I"), "licence": array("I"),
        }  # fmt: skip
        self._kinds: Counter[str] = Counter()

    def add(self, item: Item) -> None:
        if isinstance(item, Document):
            self._add_document(item)
        elif isinstance(item, Query):
            self._add_query(item)
        elif isinstance(item, Relation):
            self._add_relation(item)
        else:
            self._add_query(item.query)
            self._add_document(item.document)
            self._add_relation(item.relation())

    def counts(self) -> dict[str, int]:
        return {
            "documents": len(self._document_rows),
            "queries": len(self._query_rows),
            "relations": self._kinds.total(),
            **{kind: self._kinds[kind] for kind in KINDS},
        }

    def finish(self, *, merge: bool) -> dict[str, int]:
        """Sort the relations, write them, close the tables. Returns what was merged, where anything was."""
        columns = {name: np.array(held) for name, held in self._columns.items()}
        kept, merged = self._unite(columns, merge=merge)
        order = kept[np.argsort(columns["query"][kept], kind="stable")]
        self._kinds = Counter({kind: int((columns["kind"][order] == at).sum()) for at, kind in enumerate(KINDS)})
        words = list(self._words)
        queries, documents = (list(rows) for rows in (self._query_rows, self._document_rows))
        for start in range(0, len(order), _ROWS):
            block = {name: column[order[start : start + _ROWS]].tolist() for name, column in columns.items()}
            for query, document, kind, label, score, teacher, source, licence in zip(*block.values(), strict=True):
                self._relations.add((
                    queries[query].hex(), documents[document].hex(), KINDS[kind], None if label != label else label,
                    None if score != score else score, words[teacher], words[source], words[licence],
                ), 0)  # fmt: skip
        if not self._document_rows and not self._query_rows:
            raise InputError("nothing is left to write: no documents and no queries")
        for rows in (self._documents, self._queries, self._relations):
            rows.close()
        return merged

    def _add_document(self, document: Document) -> None:
        key = bytes.fromhex(document.id)
        if key not in self._document_rows:
            self._document_rows[key] = len(self._document_rows)
            row = (document.id, document.title, document.text, document.lang)
            self._documents.add(row, len(document.title) + len(document.text))

    def _add_query(self, query: Query) -> None:
        key = bytes.fromhex(query.id)
        if key not in self._query_rows:
            self._query_rows[key] = len(self._query_rows)
            self._queries.add((query.id, query.text, query.instruction, query.lang), len(query.text))

    def _add_relation(self, relation: Relation) -> None:
        nan = float("nan")
        row = (
            _row(self._query_rows, relation.query_id, "query"),
            _row(self._document_rows, relation.document_id, "document"),
            KINDS.index(relation.kind),
            nan if relation.label is None else relation.label,
            nan if relation.teacher_score is None else relation.teacher_score,
            *(
                self._words.setdefault(word, len(self._words))
                for word in (relation.teacher, relation.source, relation.licence)
            ),
        )
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)

    def _unite(
        self, columns: Mapping[str, npt.NDArray[Any]], *, merge: bool
    ) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
        """The rows to keep of relations of the same pair, in order of arrival; what they take over is filled in."""
        pairs = columns["query"].astype(np.uint64) << np.uint64(32) | columns["document"]
        order = np.argsort(pairs, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(pairs[order]) > 0)) if len(order) else order
        sizes = np.diff(np.append(starts, len(order)))
        kept, merged, contradictions = order[starts], 0, 0
        for group in np.flatnonzero(sizes > 1).tolist():
            rows = order[starts[group] : starts[group] + sizes[group]].tolist()
            different = {tuple(str(column[row]) for column in columns.values()) for row in rows}
            if len(different) == 1:
                continue
            if not merge:
                raise InputError(self._blame(columns, rows))
            best = max(rows, key=lambda row: (_STRENGTH[KINDS[columns["kind"][row]]], -row))
            _take_over(columns, best, rows)
            kept[group] = best
            merged += len(rows) - 1
            contradictions += len({columns["kind"][row] for row in rows}) > 1
        return np.sort(kept), {"merged": merged, "contradictions": contradictions} if merged else {}

    def _blame(self, columns: Mapping[str, npt.NDArray[Any]], rows: Sequence[int]) -> str:
        words = list(self._words)
        ways = [f"{KINDS[columns['kind'][row]]} of source {words[columns['source'][row]]!r}" for row in rows[:3]]
        query = list(self._query_rows)[columns["query"][rows[0]]].hex()
        document = list(self._document_rows)[columns["document"][rows[0]]].hex()
        return f"query {query} and document {document} are related in {len(rows)} different ways: {', '.join(ways)}"


def _take_over(columns: Mapping[str, npt.NDArray[Any]], best: int, rows: Sequence[int]) -> None:
    """Fill what the best of some relations lacks from the first that has it; a score comes with its teacher."""
    same = [row for row in rows if columns["kind"][row] == columns["kind"][best]]
    for names in (("label",), ("score", "teacher")):
        source = next((row for row in (best, *same) if not np.isnan(columns[names[0]][row])), best)
        for name in names:
            columns[name][best] = columns[name][source]


def _row(rows: Mapping[bytes, int], name: str, what: str) -> int:
    try:
        return rows[bytes.fromhex(name)]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"a relation points to the {what} {name!r}, which is not there") from error
