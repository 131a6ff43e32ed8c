"""Who scores pairs of query and document: any checkpoint that me5 reads, any cross-encoder of sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from me5 import fingerprint
from me5.checkpoint import resolve
from me5.data.contract import Document, Query
from me5.embedder import Embedder
from me5.engine import Precision
from me5.errors import CheckpointError, EngineError, InputError, MissingExtraError
from me5.progress import Advance
from me5.reranker import Reranker
from me5.vectors import Float32, join

Pair = tuple[Query, Document]
CROSS_ENCODER = "ce:"
# Pairs that go through a cross-encoder between two moves of the progress bar; it sorts them by length.
_STEP = 512


class Teacher(Protocol):
    """A judge of pairs. `name` is for people; `version` changes with whatever changes a score."""

    name: str
    version: str

    def score(self, pairs: Sequence[Pair], advance: Advance | None = None) -> Float32:
        """How well each document answers its query, higher is better: float32 (pairs,)."""


class EmbeddingTeacher(Teacher, Protocol):
    """A judge that gives each side a vector of its own, so that it can search."""

    def embed_queries(self, queries: Sequence[Query], advance: Advance | None = None) -> Float32:
        """Unit vectors (queries, dim) in order."""

    def embed_documents(self, documents: Sequence[Document], advance: Advance | None = None) -> Float32:
        """Unit vectors (documents, dim) in order."""


class CheckpointTeacher:
    """A me5 checkpoint: scores are cosines, and its prompts come by themselves. See `EmbeddingTeacher`.

    Of instruct models a query's own instruction is its task, `task` that of queries without one. Models with fixed
    prompts take none of both.
    """

    def __init__(self, embedder: Embedder, *, task: str | None = None) -> None:
        self._embedder = embedder
        self._instructed = embedder.prompts.style == "instruct"
        if task is not None:
            embedder.prompts.prefix("query", task)  # one that does not fit is refused before any work
        self._task = task
        self.name = f"{embedder.checkpoint.name} ({embedder.precision})"
        vectors = embedder.fingerprint(embedder.precision, task=task)
        self.version = f"cosine-{embedder.precision}-{vectors[:16]}"

    def embed_queries(self, queries: Sequence[Query], advance: Advance | None = None) -> Float32:
        """See `EmbeddingTeacher.embed_queries`."""
        vectors = np.empty((len(queries), self._embedder.dim), np.float32)
        places: dict[str | None, list[int]] = {}
        for place, query in enumerate(queries):
            task = query.instruction or self._task if self._instructed else self._task
            places.setdefault(task, []).append(place)
        for task, chosen in places.items():
            texts = [queries[place].text for place in chosen]
            vectors[chosen] = join(
                list(self._embedder.stream(texts, "query", task=task, advance=advance)), self._embedder.dim
            )
        return vectors

    def embed_documents(self, documents: Sequence[Document], advance: Advance | None = None) -> Float32:
        """See `EmbeddingTeacher.embed_documents`. A title stands before its text, as E5 has it."""
        texts = (document.whole for document in documents)
        return join(list(self._embedder.stream(texts, "document", advance=advance)), self._embedder.dim)

    def score(self, pairs: Sequence[Pair], advance: Advance | None = None) -> Float32:
        """See `Teacher.score`. Embeds each query and document of the pairs once."""
        queries = {query.id: query for query, _ in pairs}
        documents = {document.id: document for _, document in pairs}
        query_vectors = dict(zip(queries, self.embed_queries(list(queries.values())), strict=True))
        document_vectors = dict(zip(documents, self.embed_documents(list(documents.values())), strict=True))
        scores = [query_vectors[query.id] @ document_vectors[document.id] for query, document in pairs]
        if advance is not None:
            advance(len(pairs), 0)
        return np.array(scores, np.float32)


class RerankerTeacher:
    """A cross-encoder that me5 reads: scores are its raw logits. See `Teacher`.

    Raw, for a sigmoid would press the best of them together. A query's instruction is not read: rerankers know none.
    """

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.name = f"{reranker.checkpoint.name} (cross-encoder, {reranker.precision})"
        self.version = f"logit-{reranker.precision}-{reranker.fingerprint(reranker.precision)[:16]}"

    def score(self, pairs: Sequence[Pair], advance: Advance | None = None) -> Float32:
        """See `Teacher.score`."""
        texts = [(query.text, document.whole) for query, document in pairs]
        blocks = list(self._reranker.stream(texts, advance=advance))
        return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


class CrossEncoderTeacher:
    """Any cross-encoder of sentence-transformers with one output: scores are its raw logits. See `Teacher`.

    No remote code is run.
    """

    def __init__(
        self, model: str | Path, *, device: str = "cpu", max_tokens: int | None = None, batch_size: int = 32
    ) -> None:
        # Imported here: it loads torch, which other teachers do not need.
        try:
            import sentence_transformers
        except ImportError as error:
            raise MissingExtraError("cross-encoders need the library: pip install sentence-transformers") from error
        try:
            self._model = sentence_transformers.CrossEncoder(
                str(model), device=device, max_length=max_tokens, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(f"sentence-transformers cannot load the cross-encoder {model}: {error}") from error
        if self._model.num_labels != 1:
            raise CheckpointError(
                f"{model} has {self._model.num_labels} outputs; expected a cross-encoder with one, a reranker"
            )
        self._batch_size = batch_size
        self.name = f"{Path(model).name if Path(model).is_dir() else model} (cross-encoder)"
        config = {name: value for name, value in self._model.config.to_dict().items() if not name.startswith("_")}
        tokenizer = self._model.tokenizer
        settings = {
            "config": config, "max_tokens": tokenizer.model_max_length, "vocabulary": tokenizer.get_vocab(),
        }  # fmt: skip
        self.version = f"logit-{fingerprint.of_network(settings, self._model.state_dict().items())[:16]}"

    def score(self, pairs: Sequence[Pair], advance: Advance | None = None) -> Float32:
        """See `Teacher.score`. A query's instruction is not read: rerankers know none."""
        scores = np.empty(len(pairs), np.float32)
        # Longest first, so that a batch's texts are of one length and what is too large fails at once.
        texts = [(query.text, document.whole) for query, document in pairs]
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place][0]) - len(texts[place][1]))
        for start in range(0, len(order), _STEP):
            step = order[start : start + _STEP]
            scores[step] = self._model.predict(
                [texts[place] for place in step],
                batch_size=self._batch_size,
                activation_fn=_raw,
                show_progress_bar=False,
            )
            if advance is not None:
                advance(len(step), 0)
        if (bad := np.flatnonzero(~np.isfinite(scores))).size:
            query, document = pairs[int(bad[0])]
            raise EngineError(
                f"{self.name} gave {scores[bad[0]]} for query {query.id} and document {document.id}; "
                "run it in float32, or use another teacher"
            )
        return scores


