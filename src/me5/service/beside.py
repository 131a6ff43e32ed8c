"""Work beside the event loop: in threads, and futures that any thread settles."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def settled_elsewhere() -> "tuple[asyncio.Future[None], Callable[[Exception | None], None]]":
    """A future of this event loop, and the function by which any thread settles it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if future.done():  # the caller gave up
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def done(error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(settle, error)

    return future, done


async def beside(threads: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
    """Call a function in one of the threads, and wait for it without holding up the event loop."""
    return await asyncio.get_running_loop().run_in_executor(threads, call, *arguments)
