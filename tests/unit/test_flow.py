"""The order of work: what is taken when, by which thread, and that nothing is lost or mixed on the way."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from me5.engine.fake import FakeEngine
from me5.flow import WINDOW_TEXTS, ahead, vectors_of, windows_of
from me5.prepared import Prepared, Report


class Taken:
    """An iterable that notes what was taken, and by which thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.items: list[int] = []
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        for item in range(self.number):
            self.items.append(item)
            self.threads.add(threading.get_ident())
            yield item


def test_in_line_nothing_is_taken_before_its_turn() -> None:
    taken = Taken(5)
    for expected, (item, result) in enumerate(ahead(str, taken, 0)):
        assert (item, result) == (expected, str(expected))
        assert taken.items == list(range(expected + 1))


@pytest.mark.parametrize("depth", [1, 2, 9])
def test_ahead_results_come_in_order_from_other_threads(depth: int) -> None:
    workers = set()

    def work(item: int) -> int:
        workers.add(threading.get_ident())
        time.sleep(0.002 if item % 2 else 0)
        return item * item

    taken = Taken(20)
    seen = 0
    for item, result in ahead(work, taken, depth):
        assert (item, result) == (seen, seen * seen)
        seen += 1
        assert len(taken.items) <= seen + depth
    assert seen == 20
    assert taken.threads == {threading.get_ident()}
    assert threading.get_ident() not in workers


def test_an_error_comes_at_its_place() -> None:
    def work(item: int) -> int:
        return 10 // (3 - item)

    results = ahead(work, range(9), 2)
    assert [next(results)[1] for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_giving_up_early_leaves_no_thread() -> None:
    before = threading.active_count()
    results = ahead(str, range(100), 3)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_windows_are_numbered_by_text() -> None:
    texts = [str(number) for number in range(2 * WINDOW_TEXTS + 5)]
    windows = list(windows_of(texts))
    assert [first for first, _ in windows] == [0, WINDOW_TEXTS, 2 * WINDOW_TEXTS]
    assert [text for _, window in windows for text in window] == texts


def test_windows_last_about_as_long_as_they_may(monkeypatch) -> None:
    """They begin with 64 texts, double while they are done in under half of the time, and are halved above it."""
    now, speed = 0.0, 100.0  # texts a second
    monkeypatch.setattr("me5.flow.monotonic", lambda: now)
    sizes, first = [], 0
    for start, texts in windows_of((str(number) for number in range(20_000)), seconds=20):
        assert start == first
        assert texts == [str(number) for number in range(first, first + len(texts))]
        first += len(texts)
        sizes.append(len(texts))
        now += len(texts) / speed
        if len(sizes) == 8:
            speed = 10.0
    assert first == 20_000
    assert sizes[:8] == [64, 128, 256, 512, 1024, 1024, 1024, 1024]
    assert sizes[8:12] == [1024, 512, 256, 128]
    assert set(sizes[12:-1]) == {128}


class Greedy(FakeEngine):
    """Takes many batches before it answers the first, as an engine of many GPUs may."""

    def __init__(self, hunger: int) -> None:
        super().__init__(batch_tokens=32)
        self.hunger = hunger

    def embed_all(self, batches):
        waiting = []
        for sequences in batches:
            waiting.append(self.embed(sequences))
            if len(waiting) > self.hunger:
                yield waiting.pop(0)
        yield from waiting


def window(seed: int, texts: int) -> Prepared:
    random = np.random.default_rng(seed)
    sequences = [random.integers(0, 99, random.integers(1, 30)) for _ in range(texts)]
    report = Report()
    for sequence in sequences:
        report.tokens.append(len(sequence))
        report.lost.append(0)
        report.chunks.append(1)
    return Prepared(sequences, np.arange(texts), report)


@pytest.mark.parametrize("hunger", [0, 1, 7, 1000])
def test_windows_keep_their_vectors_however_far_an_engine_reads(hunger: int) -> None:
    windows = [window(seed, texts) for seed, texts in enumerate((40, 1, 3, 25))]
    plain = FakeEngine()
    done = [0, 0]

    def advance(texts: int, tokens: int) -> None:
        done[0] += texts
        done[1] += tokens

    found = list(vectors_of(windows, Greedy(hunger), advance))
    assert [prepared for prepared, _ in found] == windows
    for prepared, vectors in found:
        expected = plain.embed(prepared.sequences)
        np.testing.assert_array_equal(vectors, expected)
    assert done == [69, sum(sum(prepared.report.tokens) for prepared in windows)]