def open_teacher(
    model: str | None,
    *,
    device: str = "cpu",
    precision: Precision = "auto",
    threads: int | None = None,
    max_tokens: int | None = None,
    task: str | None = None,
    revision: str | None = None,
) -> Teacher:
    """The teacher that a command line names: `ce:NAME` one of sentence-transformers, else a checkpoint that me5 reads.

    That is a reranker where it has a head, else an embedding model.
    """
    if model is None or not model.startswith(CROSS_ENCODER):
        checkpoint = resolve(model, revision=revision)
        if checkpoint.config.head is None:
            return CheckpointTeacher(
                Embedder(checkpoint, device=device, precision=precision, threads=threads, max_tokens=max_tokens),
                task=task,
            )
        if task is not None:
            raise InputError(f"{model} is a reranker, which knows no task; leave it out")
        return RerankerTeacher(
            Reranker(checkpoint, device=device, precision=precision, threads=threads, max_tokens=max_tokens)
        )
    if precision != "auto" or threads is not None or task is not None:
        raise InputError(f"{model} is not a me5 checkpoint and takes no precision, threads or task; leave them out")
    return CrossEncoderTeacher(model.removeprefix(CROSS_ENCODER), device=device, max_tokens=max_tokens)


def _raw(logits: Any) -> Any:
    return logits
