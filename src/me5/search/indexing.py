"""One run of indexing: what has changed, through the model, into the store, a batch at a time.

While the model reads one batch, the next is read from files, split, tokenized and told its languages.

A run that is killed loses the batch in flight. The next one asks the store which passages are there, so that it embeds
only what is missing; the vectors of passages that a changed file still holds are taken over as they are.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeVar

import numpy as np

from me5.embedder import Embedder
from me5.errors import EngineError, InputError, StoreError
from me5.prepared import Prepared, Report
from me5.progress import Advance
from me5.search import language
from me5.search.conditions import quoted
from me5.search.documents import NOWHERE, Document, NoTextError
from me5.search.files import text_hash
from me5.search.planning import BadFile, Forecast, Pace, Summary, Work, bad_files, textless, unwritable
from me5.search.readers import LINES
from me5.search.readers.tables import plain
from me5.search.schema import IndexedFile, Row
from me5.search.splitting import Passage, Splitter
from me5.search.store import Store
from me5.vectors import Float32

T = TypeVar("T")
_NO_TEXT = "holds no text"


@dataclass(frozen=True)
class _Origin:
    """Where a passage comes from, and what all passages of its document share. `metadata` is JSON."""

    work: Work
    document: Document
    language: str
    metadata: str


@dataclass
class _Batch:
    """Passages on their way, the files that end with them, and the bytes of files that they stand for, by kind."""

    pairs: list[tuple[_Origin, Passage]] = field(default_factory=list)
    ended: dict[str, Work] = field(default_factory=dict)
    touched: list[IndexedFile] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)
    bytes: "defaultdict[str, float]" = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True)
class _Item:
    """A passage that is ready for the model."""

    origin: _Origin
    row: Row
    tokens: "np.ndarray"


class Indexing:
    """A run, to be used in a `with` block. `advance` is told the bytes of files and the tokens that are done.

    `versions` are those of the sources that the store held before.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        versions: Mapping[str, Collection[str]] | None = None,
        advance: Advance = lambda *_: None,
        forecast: Forecast | None = None,
    ) -> None:
        self.summary = Summary()
        self._store = store
        self._embedder = embedder
        self._splitter = Splitter(embedder, store.settings.passage_tokens)
        self._advance = advance
        self._forecast = forecast or Forecast({})
        self._versions = store.versions() if versions is None else versions
        self._next = _Batch()
        self._counts: Counter[str] = Counter()
        self._pace = Pace()
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
                self._split(work, document)
                credited += (credit := min(step, work.stamp.size - credited))
                self._next.bytes[work.kind] += credit
        except NoTextError as error:
            work.complain(NOWHERE, str(error))
        except StoreError:
            raise
        except Exception as error:  # whatever a damaged file makes a library raise: the others go on
            self._give_up(work, error)
            return
        finally:
            self._next.bytes[work.kind] += work.stamp.size - credited
        self._next.ended[work.source] = work
        if set(self._versions.get(work.source, ())) - {work.version}:
            self._next.replaced[work.source] = work.version
        if len(self._next.ended) >= self._pace.size:
            self._flush()

    def _split(self, work: Work, document: Document) -> None:
        """Put the passages of a document into the batch, unless it cannot be written down."""
        metadata = json.dumps(plain(dict(document.metadata)), ensure_ascii=False)
        if (fault := unwritable(document, metadata)) is not None:
            if document.at is None:
                raise InputError(fault)
            work.complain(document.at, fault)
            return
        code = language.declared(document.language)
        if not code and work.kind != "code":
            code = language.detect(document.text if len(document.text) >= 40 else f"{document.title} {document.text}")
        # Not with its text: a batch would hold whole documents.
        origin = _Origin(work, replace(document, text="", sections=()), code, metadata)
        for passage in self._splitter.split(document, wrapped=work.kind not in LINES):
            self._next.pairs.append((origin, passage))
            if len(self._next.pairs) >= self._pace.size:
                self._flush()

    def touch(self, work: Work, known: IndexedFile) -> None:
        """A file that was written again with the content it had: only its looks are recorded."""
        self.summary.recall(work.called, known)
        self._next.touched.append(replace(known, stamp=work.stamp))
        self._next.bytes[work.kind] += work.stamp.size

    def _flush(self) -> None:
        """Hand the batch to the worker as soon as it has written the one before."""
        batch, self._next = self._next, _Batch()
        items: list[_Item] = []
        self._all_but_faulty(lambda pairs: items.extend(self._prepared(pairs)), batch.pairs, lambda pair: pair[0])
        self._wait()
        self._running = self._worker.submit(self._finish, batch, items)

    def _wait(self) -> None:
        """Until the worker is done. Raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _all_but_faulty(self, step: Callable[[list[T]], None], items: list[T], origin: Callable[[T], _Origin]) -> None:
        """Take a step with items of a batch; where it fails, with halves of them, until the faulty one is found.

        Raises what the engine raised if it can do nothing at all, and what the store raised in any case.
        """
        failed = 0

        def take(part: list[T]) -> EngineError | None:
            nonlocal failed
            try:
                step(part)
            except StoreError:
                raise
            except Exception as error:  # a text that a library stumbles over: the others go on
                if len(part) > 1:
                    take(part[: len(part) // 2])
                    return take(part[len(part) // 2 :])
                failed += 1
                one = origin(part[0])
                one.work.complain(one.document.at, _explained(error))
                one.work.failed.append(error)
                return error if isinstance(error, EngineError) else None
            return None

        last = take(items) if items else None
        if last is not None and failed == len(items) > 1:
            raise last

    def _finish(self, batch: _Batch, items: list[_Item]) -> None:
        """The worker's part: embed a batch, write it, and record the files that end with it."""
        started = perf_counter()
        self._all_but_faulty(self._write, items, lambda item: item.origin)
        ended = [file for work in batch.ended.values() if (file := self._ended(work)) and not work.failed]
        self._store.finish(batch.touched + ended, batch.replaced)
        tokens: Counter[str] = Counter()
        for item in items:
            tokens[item.origin.work.kind] += len(item.tokens)
        for kind, size in batch.bytes.items():
            self._forecast.seen(kind, size, tokens[kind])
        self._advance(round(sum(batch.bytes.values())), 0)
        self._pace.took(perf_counter() - started)

    def _ended(self, work: Work) -> IndexedFile:
        """What is recorded of a file whose passages are all written, and told of it."""
        passages = self._counts.pop(work.source, 0)
        if not passages and not work.problems:
            work.complain(NOWHERE, _NO_TEXT)
        problems = bad_files(work.called, work.problems)
        file = IndexedFile(work.source, work.stamp, work.version, passages, tuple(work.problems))
        self.summary.indexed += passages > 0
        if textless(file):
            self.summary.textless += problems
        else:
            self.summary.bad += problems
        return file

    def _give_up(self, work: Work, error: Exception) -> None:
        self._wait()  # what the batch in flight writes of the file has to go, too
        self._next.pairs = [pair for pair in self._next.pairs if pair[0].work is not work]
        if self._counts.pop(work.source, 0) or work.version in self._versions.get(work.source, ()):
            version = f"source = {quoted(work.source)} AND version = {quoted(work.version)}"
            self._store.delete_passages(version)  # half a file would look like a whole one
        self.summary.bad.append(BadFile(work.called, None, _explained(error)))

    def _write(self, items: list[_Item]) -> None:
        rows = [item.row for item in items]
        present, known = self._look_up(rows)
        new = [index for index, row in enumerate(rows) if row.id not in present]
        # A text that stands in a batch several times is read once.
        firsts = {rows[index].key: index for index in reversed(new) if rows[index].key not in known}
        vectors = self._embed([items[index].tokens for index in firsts.values()])
        known.update(zip(firsts, vectors, strict=True))
        if new:
            matrix = np.stack([np.asarray(known[rows[index].key], np.float32) for index in new])
            self.summary.passages += self._store.add([rows[index] for index in new], matrix)
            self.summary.reused += len(new) - len(firsts)
        self._counts.update(row.source for row in rows)

    def _prepared(self, pairs: list[tuple[_Origin, Passage]]) -> list[_Item]:
        """Passages ready for the model."""
        return [_Item(origin, self._row(origin, passage), tokens) for (origin, passage), tokens in self._fit(pairs)]

    def _fit(self, pairs: list[tuple[T, Passage]]) -> "list[tuple[tuple[T, Passage], np.ndarray]]":
        """Passages within the limit, and their tokens; those that are too long are cut again."""
        fitted = []
        while pairs:
            texts = [passage.written(self._splitter.longest_title) for _, passage in pairs]
            prepared = self._embedder.prepare(texts, "document", truncation="end")
            longer = []
            for (origin, passage), sequence, tokens in zip(
                pairs, prepared.sequences, prepared.report.tokens, strict=True
            ):
                if tokens <= self._splitter.limit or len(passage.text) == 1:
                    fitted.append(((origin, passage), sequence))
                else:
                    longer += [(origin, half) for half in self._splitter.halve(passage)]
            pairs = longer
        return fitted

    def _row(self, origin: _Origin, passage: Passage) -> Row:
        work, document = origin.work, origin.document
        place = f"{work.source}\0{work.version}\0{document.at}\0{passage.start}"
        declared = work.kind == "code" or language.declared(document.language)
        return Row(
            id=text_hash(place),
            key=text_hash(passage.written(self._splitter.longest_title)),
            source=work.source,
            version=work.version,
            title=passage.title,
            text=passage.text,
            start=passage.start,
            end=passage.end,
            at=document.at,
            language=origin.language if declared else language.of_passage(passage.text, origin.language),
            kind=work.kind,
            metadata=origin.metadata,
            modified=work.stamp.modified,
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


def _explained(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"cannot be read: {error or type(error).__name__}"
