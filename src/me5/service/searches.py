"""Searches of the store: in threads of their own, in fair turns, each with a deadline.

Nothing else of the service waits for these threads. LanceDB cannot be interrupted from outside: it looks at the clock
between two batches of rows, and a search whose caller has gone keeps its place until then.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from me5.errors import InputError, StoreError
from me5.service.errors import DeadlineExceeded, Overloaded, StoreReplaced

if TYPE_CHECKING:
    from me5.search.store import Store

T = TypeVar("T")

# LanceDB spreads one search over every core; more at a time only share them.
PLACES = 4
# Of these a caller has so many at most, so that somebody else always finds one.
PLACES_EACH = 2
# A page that searches as one types has one or two.
MOST_WAITING_EACH = 32


class Searches:
    """The store that is served, and whose turn it is to search it.

    `reopen` opens it, `check` raises `InputError` for one of another model than is served. `seconds` is what a search
    may take, waiting too.
    """

    def __init__(self, reopen: "Callable[[], Store]", check: "Callable[[Store], None]", seconds: float) -> None:
        self.store = reopen()
        self.check = check
        self._reopen = reopen
        self._renewing = Lock()
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(PLACES, "me5-search")
        self._running: Counter[str] = Counter()
        # By caller, those first who had a turn longest ago.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, caller: str, work: "Callable[[Store, float], T]") -> T:
        """The result of `work`, which is called with the store, and the seconds that are left when its turn comes.

        A store that was made anew meanwhile takes the place of the one that is gone. Raises `StoreReplaced` for one of
        another model, `Overloaded` and `DeadlineExceeded`. A caller that is cancelled leaves the queue.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(ends):
                await self._turn(caller)
                return await self._started(caller, lambda: self._worked(work, lambda: ends - loop.time()))
        except TimeoutError:
            raise DeadlineExceeded(
                f"the search did not end within {self._seconds:g} seconds: ask for less, with fewer conditions in the "
                "filter, or raise --search-timeout"
            ) from None

    def _worked(self, work: "Callable[[Store, float], T]", left: Callable[[], float]) -> T:
        store = self.store
        try:
            return work(store, left())
        except StoreError as error:
            return work(self._renewed(store, error), left())

    def _renewed(self, old: "Store", error: StoreError) -> "Store":
        """The store as it is there now."""
        with self._renewing:
            if self.store is not old:  # another search was faster
                return self.store
            try:
                found = self._reopen()
            except (InputError, StoreError):  # nothing is there, or something damaged
                raise error from None
            try:
                self.check(found)
            except InputError as unfit:
                raise StoreReplaced(
                    f"the store has been replaced by one that this service cannot search; restart `me5 serve`: {unfit}"
                ) from unfit
            self.store = found
            return found

    def close(self) -> None:
        """Start no further searches."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, caller: str) -> None:
        """Wait for a place, and take it."""
        if self._has_place(caller):
            self._running[caller] += 1
            return
        waiting = self._waiting.setdefault(caller, deque())
        if len(waiting) >= MOST_WAITING_EACH:
            raise Overloaded(f"{len(waiting)} searches of yours wait already")
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
            elif not turn.cancelled():  # the turn came at the same moment
                self._leave(caller)
            raise

    def _started(self, caller: str, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run in the place that was taken. It is free again when the thread is done, whoever still waits for it."""
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._leave, caller)

        job = self._threads.submit(work)
        job.add_done_callback(done)
        return asyncio.wrap_future(job)

    def _has_place(self, caller: str) -> bool:
        return self._running.total() < PLACES and self._running[caller] < PLACES_EACH

    def _leave(self, caller: str) -> None:
        """Give a place back, and let those begin who now may: each once, and then to the end of the line."""
        self._running -= Counter([caller])
        for name, waiting in list(self._waiting.items()):
            while waiting and self._has_place(name):
                turn = waiting.popleft()
                if not turn.done():  # its caller may have gone just now
                    turn.set_result(None)
                    self._running[name] += 1
                    self._waiting.move_to_end(name)
                    break
            if not waiting:
                del self._waiting[name]
