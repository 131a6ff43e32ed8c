"""Records → rows with vectors, in order: equal texts are embedded once, and a text that cannot be costs only itself."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from me5.bulk.read import Record, Unusable
from me5.bulk.table import Missing
from me5.embedder import Embedder
from me5.errors import EngineError, InputError
from me5.flow import ahead, vectors_of, windows_of
from me5.prepared import Prepared
from me5.progress import Advance
from me5.prompts import Side
from me5.quantization import shortened
from me5.vectors import Float32

Entry = Record | Unusable


@dataclass
class Tally:
    """What was embedded: different texts, their tokens, and how many of those were lost."""

    unique: int = 0
    tokens: int = 0
    lost: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class Rows:
    """Some entries and their vectors (entries, dim). `missing` ones have none; `reasons` says why, by place."""

    entries: list[Entry]
    vectors: Float32
    missing: Missing
    reasons: dict[int, str]


@dataclass
class _Window:
    """Texts that are embedded together: those that can be, prepared, and why the others cannot, by their places."""

    texts: list[str]
    prepared: Prepared | None
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def usable(self) -> list[int]:
        return [place for place in range(len(self.texts)) if place not in self.refused]


class TextEmbedder:
    """An Embedder with the side and task that a job's texts have."""

    def __init__(self, embedder: Embedder, side: Side, task: str | None = None) -> None:
        self.embedder = embedder
        self._side, self._task = side, task

    def rows(self, entries: Iterable[Entry], most: int, tally: Tally, advance: Advance | None = None) -> Iterator[Rows]:
        """Every entry in order with its vector, a block at a time. `most` is how many entries there may be.

        Raises `EngineError` where the engine can embed nothing any more.
        """
        waiting: deque[tuple[Entry, int]] = deque()
        # What was embedded, by the number of the text; memory is taken as it is filled.
        vectors = np.empty((most, self.embedder.dim), np.float32)
        reasons: dict[int, str] = {}
        done = 0
        for block, refused in self._vectors(_unique(entries, waiting), tally, advance):
            vectors[done : done + len(block)] = block
            reasons |= {done + place: reason for place, reason in refused.items()}
            done += len(block)
            yield _ready(waiting, done, vectors, reasons)
        if waiting:
            yield _ready(waiting, done, vectors, reasons)
        tally.unique += done

    def _vectors(
        self, texts: Iterable[str], tally: Tally, advance: Advance | None
    ) -> Iterator[tuple[Float32, dict[int, str]]]:
        """The vectors of each window of texts, and why some have none."""
        engine = self.embedder.engine
        windows = (window for _, window in ahead(self._prepare, windows_of(texts), engine.lookahead))
        entered: deque[_Window] = deque()
        while True:
            failure: EngineError | None = None
            try:
                for done, vectors in vectors_of(_entering(windows, entered), engine, advance):
                    for window in _up_to(done, entered):
                        yield self._finished(window, vectors, tally)
            except EngineError as error:
                if not entered:
                    raise
                failure = error
            while entered:
                window = entered.popleft()
                yield self._one_by_one(window, tally, failure) if failure else self._finished(window, None, tally)
            if failure is None:
                return

    def _prepare(self, numbered: tuple[int, list[str]]) -> _Window:
        texts = numbered[1]
        try:
            return _Window(texts, self.embedder.prepare(texts, self._side, task=self._task))
        except InputError:
            window = _Window(texts, None)
        for place, text in enumerate(texts):
            try:
                self.embedder.prepare([text], self._side, task=self._task)
            except InputError as error:
                window.refused[place] = str(error).removeprefix("text 0 ")
        if usable := [texts[place] for place in window.usable]:
            window.prepared = self.embedder.prepare(usable, self._side, task=self._task)
        return window

    def _finished(self, window: _Window, vectors: Float32 | None, tally: Tally) -> tuple[Float32, dict[int, str]]:
        """A window's vectors by text, from those of its sequences."""
        block = np.zeros((len(window.texts), self.embedder.dim), np.float32)
        if window.prepared is not None and vectors is not None:
            merged = self.embedder.merge(vectors, window.prepared)
            block[window.usable] = shortened(merged, self.embedder.truncate_dim)
            report = window.prepared.report
            tally.tokens += sum(report.tokens)
            tally.lost += sum(report.lost)
            tally.truncated += len(report.truncated)
        return block, window.refused

    def _one_by_one(self, window: _Window, tally: Tally, failure: EngineError) -> tuple[Float32, dict[int, str]]:
        """Embed a window that the engine failed on, each text alone, so that only the guilty ones have no vector."""
        block = np.zeros((len(window.texts), self.embedder.dim), np.float32)
        usable = window.usable
        for place in usable:
            alone = self.embedder.prepare([window.texts[place]], self._side, task=self._task)
            try:
                block[place] = self.embedder.run(alone)[0]
            except EngineError as error:
                window.refused[place] = str(error)
                continue
            tally.tokens += sum(alone.report.tokens)
            tally.lost += sum(alone.report.lost)
            tally.truncated += len(alone.report.truncated)
        if not window.usable:  # not a text is guilty, but the engine
            raise failure
        return block, window.refused


def _unique(entries: Iterable[Entry], waiting: deque[tuple[Entry, int]]) -> Iterator[str]:
    """Every different text once; each entry goes to `waiting` with the number of its text, -1 for none."""
    numbers: dict[bytes, int] = {}
    for entry in entries:
        if isinstance(entry, Unusable):
            waiting.append((entry, -1))
            continue
        key = blake2b(entry.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = len(numbers)
        number = numbers.setdefault(key, known)
        waiting.append((entry, number))
        if number == known:
            yield entry.text


def _entering(windows: Iterator[_Window], entered: deque[_Window]) -> Iterator[Prepared]:
    """What an engine takes: of each window, which goes to `entered`, the texts that can be embedded."""
    for window in windows:
        entered.append(window)
        if window.prepared is not None:
            yield window.prepared


def _up_to(done: Prepared, entered: deque[_Window]) -> Iterator[_Window]:
    """The windows up to the one that an engine has done; those before it hold no text that it could embed."""
    last = None
    while last is not done:
        window = entered.popleft()
        last = window.prepared
        yield window


def _ready(waiting: deque[tuple[Entry, int]], done: int, vectors: Float32, reasons: dict[int, str]) -> Rows:
    """The entries whose texts are among the first `done`."""
    taken: list[tuple[Entry, int]] = []
    while waiting and waiting[0][1] < done:
        taken.append(waiting.popleft())
    numbers = np.array([number for _, number in taken], np.int64)
    why = {
        place: str(entry.error) if isinstance(entry, Unusable) else reasons[number]
        for place, (entry, number) in enumerate(taken) if isinstance(entry, Unusable) or number in reasons
    }  # fmt: skip
    missing = np.zeros(len(taken), np.bool_)
    missing[list(why)] = True
    return Rows([entry for entry, _ in taken], vectors[np.maximum(numbers, 0)], missing, why)
