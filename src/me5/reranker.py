"""Reranker: a query and documents in, scores out. The inference path of cross-encoders as one object.

    prepare   pairs → token ids (and the report)
    run       token ids → engine → logits in input order

The engines, their precisions and their batches are those of `Embedder`; so a pair's score is the same to the bit
whatever runs beside it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from me5.checkpoint import Checkpoint, resolve
from me5.engine import Precision
from me5.engine.base import Engine
from me5.errors import InputError
from me5.flow import ahead, vectors_of, windows_of
from me5.heads import Activation
from me5.loaded import Loaded
from me5.notices import Notices
from me5.pairs import Pair, PairPreprocessor
from me5.prepared import Prepared, Report
from me5.progress import Advance, track
from me5.texts import check_text, texts_of
from me5.tokenizer import Truncation
from me5.vectors import Float32, join


@dataclass(frozen=True)
class Ranked:
    """A document by its place in the list that was given, and its score."""

    index: int
    score: float


class Reranker(Loaded, PairPreprocessor):
    """A cross-encoder, ready to score documents for a query.

        reranker = Reranker.load("BAAI/bge-reranker-v2-m3")
        best = reranker.rank("how tall is K2?", ["Bake for an hour.", "K2 rises to 8,611 metres."])[0]

    Safe to call from several threads; not after a fork (load in the child instead). A pickle holds the arguments of
    `load`, and loads the model again elsewhere; copies share the engine.
    """

    def __init__(
        self,
        model: str | Path | Checkpoint,
        engine: Engine | None = None,
        *,
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
        revision: str | None = None,
    ) -> None:
        """The same as `load`; or a checkpoint around an engine that is open already."""
        checkpoint = model if isinstance(model, Checkpoint) else resolve(model, revision=revision)
        self._settle(checkpoint, max_tokens, truncation)
        self._open(
            model, engine, max_tokens, device=device, precision=precision, threads=threads, revision=revision
        )  # fmt: skip

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
        revision: str | None = None,
    ) -> "Reranker":
        """Load a folder or a hub id; the arguments are those of `Embedder.load`.

        Of a pair that is too long `truncation` says what is read: see `pairs`. Raises as `Embedder.load` does.
        """
        return cls(
            model, device=device, precision=precision, threads=threads, max_tokens=max_tokens, truncation=truncation,
            revision=revision,
        )  # fmt: skip

    def score(
        self,
        pairs: Iterable[Pair],
        *,
        activation: Activation | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
    ) -> Float32:
        """How well each document answers its query, higher is better, of pairs (query, document): float32 (pairs,).

        `activation` is `sigmoid` (from 0 to 1), `identity` (the raw logit), or None for the checkpoint's own.
        """
        if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes | Mapping):
            raise InputError(f"expected pairs of query and document, got {type(pairs).__name__}")
        count = len(pairs) if isinstance(pairs, Sized) else None
        with track(count, show=show_progress_bar, description="Scoring", unit="pairs") as advance:
            blocks = [block[:, None] for block in self.stream(pairs, report=report, advance=advance)]
        return self.scores(join(blocks, 1)[:, 0], activation)

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top: int | None = None,
        activation: Activation | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
    ) -> list[Ranked]:
        """The best `top` documents, or all, from the best on; equal scores keep their order. `activation`: see `score`.

        The report counts pairs in the order of the documents.
        """
        check_text(query, 0, "query")
        pairs = [(query, document) for document in texts_of(documents)]
        scores = self.score(pairs, activation=activation, report=report, show_progress_bar=show_progress_bar)
        return ranking(scores, top)

    def stream(
        self, pairs: Iterable[Pair], *, report: Report | None = None, advance: Advance | None = None
    ) -> Iterator[Float32]:
        """Logits in input order, a block at a time, in memory that does not grow with the input.

        `advance` is called after every batch with the numbers of pairs and tokens that it held.
        """
        notices = Notices(None, "pairs")

        def prepare(window: tuple[int, list[Pair]]) -> Prepared:
            return self.prepare(window[1], first=window[0])

        def prepared_windows() -> Iterator[Prepared]:
            for _, prepared in ahead(prepare, windows_of(pairs), self.engine.lookahead):
                notices.add((), prepared.report)
                yield prepared

        for prepared, logits in vectors_of(prepared_windows(), self.engine, advance):
            if report is not None:
                report.add(prepared.report)
            yield self.merge(logits, prepared)
        notices.warn(self.max_tokens)

    def run(self, prepared: Prepared, advance: Advance | None = None) -> Float32:
        """Logits (pairs,) of prepared pairs, in input order."""
        if not prepared.sequences:
            return np.empty(0, np.float32)
        return self.merge(next(vectors_of([prepared], self.engine, advance))[1], prepared)


def ranking(scores: Sequence[float] | Float32, top: int | None = None) -> list[Ranked]:
    """The best `top` scores, or all, with their places, from the best on; equal ones keep their order."""
    if top is not None and top < 1:
        raise InputError(f"top must be at least 1, got {top}")
    values = np.asarray(scores, np.float32)
    order = np.argsort(-values, kind="stable")[:top]
    return [Ranked(int(place), float(values[place])) for place in order]
