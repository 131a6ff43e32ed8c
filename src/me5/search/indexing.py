"""One run of indexing: what has changed, through the model, into the store, a batch at a time.

While the model reads one batch, the next is read from files, split, tokenized and told its languages.

A run that is killed loses the batch in flight. The next one asks the store which passages are there, so that it embeds
only what is missing; the vectors of passages that a changed file still holds are taken over as they are.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np

from me5.embedder import Embedder, Float32
from me5.errors import InputError
from me5.progress import Advance
from me5.search import language
from me5.search.documents import Document
from me5.search.files import Found, Stamp
from me5.search.splitting import Passage, Splitter
from me5.search.store import IndexedFile, Row, Store, quoted
from me5.tokenizer import Prepared, Report

# A batch takes about this long, whatever the model and the machine: it is what a kill loses.
_BATCH_SECONDS = 10.0
# Kinds whose line breaks mean something; in the others they may only fill a page.
_LINES = ("code", "html", "docx", "markdown", "notebook")
_FIRST_BATCH, _LARGEST_BATCH = 64, 4096


@dataclass(frozen=True)
class BadFile:
    """A file, or one row of it, that could not be used."""

    source: str
    at: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.source}{'' if self.at is None else f':{self.at}'}: {self.reason}"


@dataclass
class Summary:
    """What a run did. `reused` of the passages kept the vectors they had; `others` counts suffixes without a reader."""

    unchanged: int = 0
    indexed: int = 0
    removed: int = 0
    passages: int = 0
    reused: int = 0
    tokens: int = 0
    bad: list[BadFile] = field(default_factory=list)
    others: "Counter[str]" = field(default_factory=Counter)
    seconds: float = 0.0
    engine_seconds: float = 0.0


@dataclass(frozen=True)
class Work:
    """A source to index: a file, or documents that came from elsewhere.

    `version` is the hash of its content. Each document stands for `stamp.size / parts` bytes of progress.
    """

    source: str
    kind: str
    version: str
    stamp: Stamp
    documents: Iterable[Document]
    parts: int = 1


@dataclass
class Plan:
    """What a run has to do with the files it found."""

    changed: list[str]
    gone: list[str]
    unchanged: int


def plan(found: Found, known: Mapping[str, IndexedFile], versions: Iterable[str]) -> Plan:
    """Compare the files that are there with those in the store. What cannot be listed now is not gone."""
    changed = [source for source, stamp in found.files.items() if source not in known or known[source].stamp != stamp]
    hidden = [Path(path) for path in found.unreadable]
    gone = [
        source
        for source in sorted({*known, *versions} - found.files.keys())
        if found.covers(source) and not any(Path(source).is_relative_to(path) for path in hidden)
    ]
    return Plan(changed, gone, len(found.files) - len(changed))


@dataclass
class _Batch:
    """Passages on their way, the files that end with them, and the bytes of files that they stand for."""

    pairs: list[tuple[Work, Passage]] = field(default_factory=list)
    ended: dict[str, IndexedFile] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    bytes: float = 0.0


class Indexing:
    """A run, to be used in a `with` block. `advance` is told the bytes of files and the tokens that are done."""

    def __init__(self, store: Store, embedder: Embedder, advance: Advance = lambda *_: None) -> None:
        self.summary = Summary()
        self._store = store
        self._embedder = embedder
        self._splitter = Splitter(embedder, store.settings.passage_tokens)
        self._advance = advance
        self._versions = store.versions()
        self._next = _Batch()
        self._counts: Counter[str] = Counter()
        self._size = _FIRST_BATCH
        self._worker = ThreadPoolExecutor(1, "me5-indexing")
        self._running: Future[None] | None = None

    def __enter__(self) -> "Indexing":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is left; after an error nothing more than the batch in flight."""
        try:
            if kind is None:
                self._flush()
                self._wait()
        finally:
            self._worker.shutdown()

    def add(self, work: Work) -> None:
        """Index one source. One that cannot be read is noted, and what the store held of it stays."""
        step = work.stamp.size / max(work.parts, 1)
        credited = 0.0
        try:
            for document in work.documents:
                for passage in self._splitter.split(document, wrapped=work.kind not in _LINES):
                    self._next.pairs.append((work, passage))
                    if len(self._next.pairs) >= self._size:
                        self._flush()
                credited += (credit := min(step, work.stamp.size - credited))
                self._next.bytes += credit
        except Exception as error:  # whatever a damaged file makes a library raise: the others go on
            self._wait()  # an error of the batch in flight is none of the file's
            self._give_up(work, error)
            return
        self._next.bytes += work.stamp.size - credited
        self._next.ended[work.source] = IndexedFile(work.source, work.stamp, work.version, 0)
        if self._versions.get(work.source, set()) - {work.version}:
            self._next.replaced.append(work.source)
        self.summary.indexed += 1
        if len(self._next.ended) >= self._size:
            self._flush()

    def touch(self, work: Work, known: IndexedFile) -> None:
        """A file that was written again with the content it had: only its looks are recorded."""
        self.summary.unchanged += 1
        self._next.ended[work.source] = IndexedFile(work.source, work.stamp, work.version, known.passages)
        self._counts[work.source] = known.passages
        self._next.bytes += work.stamp.size

    def _flush(self) -> None:
        """Hand the batch to the worker as soon as it has written the one before."""
        batch, self._next = self._next, _Batch()
        fitted, sequences = self._fit(batch.pairs)
        rows = [self._row(work, passage) for work, passage in fitted]
        self._counts.update(row.source for row in rows)
        batch.ended = {
            source: replace(file, passages=self._counts.pop(source, 0)) for source, file in batch.ended.items()
        }
        self._wait()
        self._running = self._worker.submit(self._finish, batch, rows, sequences)

    def _wait(self) -> None:
        """Until the worker is done. Raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _finish(self, batch: _Batch, rows: list[Row], sequences: "list[np.ndarray]") -> None:
        """The worker's part: embed a batch, write it, and record the files that end with it."""
        started = perf_counter()
        self._write(rows, sequences)
        self._store.finish(list(batch.ended.values()), batch.replaced)
        self._advance(round(batch.bytes), 0)
        seconds = perf_counter() - started
        if seconds < _BATCH_SECONDS / 2:
            self._size = min(self._size * 2, _LARGEST_BATCH)
        elif seconds > _BATCH_SECONDS * 2:
            self._size = max(self._size // 2, _FIRST_BATCH)

    def _give_up(self, work: Work, error: Exception) -> None:
        self._next.pairs = [pair for pair in self._next.pairs if pair[0] is not work]
        if self._counts.pop(work.source, 0) or work.version in self._versions.get(work.source, ()):
            version = f"source = {quoted(work.source)} AND version = {quoted(work.version)}"
            self._store.delete_passages(version)  # half a file would look like a whole one
        reason = str(error) if isinstance(error, InputError) else f"cannot be read: {error or type(error).__name__}"
        self.summary.bad.append(BadFile(work.source, None, reason))

    def _write(self, rows: list[Row], sequences: "list[np.ndarray]") -> None:
        present, known = self._look_up(rows)
        new = [index for index, row in enumerate(rows) if row.id not in present]
        # A text that stands in a batch several times is read once.
        firsts = {rows[index].key: index for index in reversed(new) if rows[index].key not in known}
        vectors = self._embed([sequences[index] for index in firsts.values()])
        known.update(zip(firsts, vectors, strict=True))
        if new:
            matrix = np.stack([np.asarray(known[rows[index].key], np.float32) for index in new])
            self.summary.passages += self._store.add([rows[index] for index in new], matrix)
            self.summary.reused += len(new) - len(firsts)

    def _fit(self, pairs: list[tuple[Work, Passage]]) -> "tuple[list[tuple[Work, Passage]], list[np.ndarray]]":
        """Passages within the limit, and their token sequences; those that are too long are cut again."""
        fitted: list[tuple[Work, Passage]] = []
        sequences: list[np.ndarray] = []
        while pairs:
            texts = [passage.written(self._splitter.longest_title) for _, passage in pairs]
            prepared = self._embedder.prepare(texts, "document", truncation="end")
            longer = []
            for (work, passage), sequence, tokens in zip(
                pairs, prepared.sequences, prepared.report.tokens, strict=True
            ):
                if tokens <= self._splitter.limit or len(passage.text) == 1:
                    fitted.append((work, passage))
                    sequences.append(sequence)
                else:
                    longer += [(work, half) for half in self._splitter.halve(passage)]
            pairs = longer
        return fitted, sequences

    def _row(self, work: Work, passage: Passage) -> Row:
        document = passage.document
        written = passage.written(self._splitter.longest_title)
        place = f"{work.source}\0{work.version}\0{document.at}\0{passage.start}"
        told = "" if work.kind == "code" else language.detect(written if len(passage.text) < 40 else passage.text)
        return Row(
            id=_hash(place),
            key=_hash(written),
            source=work.source,
            version=work.version,
            title=passage.title,
            text=passage.text,
            start=passage.start,
            end=passage.end,
            at=document.at,
            language=document.language or told,
            kind=work.kind,
            metadata=json.dumps(document.metadata, ensure_ascii=False),
            modified=datetime.fromtimestamp(work.stamp.mtime_ns / 1e9, UTC),
        )

    def _look_up(self, rows: list[Row]) -> "tuple[set[str], dict[str, list[float] | Float32]]":
        """Of sources that the store held before this run: ids that are there, vectors by key."""
        present: set[str] = set()
        vectors: dict[str, list[float] | Float32] = {}
        for source in {row.source for row in rows} & self._versions.keys():
            ids, found = self._store.present(source, {row.key for row in rows if row.source == source})
            present |= ids
            vectors |= found
        return present, vectors

    def _embed(self, sequences: "list[np.ndarray]") -> Float32:
        if not sequences:
            return np.empty((0, self._embedder.dim), np.float32)
        count = len(sequences)
        report = Report(array("q", map(len, sequences)), array("q", [0] * count), array("q", [1] * count))
        started = perf_counter()
        vectors = self._embedder.run(
            Prepared(sequences, np.arange(count, dtype=np.int64), report), lambda _, tokens: self._advance(0, tokens)
        )
        self.summary.engine_seconds += perf_counter() - started
        self.summary.tokens += sum(report.tokens)
        return vectors


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
