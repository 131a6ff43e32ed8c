"""tevatron's JSONL, version 1 with passages in the row, versions 2 and 3 with ids into a corpus.

    1     {"query_id", "query", "positive_passages": [{"docid", "title", "text", "score"?}, …], "negative_passages"}
    2, 3  {"query_id", "query_text", "positive_document_ids": […], "negative_document_ids": […]}
          and a corpus {"docid", "text", "title"?}, all of whose documents become documents

`answers` are not used. Rows of token ids belong to one tokenizer, rows with images to another kind of model: refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from me5.data.contract import Document
from me5.data.readers.reading import Corpus, Reading, listed, relation
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import Row

NAME = "tevatron"


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the first record looks like this format."""
    return bool({"positive_passages", "positive_document_ids"} & set(row)) or _tokens(row)


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some files, corpora among them."""
    return Corpus("document", reading).and_rows(paths, recognises, _items)


def _tokens(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("query"), list) and "positives" in row


def _items(reading: Reading, corpus: Corpus, source: str, row: Row) -> Iterator[Item]:
    if _tokens(row):
        raise InputError("token ids instead of texts, which mean nothing without their tokenizer; give the texts")
    if images := [key for key in row if key.endswith(("_image", "_video", "_audio")) and row[key]]:
        raise InputError(f"{images[0]} in a row; me5 knows texts only")
    if "positive_passages" in row:
        query = reading.query(row.get("query"))
        for kind, key in (("positive", "positive_passages"), ("negative", "negative_passages")):
            passages = listed(row, key, needed=kind == "positive")
            scores = [passage.get("score") for passage in passages]
            scored = scores if any(score is not None for score in scores) else None
            documents = [_document(reading, passage) for passage in passages]
            yield from reading.examples(query, documents, kind, source=source, scores=scored)  # type: ignore[arg-type]
        return
    query = reading.query(row.get("query_text", row.get("query")))
    yield query
    for kind, key in (("positive", "positive_document_ids"), ("negative", "negative_document_ids")):
        for name in listed(row, key, needed=kind == "positive"):
            document = corpus.id_of(name)
            yield from relation(reading, query.id, document, kind=kind, source=source)  # type: ignore[arg-type]


def _document(reading: Reading, passage: object) -> Document:
    if not isinstance(passage, dict):
        raise InputError(f"expected a passage {{docid, title, text}}, got {passage!r:.60}")
    return reading.document(passage.get("text"), title=passage.get("title"))
