"""Any number of texts -> windows -> batches -> vectors, in an order that keeps an engine busy.

With an engine's `lookahead`, the next windows are tokenized on other threads while it works, and it may take batches of
the next window before it has returned those of the last. Other engines get one batch after another.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from math import inf
from time import monotonic
from typing import TypeVar

import numpy as np

from me5.engine.base import Engine, TokenIds
from me5.prepared import Prepared
from me5.progress import Advance
from me5.vectors import Float32

T = TypeVar("T")
R = TypeVar("R")

# Texts that are tokenized and sorted together. Longer windows pack no better (fill 0.99 from 2,000 texts on); a window
# of long texts is cut earlier, so that its tokens stay a few dozen megabytes.
WINDOW_TEXTS = 4096
WINDOW_CHARS = 8_000_000
# Texts that are taken together, and the shortest window.
_BLOCK = 64


def windows_of(texts: Iterable[T], *, seconds: float = inf) -> Iterator[tuple[int, list[T]]]:
    """Cut an iterable of texts, or of pairs, into lists of at most `WINDOW_TEXTS` and about `WINDOW_CHARS` characters.

    Each comes with the number of its first text. With `seconds`, they begin short and grow until the next one is asked
    for so long after the last, or become shorter again.
    """
    source = iter(texts)
    first = 0
    window: list[T] = []
    chars, most = 0, WINDOW_TEXTS if seconds == inf else _BLOCK
    while block := list(islice(source, _BLOCK)):
        window += block
        chars += sum(map(_chars, block))
        if len(window) >= most or chars >= WINDOW_CHARS:
            given = monotonic()
            yield first, window
            taken = monotonic() - given
            if taken > seconds:
                most = max(most // 2, _BLOCK)
            elif taken < seconds / 2:
                most = min(2 * most, WINDOW_TEXTS)
            first += len(window)
            window, chars = [], 0
    if window:
        yield first, window


def _chars(item: object) -> int:
    if isinstance(item, tuple | list):
        return sum(map(_chars, item))
    return len(item) if isinstance(item, str) else 0


def ahead(work: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[tuple[T, R]]:
    """Each item with its result, while other threads work on the next `depth` items. 0 works in the caller's thread.

    The items themselves are always taken in the caller's thread.
    """
    if not depth:
        yield from ((item, work(item)) for item in items)
        return
    with ThreadPoolExecutor(depth, "me5-ahead") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > depth:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def vectors_of(
    windows: Iterable[Prepared], engine: Engine, advance: Advance | None = None
) -> Iterator[tuple[Prepared, Float32]]:
    """Each window with the vectors of its sequences, in their order; no window may be empty.

    `advance` is called after every batch with the numbers of texts and tokens that it held.
    """
    entered: deque[tuple[Prepared, list[list[int]]]] = deque()

    def batches() -> Iterator[list[TokenIds]]:
        for prepared in windows:
            planned = engine.plan([len(sequence) for sequence in prepared.sequences])
            entered.append((prepared, planned))
            for batch in planned:
                yield [prepared.sequences[index] for index in batch]

    results = engine.embed_all(batches())
    for first in results:
        prepared, planned = entered.popleft()
        vectors = np.empty((len(prepared.sequences), engine.dim), np.float32)
        # A text counts as done with its first chunk.
        firsts = np.diff(prepared.owners, prepend=-1)
        answered = chain([first], results)
        for batch in planned:
            vectors[batch] = next(answered)
            if advance is not None:
                advance(int(firsts[batch].sum()), sum(len(prepared.sequences[index]) for index in batch))
        yield prepared, vectors
