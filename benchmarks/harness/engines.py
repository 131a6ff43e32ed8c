"""Other search libraries on the vectors and words of a store, each with the knob that trades recall for time."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# How far a graph is searched, cheapest first.
_WIDTHS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560)


class Chroma:
    """Chroma on disk, its own HNSW with cosines."""

    WIDTHS = _WIDTHS

    def __init__(self, folder: Path, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
        import chromadb
        from chromadb.config import Settings

        self.version, self.folder = chromadb.__version__, folder
        self._client = lambda: chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        hnsw = {"space": "cosine", "ef_search": _WIDTHS[0]}
        made = self._client().create_collection("passages", embedding_function=None, configuration={"hnsw": hnsw})
        for at in range(0, len(ids), 5000):
            part = slice(at, at + 5000)
            made.add(ids=list(ids[part]), documents=list(texts[part]), embeddings=vectors[part])
        self._collection = made

    def turn(self, width: int) -> None:
        """Search so far. An open collection goes on as it was opened."""
        from chromadb.api.client import SharedSystemClient

        self._collection.modify(configuration={"hnsw": {"ef_search": width}})
        SharedSystemClient.clear_system_cache()
        self._collection = self._client().get_collection("passages", embedding_function=None)

    def ask(self, vector: np.ndarray, count: int) -> list[str]:
        """The ids of the nearest."""
        found: list[str] = self._collection.query(query_embeddings=[vector], n_results=count)["ids"][0]
        return found


class SqliteVec:
    """sqlite-vec: exact, in a table of SQLite."""

    WIDTHS = (0,)

    def __init__(self, folder: Path, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
        import sqlite_vec

        folder.mkdir()
        self.version, self.folder, self._ids = sqlite_vec.__version__, folder, ids
        self._database = sqlite3.connect(folder / "vectors.db")
        self._database.enable_load_extension(True)
        sqlite_vec.load(self._database)
        width = vectors.shape[1]
        columns = f"e float[{width}] distance_metric=cosine, +text text"
        self._database.execute(f"create virtual table v using vec0({columns})")
        rows = ((n, vector.tobytes(), text) for n, (vector, text) in enumerate(zip(vectors, texts, strict=True)))
        self._database.executemany("insert into v(rowid, e, text) values (?, ?, ?)", rows)
        self._database.commit()

    def turn(self, width: int) -> None:
        """There is nothing to turn."""

    def ask(self, vector: np.ndarray, count: int) -> list[str]:
        """The ids of the nearest."""
        rows = self._database.execute(
            "select rowid, text from v where e match ? and k = ? order by distance", (vector.tobytes(), count)
        )
        return [self._ids[number] for number, _ in rows]


class Usearch:
    """usearch: HNSW in one file, without texts."""

    WIDTHS = _WIDTHS

    def __init__(self, folder: Path, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:  # noqa: ARG002
        import usearch
        from usearch.index import Index

        folder.mkdir()
        self.version, self.folder, self._ids = usearch.__version__, folder, ids
        self._index = Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
        self._index.add(np.arange(len(ids)), vectors)
        self._index.save(str(folder / "vectors.usearch"))

    def turn(self, width: int) -> None:
        """Search so far."""
        self._index.expansion_search = width

    def ask(self, vector: np.ndarray, count: int) -> list[str]:
        """The ids of the nearest."""
        return [self._ids[number] for number in self._index.search(vector, count).keys.tolist()]


class Tantivy:
    """tantivy: BM25 over the terms that me5 cuts."""

    def __init__(self, folder: Path, ids: Sequence[str], words: Sequence[str]) -> None:
        import tantivy

        folder.mkdir()
        self.version = tantivy.__version__.partition(",")[0].removeprefix("tantivy v")
        self.folder, self._ids, self._tantivy = folder, ids, tantivy
        schema = tantivy.SchemaBuilder()
        schema.add_integer_field("n", stored=True)
        schema.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
        self._schema = schema.build()
        self._index = tantivy.Index(self._schema, path=str(folder))
        writer = self._index.writer(heap_size=200_000_000)
        for number, text in enumerate(words):
            writer.add_document(tantivy.Document(n=number, words=text))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def ask(self, terms: Sequence[str], count: int) -> list[str]:
        """The ids of the best."""
        query, should = self._tantivy.Query, self._tantivy.Occur.Should
        parts = [(should, query.term_query(self._schema, "words", term, index_option="freq")) for term in terms]
        hits = self._searcher.search(query.boolean_query(parts), count).hits
        return [self._ids[self._searcher.doc(address)["n"][0]] for _, address in hits]


def size_of(folder: Path) -> int:
    """Bytes on disk."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fresh(folder: Path) -> Path:
    """A folder that is not there yet."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def read(path: Path) -> Any:
    """JSON."""
    return json.loads(path.read_text())
