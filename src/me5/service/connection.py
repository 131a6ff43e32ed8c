"""One connection: uvicorn's HTTP protocol with limits on what a client can hold without being served.

uvicorn itself times an idle connection between two requests, and nothing else. Here

    room         is kept for newcomers: the connection that has been idle longest is closed for one too many, and a
                 request beyond the limits is marked, to be refused by `gate` unless it is a probe
    the head     must arrive whole within `patience` seconds, and have at most `HEAD_BYTES` and `HEAD_FIELDS`; the
                 trailers of a chunked body are counted with it, and ignored
    the reply    must be taken, at `PACE` at least: a slower client is cut off, and its memory freed; so is the one that
                 has been slow longest when more than `REPLY_BYTES` of all replies wait to be taken
    the rest     of a body that was refused is thrown away, for `patience` seconds

The body's bytes and seconds are counted where they are read, in `gate`.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
# A field of five bytes takes 130 in memory. Proxies and browsers send some thirty.
HEAD_FIELDS = 200
# Bytes per second: far slower than any network that a client of vectors has, and a reply of 6 MB ends in 25 minutes.
PACE = 4096
REPLY_BYTES = 256 * 2**20
# Idle connections beyond a limit, so that a probe can send its head before the next newcomer takes its place.
SPARE = 16
# Providers give a whole network of this size to one customer.
_ADDRESS_BITS = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Room:
    """Who is connected: at most `most` connections that are served, and `per_address` of them from one address.

    An IPv6 address counts with its neighbours in the same /64; `proxies` speak for many, and only `most` binds them.
    """

    def __init__(self, most: int, per_address: int, proxies: Sequence[Network] = ()) -> None:
        self._most = most
        self._per_address = per_address
        self._proxies = proxies
        self._idle: dict[_PatientProtocol, str] = {}  # to their addresses; the one that waits longest first
        self._busy: dict[_PatientProtocol, str] = {}
        self._slow: dict[_PatientProtocol, None] = {}  # that have not taken their reply yet
        self._open: Counter[str] = Counter()
        self._served: Counter[str] = Counter()

    def enter(self, one: "_PatientProtocol", host: str) -> None:
        """Take in a connection, and close the oldest idle one where there are too many."""
        address = self._counted(host)
        self._open[address] += 1
        if len(self._idle) + len(self._busy) >= self._most + SPARE:
            self._evict(next(iter(self._idle), None))
        elif address and self._open[address] > self._per_address + SPARE:
            self._evict(next((other for other, of in self._idle.items() if of == address), None))
        self._idle[one] = address

    def serve(self, one: "_PatientProtocol") -> str:
        """Count a connection as served; why its request should be refused, or nothing."""
        if one not in self._idle:  # its next request came before the reply to the last, or it is being closed
            return ""
        address = self._busy[one] = self._idle.pop(one)
        self._served[address] += 1
        if len(self._busy) > self._most:
            return f"the service answers {self._most:,} requests at a time: come back later"
        if address and self._served[address] > self._per_address:
            return f"the service answers {self._per_address:,} requests of one address at a time: come back later"
        return ""

    def rest(self, one: "_PatientProtocol") -> None:
        """Count a connection as idle."""
        if one in self._busy:
            address = self._idle[one] = self._busy.pop(one)
            self._forget(self._served, address)

    def slow(self, one: "_PatientProtocol") -> None:
        """Count what a connection has not taken of its reply, and cut off those that were slow before it."""
        self._slow[one] = None
        waiting = {other: other.waiting() for other in self._slow}
        for other in list(self._slow)[:-1]:
            if sum(waiting.values()) <= REPLY_BYTES:
                break
            del waiting[other], self._slow[other]
            other.transport.abort()

    def taken(self, one: "_PatientProtocol") -> None:
        """Count a reply as taken."""
        self._slow.pop(one, None)

    def leave(self, one: "_PatientProtocol") -> None:
        """Forget a connection."""
        self.taken(one)
        if one in self._busy:
            self.rest(one)
        if one in self._idle:
            self._forget(self._open, self._idle.pop(one))

    def _evict(self, one: "_PatientProtocol | None") -> None:
        if one is not None:
            self.leave(one)
            one.transport.close()

    @staticmethod
    def _forget(counter: Counter[str], address: str) -> None:
        counter[address] -= 1
        if not counter[address]:
            del counter[address]

    def _counted(self, host: str) -> str:
        """What counts as one address; nothing for what is not counted by address."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:  # a socket without addresses
            return ""
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._proxies):
            return ""
        if address.version == 6 and not address.is_loopback:
            return str(ipaddress.ip_network((address, _ADDRESS_BITS), strict=False))
        return str(address)


def patient(patience: float, room: Room) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's option `http`; `patience` in seconds."""
    return type("PatientProtocol", (_PatientProtocol,), {"patience": patience, "room": room})


class _HeadTooLong(Exception):  # noqa: N818
    """The parser ends at an exception of its callbacks."""


class _PatientProtocol(HttpToolsProtocol):
    patience: float
    room: Room

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._in_head = True
        self._began: float | None = None  # when the request's first bytes came
        self._head_bytes = self._fields = 0  # of fields that are complete, trailers included
        self._unread = 0  # bytes since the parser last had something complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.room.enter(self, self.client[0] if self.client else "")
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._written()
        self.room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._began is None:
            self._began = self.loop.time()
            self._expect()
        self._unread += len(data)
        super().data_received(data)
        if self._too_long and not self.transport.is_closing():
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        if self._too_long:
            msg = f"The request's head has more than {HEAD_BYTES} bytes or {HEAD_FIELDS} fields."
        if self.cycle is None or not self.cycle.response_started or (self.cycle.response_complete and self._in_head):
            super().send_400_response(msg)
        else:  # after or within the reply to this very request, another would only confuse
            self.transport.close()

    def on_message_begin(self) -> None:
        self._head_bytes = self._fields = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(name, value)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unread = 0
        self._in_head = False
        self._arrived()
        now = self.loop.time()
        self.scope["state"] |= {
            "head_seconds": now - (self._began or now),
            "peer": self.client[0] if self.client else "",
            "crowded": self.room.serve(self),
        }
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_chunk_complete(self) -> None:
        self._unread = 0

    def on_message_complete(self) -> None:
        self._unread = 0
        self._in_head = True
        self._began = None
        self._arrived()
        super().on_message_complete()
        self._rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:
            self._expect()
        self._rest()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._leaving = self.loop.call_later(self.patience, self._look, self.waiting())
        self.room.slow(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._written()
        self.room.taken(self)

    def _count(self, *parts: bytes) -> None:
        self._unread = 0
        self._head_bytes += sum(map(len, parts)) + len(b": \r\n")
        if self._too_long:
            raise _HeadTooLong

    @property
    def _too_long(self) -> bool:
        return self._head_bytes + self._unread > HEAD_BYTES or self._fields > HEAD_FIELDS

    def _rest(self) -> None:
        if self._in_head and self.cycle is not None and self.cycle.response_complete:
            self.room.rest(self)

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

    def waiting(self) -> int:
        """Bytes of the reply that the client has not taken."""
        return self.transport.get_write_buffer_size()

    def _look(self, before: int) -> None:
        """Cut the client off if it took too little of the reply since the last look."""
        if before - (now := self.waiting()) < PACE * self.patience:
            self.transport.abort()
        else:
            self._leaving = self.loop.call_later(self.patience, self._look, now)
