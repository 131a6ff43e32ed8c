"""Index: documents in, hits out. The whole of search as one object."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter, time_ns
from typing import Any, Self

from me5.calibration.bound import Sides
from me5.embedder import Embedder
from me5.errors import InputError
from me5.fingerprint import LOSSY
from me5.reranker import Reranker
from me5.search import files, migration, recall
from me5.search.attaching import AttachedColumns, attach
from me5.search.documents import Document
from me5.search.files import Stamp
from me5.search.filters import parse
from me5.search.folding import Group
from me5.search.foreign import opened
from me5.search.hits import Hit
from me5.search.indexing import Indexing
from me5.search.migration import Migration
from me5.search.planning import Summary, Work, unwritable
from me5.search.readers import VERSION
from me5.search.readers.tables import Columns, plain
from me5.search.recall import Recall
from me5.search.reranking import CANDIDATES, reranked
from me5.search.scale import Cosines, Fit
from me5.search.searching import By, Question, find, highlighted, sentences_of
from me5.search.settings import StoreSettings
from me5.search.sources import Sources
from me5.search.splitting import Splitter
from me5.search.store import Store
from me5.search.updating import update
from me5.search.upgrading import add_words, upgrade

# Long enough to hold an answer with what is around it, short enough to be about one thing.
PASSAGE_TOKENS = 256
# Loads a model, given the settings of the store; None for a new one.
Load = Callable[[StoreSettings | None], Embedder]


class Index:
    """A store of passages and the model that searches them.

        with Index.open("my.lance", create=True) as index:
            index.add(["docs/"])
        for hit in index.search("how do I install it?"):
            print(hit.score, hit.place, hit.best_sentence)

    Leaving the `with` block brings the store's indexes up to date with what was added and removed in it; nothing needs
    closing. Several processes may write and search at the same time. Safe to use from several threads.
    """

    def __init__(self, store: Store, load: Callable[[], Embedder], embedder: Embedder | None = None) -> None:
        """What `open` makes; `embedder` is a model that is known to be the store's."""
        self.store = store
        self._load = load
        self._loading = Lock()
        self._embedder = embedder
        self._unfinished = False

    @property
    def embedder(self) -> Embedder:
        """The model of the store; one that was not given is loaded when it is first needed."""
        with self._loading:
            if self._embedder is None:
                loaded = self._load()
                self.store.settings.check(loaded, loaded.precision)
                self._embedder = loaded
            return self._embedder

    @classmethod
    def open(
        cls,
        uri: str | Path,
        model: Embedder | str | Path | Load | None = None,
        *,
        create: bool = False,
        passage_tokens: int | None = None,
        storage_options: Mapping[str, str] | None = None,
        freshness: float = 0.0,
        before: Callable[[Embedder], None] | None = None,
    ) -> "Index":
        """Open the store in a folder or at an object-store URL; with `create`, make one where there is none.

        `model` is an `Embedder`, a name that `Embedder.load` takes, or a function that loads one, given the settings of
        the store (None for a new one). Without it a new store gets the bundled model; an existing store loads the model
        that it was made with when it first needs it, if that is the bundled one, a local folder or one that me5 knows
        (a store must not decide what is downloaded). `passage_tokens` (256, or what the model reads) is fixed when a
        store is made. `storage_options` are those of the object store, as LanceDB takes them. Searches see what other
        processes wrote more than `freshness` seconds ago; looking at each search costs a read of the store. `before` is
        called with the model before a store is made; what it raises keeps it from being made. Raises `InputError` where
        there is no store, or one that was made otherwise.
        """
        load = _loader(model)
        embedder = model if isinstance(model, Embedder) else None
        store = Store.open(str(uri), storage_options, freshness=freshness)
        if store is not None:
            if embedder is not None:
                store.settings.check(embedder, embedder.precision)
        elif create:
            embedder = load(None)
            if before is not None:
                before(embedder)
            tokens = min(PASSAGE_TOKENS, embedder.max_seq_length) if passage_tokens is None else passage_tokens
            Splitter(embedder, tokens)  # refuses a length that the model does not read, before there is a store
            settings = StoreSettings.of(embedder, embedder.precision, passage_tokens=tokens)
            store = Store.create(str(uri), settings, storage_options)
            store.settings.check_same(settings)  # another writer may have been faster
        else:
            raise InputError(f"{uri} holds no store; make one with `me5 index PATH… --into {uri}`")
        _check_wanted(store.settings, passage_tokens)
        return cls(store, partial(load, store.settings), embedder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish what was added or removed; after an error that is left to the next run."""
        if kind is None and self._unfinished:
            self.finish()

    def __len__(self) -> int:
        """The number of passages."""
        return self.store.count()

    @property
    def settings(self) -> StoreSettings:
        """What the store remembers of the model."""
        return self.store.settings

    def add(
        self,
        paths: Iterable[str | Path] | str | Path,
        *,
        columns: Columns | None = None,
        exclude: Sequence[str] = (),
        follow_links: bool = False,
        show_progress_bar: bool = False,
    ) -> Summary:
        """Bring the store up to date with files and folders: new and changed ones in, deleted ones out.

        `columns` names the columns of JSONL, CSV and Parquet. `exclude` are patterns as in `.gitignore`, added to those
        in files called `.me5ignore`. Symbolic links within folders are read only with `follow_links`. Raises
        `InputError` for a path that does not exist, `StoreError` for a store that cannot be written to; files that
        cannot be used are in the summary.
        """
        self._unfinished = True
        started = perf_counter()
        found = files.find(paths, exclude=exclude, follow_links=follow_links)
        summary = update(self.store, lambda: self.embedder, found, columns or Columns(), show=show_progress_bar)
        summary.seconds = perf_counter() - started
        return summary

    def add_documents(self, documents: Mapping[str, Document]) -> Summary:
        """Index documents that are no files, by names that stay theirs: the same name again replaces.

        Raises `InputError` that names a document which cannot be used, before any is indexed.
        """
        clock, self._unfinished = perf_counter(), True
        contents = {name: _content(name, document) for name, document in documents.items()}
        self._check_names(documents)
        upgrade(self.store)
        known = self.store.known_files()
        with Indexing(self.store, self.embedder, self.store.versions()) as indexing:
            for name, document in documents.items():
                version = files.text_hash(contents[name])
                if name in known and known[name].version == version:
                    indexing.summary.recall(name, known[name])
                else:
                    stamp = Stamp(len(document.text), time_ns())
                    indexing.add(Work(name, "text", version, stamp, [document]))
        indexing.summary.seconds = perf_counter() - clock
        return indexing.summary

    def attach(
        self,
        source: str | Path,
        *,
        table: str | None = None,
        columns: AttachedColumns | None = None,
        storage_options: Mapping[str, str] | None = None,
        show_progress_bar: bool = False,
    ) -> Summary:
        """Take in a table of texts and vectors: a Parquet file, or a LanceDB database and the name of a `table` in it.

        Every row becomes a passage with its vector, scaled to length 1, and the other columns as its metadata. The same
        table again replaces; one that has not changed costs nothing. Raises `InputError` where the vectors are not
        those of the store's model.
        """
        self._unfinished, started = True, perf_counter()
        found = opened(str(source), table, storage_options)
        self._check_names([found.name])
        upgrade(self.store)
        summary = attach(self.store, self.embedder, found, columns or AttachedColumns(), show=show_progress_bar)
        summary.seconds = perf_counter() - started
        return summary

    def _check_names(self, names: Iterable[str]) -> None:
        roots = self.store.roots()
        for name in names:
            if (first := name.partition("/")[0]) in roots:
                raise InputError(
                    f"document {name!r} would be taken for a file of {roots[first]}, which is indexed as {first!r}; "
                    "choose another name"
                )

    def finish(self, *, pays_from: int = recall.PAYS_FROM) -> Recall | None:
        """Compact the store, bring its indexes up to date, and build one over the vectors where it pays.

        The end of a `with` block does it; call it to search full text before that, or to see the figures of the new
        index over the vectors, which it returns; None where none was built.
        """
        self._unfinished = False
        if not len(self):
            return None
        add_words(self.store)
        self.store.index_words()
        built = recall.train(self.store, self.embedder) if recall.pays(self.store, pays_from) else None
        migration.settle(self.store)
        self.store.tidy()
        return built

    def migrate(
        self, model: Embedder | str | Path, *, show_progress_bar: bool = False, pays_from: int = recall.PAYS_FROM
    ) -> Migration:
        """Bring the store over to another model, or to the same at another precision; its passages stay as they are.

        Searches find what the old model finds until all is there; then one commit changes to the new one, and what has
        the store open must open it again. A run that was interrupted goes on where it was. Raises `InputError` for the
        model that the store has.
        """
        embedder = _loader(model)(None)
        self.store, done = migration.migrate(self.store, embedder, pays_from=pays_from, show=show_progress_bar)
        with self._loading:
            self._embedder = embedder
        return done

    def remove(self, sources: Iterable[str | Path] | str | Path) -> int:
        """Drop sources, and everything under folders, by their names or paths, and tell how many passages that were."""
        self._unfinished = True
        return self.store.remove(sorted(set().union(*self.named(sources).values())))

    def named(self, sources: Iterable[str | Path] | str | Path) -> dict[str, set[str]]:
        """What the store has of each of these names or paths: a source, or all under a folder."""
        there = {*self.store.known_files(), *self.store.versions()}
        named = Sources(self.store.roots())
        paths = {source: path for source in there if (path := named.path(source)) is not None}
        found: dict[str, set[str]] = {}
        for one in files.listed(sources):
            place = Path(one).expanduser().absolute()
            under = {source for source, path in paths.items() if Path(path).is_relative_to(place)}
            name = str(one).rstrip("/")
            of_name = {source for source in there if source == name or source.startswith(f"{name}/")}
            found[str(one)] = under or of_name
        return found

    def search(
        self,
        question: str,
        k: int = 10,
        *,
        where: str | None = None,
        task: str | None = None,
        by: By = "both",
        highlight: bool = False,
        exact: bool = False,
        weight: float | None = None,
        group: Group | None = None,
        fold: bool = True,
        min_probability: float | None = None,
        max_risk: float | None = None,
        reranker: Reranker | None = None,
    ) -> list[Hit]:
        """The `k` passages that answer a question best, best first.

        `where` is a filter over the columns of `Hit` (`language = 'de' AND source LIKE '%.pdf'`, see docs/search.md).
        `task` as in `Embedder.encode_query`. `by` is what ranks: `both`, where vectors have this `weight` and words the
        rest of 1, or `vectors` or `words` alone. `highlight` finds the best sentence of each passage. `exact` goes past
        the index over the vectors. `group="document"` gives the best passage of each document only. `fold` leaves out
        passages that say what a better one says, and names them in its `also`. `min_probability` leaves out passages
        that answer the question less probably, by the calibration of the store or its model, `max_risk` those below the
        cut that keeps the share of irrelevant ones there (docs/calibration.md); nothing may be left. A `reranker`
        orders the first 50 hits, or `k` if those are more, and its scores become theirs. Raises `InputError` for an
        empty question, a filter that cannot be used, and a probability where there is none.
        """
        asked = Question(
            question,
            k if reranker is None else max(k, CANDIDATES),
            None if where is None else parse(where),
            by,
            exact,
            weight,
            group,
            fold,
            Fit(min_probability, max_risk),
        )
        vector = None
        if highlight or by != "words":
            (vector,) = self.embedder.encode_query([question], task=task)
        hits = find(self.store, asked, vector, cosines=None if vector is None else self._cosines(task))
        if reranker is not None:
            hits = reranked(hits, question, reranker, k)
        texts = sentences_of(hits) if highlight else []
        if not texts or vector is None:
            return hits
        return highlighted(hits, (self.embedder.encode_document(texts) @ vector).tolist())

    def around(self, passage: str, *, before: int = 2, after: int = 2) -> list[Hit]:
        """A passage by the id of its hit, with those before and after it in its document, in order; scores are 0.

        Raises `InputError` where there is no such passage, such as after its file has changed.
        """
        return [Hit.of(row, 0.0) for row in self.store.snapshot().around(passage, before, after)]

    def _cosines(self, task: str | None) -> Cosines:
        """Whose cosines a search looks at."""
        embedder = self.embedder
        return Cosines(Sides.of(embedder.prompts, task), lambda: embedder.calibration, embedder.calibration_is_general)

    def check(self) -> Recall | None:
        """Measure the index over the vectors against exact search; None where there is none and searches are exact."""
        return None if self.store.tuning is None else recall.measure(self.store, self.embedder)


def _loader(model: Embedder | str | Path | Load | None) -> Load:
    """How the model is loaded, given the settings of an existing store or None for a new one."""
    if isinstance(model, Embedder):
        return lambda _: model
    if callable(model):
        return model
    return lambda settings: Embedder.load(model) if settings is None else load(settings, model)


def _check_wanted(settings: StoreSettings, passage_tokens: int | None) -> None:
    """Raise `InputError` where the store was made otherwise than is wanted; None is for whatever it has."""
    if passage_tokens is not None and passage_tokens != settings.passage_tokens:
        raise InputError(
            f"this store was made with passages of at most {settings.passage_tokens} tokens, got {passage_tokens}; "
            "leave it out, or index into another store"
        )


def load(
    settings: StoreSettings, model: str | Path | None = None, *, device: str = "cpu", threads: int | None = None
) -> Embedder:
    """The model that a store was made with, at its precision where this machine has it.

    `model` names it where it would come from the hub and me5 does not know it; otherwise that raises `InputError`.
    """
    if model is None and not settings.trusted:
        raise InputError(
            f"this store asks for the model {settings.model!r}, which is neither a folder here nor one that me5 "
            f"knows; if you trust it, name it: --model {settings.model}, in Python Index.open(…, Embedder.load(…))"
        )
    precision: Any = settings.precision if settings.precision in LOSSY else "auto"
    embedder = Embedder.load(model or settings.model, device=device, precision=precision, threads=threads)
    if settings.dim < embedder.dim:
        embedder.truncate_dim = settings.dim
    return embedder


def _content(name: str, document: Document) -> str:
    """What a document consists of, as JSON. Raises `InputError` for one that cannot be kept."""
    if not isinstance(document, Document):
        raise InputError(f"document {name!r} is a {type(document).__name__}, expected a me5.search.Document")
    content = json.dumps(
        [document.text, document.title, plain(dict(document.metadata)), document.language, VERSION], sort_keys=True,
        ensure_ascii=False,
    )  # fmt: skip
    fault = unwritable(document, content)
    if fault is not None:
        raise InputError(f"document {name!r} cannot be used: {fault}")
    return content
