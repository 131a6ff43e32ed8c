"""Index: documents in, hits out. The whole of search as one object."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

from me5.embedder import Embedder
from me5.errors import InputError
from me5.progress import track
from me5.search import files, recall
from me5.search.documents import Document
from me5.search.files import Found, Stamp, content_hash
from me5.search.fusion import WEIGHT
from me5.search.hits import Hit
from me5.search.indexing import BadFile, Indexing, Summary, Work, plan
from me5.search.readers import kind_of
from me5.search.readers.confined import Confined
from me5.search.readers.tables import Columns, plain, rows_of
from me5.search.recall import Recall
from me5.search.searching import Question, find, highlighted, sentences_of
from me5.search.settings import LOSSY, Quantization, Settings
from me5.search.store import Store

# Long enough to hold an answer with what is around it, short enough to be about one thing.
PASSAGE_TOKENS = 256


class Index:
    """A store of passages and the model that searches them.

        index = Index.open("my.lance", create=True)
        index.add(["docs/"])
        for hit in index.search("how do I install it?"):
            print(hit.score, hit.place, hit.best_sentence)

    `uri` is a folder, or the URL of an object store with its `storage_options` as LanceDB takes them. Several processes
    may write and search at the same time. Safe to use from several threads.
    """

    def __init__(self, store: Store, embedder: Embedder) -> None:
        store.settings.check(embedder)
        self.store = store
        self.embedder = embedder

    @classmethod
    def open(
        cls,
        uri: str | Path,
        embedder: Embedder | None = None,
        *,
        create: bool = False,
        passage_tokens: int | None = None,
        quantization: Quantization | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> "Index":
        """Open a store with the model it was made with, or, with `create`, make one where there is none.

        `embedder` None loads that model; for a new store it is the bundled one. `passage_tokens` (256, or what the
        model reads) and `quantization` (`none`, `int8`, `binary`: how an index over many vectors keeps them) are
        settled when a store is made. Raises `InputError` for a store that is not there, or was made otherwise.
        """
        store = Store.open(str(uri), storage_options)
        if store is None:
            if not create:
                raise InputError(f"{uri} holds no store; make one with `me5 index PATH… --into {uri}`")
            embedder = embedder or Embedder.load()
            tokens = passage_tokens or min(PASSAGE_TOKENS, embedder.max_seq_length)
            settings = Settings.of(embedder, passage_tokens=tokens, quantization=quantization or "none")
            store = Store.create(str(uri), settings, storage_options)
        _check_asked(store.settings, passage_tokens, quantization)
        return cls(store, embedder or load(store.settings))

    def __len__(self) -> int:
        """The number of passages."""
        return self.store.count()

    @property
    def settings(self) -> Settings:
        """What the store remembers of the model."""
        return self.store.settings

    def add(
        self,
        paths: Iterable[str | Path],
        *,
        columns: Columns | None = None,
        show_progress_bar: bool = False,
    ) -> Summary:
        """Bring the store up to date with files and folders: new and changed ones in, deleted ones out.

        `columns` names the columns of JSONL, CSV and Parquet. Call `finish` after the last `add`.
        Raises `InputError` for a path that is not there; files that cannot be used are in the summary.
        """
        clock = perf_counter()
        found = files.find(paths)
        known = self.store.known_files()
        todo = plan(found, known, self.store.versions())
        if todo.gone:
            self.store.remove(todo.gone)
        size = sum(found.files[source].size for source in todo.changed)
        with (
            track(size, show=show_progress_bar, description="Indexing", unit="bytes") as advance,
            Confined() as confined,
            Indexing(self.store, self.embedder, advance) as indexing,
        ):
            summary = indexing.summary
            summary.bad += [BadFile(path, None, reason) for path, reason in found.unreadable.items()]
            for source in todo.changed:
                try:
                    work = _work(source, found, columns or Columns(), summary.bad, confined)
                except (InputError, OSError) as error:
                    summary.bad.append(BadFile(source, None, str(error)))
                    continue
                if source in known and known[source].version == work.version:
                    indexing.touch(work, known[source])
                else:
                    indexing.add(work)
        summary.unchanged += todo.unchanged
        summary.removed = len(todo.gone)
        summary.others = found.others
        summary.seconds = perf_counter() - clock
        return summary

    def add_documents(self, documents: Mapping[str, Document]) -> Summary:
        """Index documents that are no files, by names that stay theirs: the same name again replaces."""
        clock = perf_counter()
        known = self.store.known_files()
        with Indexing(self.store, self.embedder) as indexing:
            for name, document in documents.items():
                content = json.dumps(
                    [document.text, document.title, plain(dict(document.metadata)), document.language], sort_keys=True
                )
                version = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
                if name in known and known[name].version == version:
                    indexing.summary.unchanged += 1
                else:
                    stamp = Stamp(len(document.text), time_ns())
                    indexing.add(Work(name, "text", version, stamp, [document]))
        indexing.summary.seconds = perf_counter() - clock
        return indexing.summary

    def finish(self, *, pays_from: int = recall.PAYS_FROM) -> Recall | None:
        """Tidy the store after writing, bring its indexes up to date, and build one over the vectors where it pays.

        Returns what the new index was measured to be, None where none was built.
        """
        if not len(self):
            return None
        self.store.index_text()
        built = recall.build(self.store, self.embedder, pays_from=pays_from)
        self.store.tidy()
        return built

    def remove(self, sources: Iterable[str | Path]) -> int:
        """Drop sources by name, and everything under folders, and tell how many passages that were."""
        names = [str(source) for source in sources]
        there = {*self.store.known_files(), *self.store.versions()}
        folders = [Path(name).expanduser().absolute() for name in names]
        under = {source for source in there if any(Path(source).is_relative_to(folder) for folder in folders)}
        return self.store.remove(sorted(under | (there & set(names))))

    def search(
        self,
        question: str,
        k: int = 10,
        *,
        where: str | None = None,
        task: str | None = None,
        hybrid: bool = False,
        highlight: bool = False,
        exact: bool = False,
        weight: float = WEIGHT,
    ) -> list[Hit]:
        """The `k` passages that answer a question best, best first.

        `where` is an SQL filter over the columns of `Hit` (`language = 'de' AND source LIKE '%.pdf'`). `task` as in
        `Embedder.encode_query`. `hybrid` also looks the words up in the full text; vectors have this `weight` there,
        words the rest of 1. `highlight` finds the best sentence of each passage. `exact` goes past the index over the
        vectors. Raises `InputError` for a filter that cannot be used.
        """
        (vector,) = self.embedder.encode_query([question], task=task)
        hits = find(self.store, Question(question, k, where, hybrid, exact, weight), vector)
        texts = sentences_of(hits) if highlight else []
        return highlighted(hits, (self.embedder.encode_document(texts) @ vector).tolist()) if texts else hits

    def check(self) -> Recall | None:
        """Measure the index over the vectors against exact search; None where there is none and searches are exact."""
        return recall.measure(self.store, self.embedder)


def load(settings: Settings, *, threads: int | None = None) -> Embedder:
    """The model that a store was made with, at its precision where this machine has it."""
    precision: Any = settings.precision if settings.precision in LOSSY else "auto"
    return Embedder.load(settings.model, precision=precision, threads=threads)


def _check_asked(settings: Settings, passage_tokens: int | None, quantization: str | None) -> None:
    for name, asked, kept in (
        ("passages of at most N tokens", passage_tokens, settings.passage_tokens),
        ("the quantization", quantization, settings.quantization),
    ):
        if asked is not None and asked != kept:
            raise InputError(
                f"this store was made with {name.replace('N', str(kept))}"
                f"{f' {kept}' if 'N' not in name else ''}, got {asked}; leave it out, or index into another store"
            )


def _work(source: str, found: Found, columns: Columns, bad: list[BadFile], confined: Confined) -> Work:
    """A file and how to read it. Raises `InputError` or `OSError` for one that cannot be."""
    kind = kind_of(Path(source))
    content = content_hash(source)
    version = hashlib.blake2b(f"{content} {columns}".encode(), digest_size=16).hexdigest()

    def complain(at: int, reason: str) -> None:
        bad.append(BadFile(source, at, reason))

    return Work(
        source,
        kind.name,
        version,
        found.files[source],
        confined.read(Path(source), columns, complain),
        rows_of(source, kind.name),
    )
