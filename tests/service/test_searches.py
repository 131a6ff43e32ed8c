"""The turns of searches: places, fairness, deadlines, callers who leave. No store is needed for them, and no clock."""

import asyncio
import threading

import pytest

from me5.service import searches
from me5.service.errors import DeadlineExceeded, Overloaded
from me5.service.searches import PLACES, PLACES_EACH, Searches


class Gate:
    """Work that begins when its turn comes and ends when it is let go."""

    def __init__(self):
        self.begun = []
        self._gates = {}

    def work(self, name):
        gate = self._gates[name] = threading.Event()

        def run(_, seconds):
            self.begun.append(name)
            assert gate.wait(60)
            return name, seconds

        return run

    def let_go(self, *names):
        for name in names or list(self._gates):
            self._gates[name].set()


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.let_go()


def with_searches(seconds, body):
    async def run():
        made = Searches(lambda: None, lambda _: None, seconds)
        try:
            await asyncio.wait_for(body(made), 120)
        finally:
            made.close()

    asyncio.run(run())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_a_search_is_told_its_seconds_and_answered():
    async def body(made):
        left = await made.run("a", lambda _, seconds: seconds)
        assert 0 < left <= 30
        with pytest.raises(ValueError, match="mine"):
            await made.run("a", lambda *_: int("mine"))

    with_searches(30, body)


def test_a_caller_with_many_searches_leaves_places_and_turns_to_others(gate):
    async def body(made):
        greedy = [asyncio.ensure_future(made.run("greedy", gate.work(f"g{n}"))) for n in range(6)]
        await until(lambda: len(gate.begun) == PLACES_EACH)
        # Another finds a place at once, and a third.
        others = [asyncio.ensure_future(made.run("b", gate.work(f"b{n}"))) for n in range(2)]
        await until(lambda: len(gate.begun) == PLACES)
        # All places are taken: who comes now waits for one turn, not for all that the greedy caller has waiting.
        late = asyncio.ensure_future(made.run("late", gate.work("late")))
        await asyncio.sleep(0)
        gate.let_go("g0")
        await until(lambda: len(gate.begun) == PLACES + 1)
        gate.let_go("g1")
        await until(lambda: len(gate.begun) == PLACES + 2)
        assert "late" in gate.begun
        gate.let_go()
        names = [name for name, _ in await asyncio.gather(*greedy, *others, late)]
        assert names == [*(f"g{n}" for n in range(6)), "b0", "b1", "late"]

    with_searches(60, body)


def test_who_leaves_while_waiting_leaves_nothing_behind(gate):
    async def body(made):
        running = [asyncio.ensure_future(made.run("a", gate.work(f"a{n}"))) for n in range(2)]
        waiting = [asyncio.ensure_future(made.run("a", gate.work(f"w{n}"))) for n in range(3)]
        await until(lambda: len(gate.begun) == 2)
        waiting[0].cancel()
        waiting[1].cancel()
        gate.let_go("a0", "w2")
        assert (await waiting[2])[0] == "w2"
        gate.let_go()
        await asyncio.gather(*running)
        assert not {"w0", "w1"} & set(gate.begun)
        await until(lambda: not made._running)
        assert not made._waiting

    with_searches(60, body)


def test_who_leaves_while_searching_gives_the_place_back_when_the_search_ends(gate):
    async def body(made):
        gone = [asyncio.ensure_future(made.run("a", gate.work(f"a{n}"))) for n in range(PLACES_EACH)]
        await until(lambda: len(gate.begun) == PLACES_EACH)
        for search in gone:
            search.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        after = asyncio.ensure_future(made.run("a", gate.work("after")))
        assert (await made.run("b", lambda *_: "others do not notice")) == "others do not notice"
        assert "after" not in gate.begun
        gate.let_go("a0", "after")
        assert (await after)[0] == "after"

    with_searches(60, body)


def test_a_deadline_counts_waiting_and_searching(gate):
    async def body(made):
        with pytest.raises(DeadlineExceeded, match=r"did not end within 0.05 seconds"):
            await made.run("a", gate.work("slow"))
        # What the store itself gives up is the same.
        with pytest.raises(DeadlineExceeded, match="--search-timeout"):
            await made.run("b", lambda *_: (_ for _ in ()).throw(TimeoutError("the store did not answer in time")))
        others = [asyncio.ensure_future(made.run("a", gate.work(f"n{n}"))) for n in range(3)]
        ended = await asyncio.gather(*others, return_exceptions=True)
        assert {type(error) for error in ended} == {DeadlineExceeded}
        assert "n2" not in gate.begun, "it never had its turn"

    with_searches(0.05, body)


def test_a_caller_has_a_bounded_line(gate, monkeypatch):
    monkeypatch.setattr(searches, "MOST_WAITING_EACH", 3)

    async def body(made):
        held = [asyncio.ensure_future(made.run("a", gate.work(f"a{n}"))) for n in range(PLACES_EACH + 3)]
        await until(lambda: len(gate.begun) == PLACES_EACH)
        with pytest.raises(Overloaded, match="3 searches of yours wait already"):
            await made.run("a", gate.work("more"))
        assert await made.run("b", lambda *_: 1) == 1
        gate.let_go()
        await asyncio.gather(*held)

    with_searches(60, body)
