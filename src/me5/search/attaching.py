"""Texts with vectors that people have, taken into a store as they are: every row is a passage and keeps its vector.

A store never compares the vectors of two models, so a few rows of every batch are embedded again and compared.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from me5.embedder import Embedder
from me5.errors import InputError, counted
from me5.progress import track
from me5.search import language
from me5.search.conditions import quoted
from me5.search.documents import Document
from me5.search.files import text_hash
from me5.search.foreign import ForeignTable
from me5.search.planning import Summary, Work, bad_files, unwritable
from me5.search.readers import VERSION
from me5.search.readers.tables import Columns, document_of, plain
from me5.search.schema import IndexedFile, Row
from me5.search.splitting import written
from me5.search.store import Store
from me5.vectors import Float32

_BATCH = 4096
# Rows of a batch that are embedded again, and what half of them have to reach at least: another precision, and texts
# that were cut elsewhere, cost little; another model, or other prompts, cost more.
_COMPARED, _ALIKE = 32, 0.98
_KIND = "parquet"  # whatever it was: a table, whose rows are documents


@dataclass(frozen=True)
class AttachedColumns:
    """The names of the columns of a table with vectors; a missing title is no error, unless it is called otherwise."""

    text: str = "text"
    vector: str = "vector"
    title: str = "title"


def attach(store: Store, embedder: Embedder, table: ForeignTable, columns: AttachedColumns, *, show: bool) -> Summary:
    """Take the rows of a table into a store, and tell what was done; a table that has not changed costs nothing.

    Raises `InputError` for missing columns, and for vectors that are not what the store's model makes of the texts.
    """
    _check_columns(table, columns)
    summary = Summary()
    version = text_hash(f"{table.version} {columns} {VERSION}")
    known = store.known_files().get(table.name)
    if known is not None and known.version == version:
        summary.recall(table.name, known)
        return summary
    work = Work(table.name, _KIND, version, table.stamp, ())
    numbered, count = enumerate(table.rows), 0
    with track(table.count, show=show, description="Attaching", unit="rows") as advance:
        while batch := list(islice(numbered, _BATCH)):
            passages = list(_passages(batch, work, columns, store.settings.dim))
            if passages:
                try:
                    _compare(passages, embedder, columns)
                except InputError:
                    store.delete_passages(f"source = {quoted(table.name)} AND version = {quoted(version)}")
                    raise
                vectors = np.stack([vector for _, vector in passages])
                rows = [_row(document, work) for document, _ in passages]
                summary.passages += store.add(rows, vectors)
                count += len(rows)
            advance(len(batch), 0)
    problems = tuple(work.problems)
    store.finish([IndexedFile(table.name, table.stamp, version, count, problems)], {table.name: version})
    summary.indexed, summary.bad = int(count > 0), bad_files(table.name, problems)
    return summary


def check(embedder: Embedder, table: ForeignTable, columns: AttachedColumns) -> None:
    """Raise `InputError` for a table that `attach` would refuse at its first rows, or take nothing of; reads those."""
    _check_columns(table, columns)
    work, numbered = Work(table.name, _KIND, "", table.stamp, ()), enumerate(table.rows)
    while batch := list(islice(numbered, _BATCH)):
        if passages := list(_passages(batch, work, columns, embedder.dim)):
            _compare(passages, embedder, columns)
            return
    first = bad_files(table.name, work.problems[:1])
    raise InputError(f"{table.name} has no row that can be used{f'; {first[0]}' if first else ''}")


def _check_columns(table: ForeignTable, columns: AttachedColumns) -> None:
    wanted = {columns.text: "--field", columns.vector: "--vector-field"}
    if columns.title != AttachedColumns.title:
        wanted[columns.title] = "--title-field"
    for name, flag in wanted.items():
        if name not in table.columns:
            raise InputError(f"{table.name} has no column {name!r} ({flag}); it has {', '.join(table.columns)}")


def _passages(
    batch: Sequence[tuple[int, dict[str, Any]]], work: Work, columns: AttachedColumns, dim: int
) -> Iterator[tuple[Document, Float32]]:
    """The rows that can be used, and their vectors as unit vectors; the others are told."""
    for at, row in batch:
        vector = _unit(row.pop(columns.vector), dim)
        if isinstance(vector, str):
            work.complain(at, f"its {columns.vector!r} {vector}")
            continue
        for document in document_of(row, at, Columns((columns.text,), columns.title), work.complain):
            fault = unwritable(document, json.dumps(document.metadata, ensure_ascii=False))
            if fault is None and document.text.strip():
                yield document, vector
            else:
                work.complain(at, fault or "holds no text")


def _unit(value: Any, dim: int) -> Float32 | str:
    """A vector of length 1, or what is wrong with it."""
    try:
        vector = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        return "is not a list of numbers"
    if vector.shape != (dim,):
        return f"is not a vector of {dim} numbers, as the model of the store makes them, but of shape {vector.shape}"
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        return f"has the length {length}"
    return vector / np.float32(length)


def _compare(passages: Sequence[tuple[Document, Float32]], embedder: Embedder, columns: AttachedColumns) -> None:
    step = max(len(passages) // _COMPARED, 1)
    some = passages[::step]
    own = embedder.run(embedder.prepare([document.text for document, _ in some], "document", truncation="end"))
    middle = float(np.median(np.sum(own * np.stack([vector for _, vector in some]), axis=1)))
    if middle < _ALIKE:
        raise InputError(
            f"the vectors in {columns.vector!r} are not what {embedder.checkpoint.name} makes of the texts in "
            f"{columns.text!r}: their cosine is {middle:.2f} in the middle of {counted(len(some), 'row')}, expected "
            f"{_ALIKE} or more. Name the model that made them (--model; --prompts none where it was given bare texts), "
            "or embed the texts anew with `me5 index`"
        )


def _row(document: Document, work: Work) -> Row:
    declared = language.declared(document.language)
    return Row(
        id=text_hash(f"{work.source}\0{work.version}\0{document.at}"),
        key=text_hash(written("", document.text, 0)),
        source=work.source,
        version=work.version,
        title=document.title,
        text=document.text,
        start=0,
        end=len(document.text),
        at=document.at,
        language=declared or language.detect(document.text),
        kind=work.kind,
        metadata=json.dumps(plain(dict(document.metadata)), ensure_ascii=False),
        modified=work.stamp.modified,
    )
