"""One connection that does not wait for ever: uvicorn's HTTP protocol with limits on what a slow client can hold.

uvicorn itself times an idle connection between two requests, and nothing else. Here

    the head     must arrive whole within `patience` seconds, and be no longer than `HEAD_BYTES`
    the reply    must be taken: a client that reads nothing for `patience` seconds is cut off, and its memory freed
    the rest     of a body that was refused is thrown away, for `patience` seconds

The parts of a body are timed where they are read, in `wire/routing.py`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024


def patient(patience: float) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's option `http`; `patience` in seconds."""
    return type("PatientProtocol", (_PatientProtocol,), {"patience": patience})


class _PatientProtocol(HttpToolsProtocol):
    patience: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._heads = 0  # that were complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._written()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._arriving is None:  # the next request on a connection that was kept
            self._expect()
        was_in_head, heads = self._in_head, self._heads
        super().data_received(data)
        # Data that holds the end of a head or of a body is no sign of an endless head.
        still = was_in_head and self._in_head and self._heads == heads
        self._head_bytes = self._head_bytes + len(data) if still else 0
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The request's head is longer than {HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._heads += 1
        self._arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._arrived()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:
            self._expect()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._leaving = self.loop.call_later(self.patience, self._look, self._waiting())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._written()

    def _expect(self) -> None:
        self._arrived()
        self._arriving = self.loop.call_later(self.patience, self.transport.abort)

    def _arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _written(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _waiting(self) -> int:
        return self.transport.get_write_buffer_size()

    def _look(self, before: int) -> None:
        """Cut the client off if it took nothing of the reply since the last look."""
        if (now := self._waiting()) == before:
            self.transport.abort()
        else:
            self._leaving = self.loop.call_later(self.patience, self._look, now)
