"""Arctic-Embed's raw folder: queries.parquet, documents.parquet and labels.parquet, related by 64-bit ids.

    QUERY_ID, QUERY_TEXT       DOCUMENT_ID, DOCUMENT_TEXT       QUERY_ID, DOCUMENT_ID, RELEVANCE?

RELEVANCE above 0, or none, is a positive; else a negative. Its batches of token ids are refused: they belong to one
tokenizer, and their 16 bits could not hold the 250,002 ids of XLM-RoBERTa.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from me5.data.readers.reading import Corpus, Reading, relation
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import Row, id_of

NAME = "arctic"


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return (folder / "labels.parquet").exists() or any(folder.glob("batch_*/relations.parquet"))


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some folders."""
    for folder in paths:
        if not (folder / "labels.parquet").exists():
            raise InputError(
                f"{folder} holds batches of token ids, which mean nothing without their tokenizer (and 16 bits cannot "
                "hold the ids of XLM-RoBERTa); give the folder of queries, documents and labels.parquet"
            )
        yield from _read(folder, reading)


def _read(folder: Path, reading: Reading) -> Iterator[Item]:
    queries, documents = Corpus("query", reading), Corpus("document", reading)
    source = reading.source_of(folder)

    def query(row: Row) -> list[Item]:
        return [queries.add(id_of(row, "QUERY_ID"), reading.query(row.get("QUERY_TEXT")))]

    def document(row: Row) -> list[Item]:
        return [documents.add(id_of(row, "DOCUMENT_ID"), reading.document(row.get("DOCUMENT_TEXT")))]

    def label(row: Row) -> Sequence[Item]:
        query_id, document_id = (
            held.id_of(id_of(row, key)) for held, key in ((queries, "QUERY_ID"), (documents, "DOCUMENT_ID"))
        )
        grade = row.get("RELEVANCE")
        kind = "positive" if grade is None or grade > 0 else "negative"
        return relation(reading, query_id, document_id, kind=kind, source=source, label=grade)  # type: ignore[arg-type]

    for name, convert in (("queries", query), ("documents", document), ("labels", label)):
        yield from reading.convert(reading.records(folder / f"{name}.parquet"), convert)
