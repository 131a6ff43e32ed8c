"""What is known of one HTTP request, gathered as it passes, and told once to the log, the metrics and the spans.

`Recording` is the outermost layer of the app. It names the request, times it, and puts a `Record` at
`request.state.record`; routes and error handlers add what they learn. No text and no key is ever put in.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from me5.prompts import Side
from me5.service import logs
from me5.service.metrics import Metrics
from me5.service.tracing import Tracer

if TYPE_CHECKING:
    from me5.service.pipeline import Answer, Timings

# A caller's own request id is kept when it is short and plain: it goes into headers and log lines.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# The status that nginx gave to requests whose client left before the reply.
CLIENT_LEFT = 499


@dataclass(frozen=True)
class Part:
    """One answer of the pipeline within a request: `tokens` and `lost` per text, `ended` on the clock of `Record`."""

    side: Side
    tokens: "tuple[int, ...]"
    lost: "tuple[int, ...]"
    timings: "Timings"
    ended: float


@dataclass
class Record:
    """One request. Times are seconds; `began` is `time.perf_counter()`, `began_ns` the wall clock just then.

    `caller` is the name of the key, which is also `key`, or without keys the address.
    """

    id: str
    method: str
    traceparent: str = ""
    route: str = "other"
    status: int = 0
    caller: str = ""
    key: str = ""
    error: str = ""
    parts: list[Part] = field(default_factory=list)
    serialization: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    began_ns: int = field(default_factory=time.time_ns)
    duration: float = 0.0

    def answered(self, side: Side, answer: "Answer") -> None:
        """Add what the pipeline did for this request."""
        part = Part(side, tuple(answer.tokens), tuple(answer.lost), answer.timings, time.perf_counter())
        self.parts.append(part)

    def failed(self, kind: str) -> None:
        """Say which kind of error the request ends in, such as `overloaded`."""
        self.error = kind

    @contextmanager
    def serializing(self) -> Iterator[None]:
        """Time the making of the reply's bytes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.serialization += time.perf_counter() - began

    @property
    def side(self) -> str:
        """The side of all texts, `mixed`, or nothing when no text was embedded."""
        sides = {part.side for part in self.parts}
        return "mixed" if len(sides) > 1 else next(iter(sides), "")

    @property
    def texts(self) -> int:
        """How many texts were embedded."""
        return sum(len(part.tokens) for part in self.parts)

    @property
    def tokens(self) -> int:
        """How many tokens the model read."""
        return sum(sum(part.tokens) - sum(part.lost) for part in self.parts)

    @property
    def truncated(self) -> int:
        """How many texts lost tokens."""
        return sum(1 for part in self.parts for lost in part.lost if lost)

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage. Parts run side by side, so the longest counts."""
        if not self.parts:
            return {}
        return {
            "tokenization": max(part.timings.tokenization for part in self.parts),
            "queue": max(part.timings.queue for part in self.parts),
            "inference": max(part.timings.inference for part in self.parts),
            "serialization": self.serialization,
        }


class Recording:
    """The ASGI layer that makes a `Record` of every request and tells it when the request is over."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = Record(_request_id(headers), scope["method"], headers.get("traceparent", ""))
        scope.setdefault("state", {})["record"] = record

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            await send(message)

        token = logs.request_id.set(record.id)
        try:
            with self._metrics.in_flight.track_inprogress():
                await self._run(record, scope, receive, sending)
        finally:
            record.route = _route(scope)
            record.duration = time.perf_counter() - record.began
            self._tell(record)
            logs.request_id.reset(token)

    async def _run(self, record: Record, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            record.status = record.status or CLIENT_LEFT
            record.error = record.error or "client_gone"
            raise
        except Exception:
            record.status = record.status or 500
            record.error = record.error or "internal_error"
            raise

    def _tell(self, record: Record) -> None:
        self._metrics.finished(record)
        trace_id = self._tracer.export(record) if self._tracer else ""
        logs.access(record, trace_id)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The path as the route declares it: `/v1/models/{name}`, so that a scan of made-up paths adds no series."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "other"
