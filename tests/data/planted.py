"""Teachers with planted opinions, datasets in a line, and one that gets itself killed."""

import os
import signal
from pathlib import Path

import numpy as np

from me5.data.contract import Document, Example, Query
from me5.data.dataset import Dataset
from me5.data.writing import write_dataset


class Plane:
    """Reads the first number of a text as an angle in degrees: texts are as alike as their angles."""

    name, version = "plane", "plane-1"

    def __init__(self, kill_at=None):
        self.embedded = self.scored = 0
        self._kill_at = kill_at

    def embed_queries(self, queries, advance=None):
        return self._embed([query.text for query in queries], advance)

    def embed_documents(self, documents, advance=None):
        return self._embed([document.text for document in documents], advance)

    def _embed(self, texts, advance):
        if self._kill_at is not None and self.embedded + len(texts) > self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.embedded += len(texts)
        if advance is not None:
            advance(len(texts), 0)
        angles = np.radians([angle_of(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def score(self, pairs, advance=None):
        self.scored += len(pairs)
        return np.array(
            [np.cos(np.radians(angle_of(query.text) - angle_of(document.text))) for query, document in pairs],
            np.float32,
        )


class Scripted:
    """A teacher who takes the documents that hold some word for answers, and nothing else."""

    name = "scripted"

    def __init__(self, word, version="scripted-1"):
        self.word, self.version = word, version
        self.scored = []

    def score(self, pairs, advance=None):
        self.scored += [(query.text, document.text) for query, document in pairs]
        return np.array([5.0 if self.word in document.text else 0.0 for _, document in pairs], np.float32)


def angle_of(text):
    return float(text.split()[0])


def dataset(folder: Path, examples, documents=()) -> Dataset:
    return write_dataset(folder, [*documents, *examples], step={"step": "test"})


def pairs_in_a_line(folder: Path, count=40, source="line") -> Dataset:
    """Query n at n degrees, its positive at n + 0.25 degrees."""
    return dataset(folder, [example(f"{n} asks", f"{n + 0.25} answers", source=source) for n in range(count)])


def example(query, document, kind="positive", *, title="", lang="", source="s", instruction=""):
    return Example(Query(query, instruction), Document(document, title, lang), kind, source=source, licence="CC0")


def told(dataset: Dataset, kind=None):
    """(query text, document text) of all relations, or those of a kind."""
    queries = {query.id: query.text for query in dataset.queries()}
    documents = {document.id: document.text for document in dataset.documents()}
    return [
        (queries[relation.query_id], documents[relation.document_id])
        for relation in dataset.relations()
        if kind in (None, relation.kind)
    ]
