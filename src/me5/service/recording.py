"""The outermost layer of the app: it names and times every request, and reports it once it is over.

Each request gets a `RequestRecord` at `request.state.record`; the log, the metrics and the spans are written from it.
"""

import asyncio
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from me5.service import logs
from me5.service.metrics import Metrics
from me5.service.record import RequestRecord
from me5.service.tracing import Tracer

# A caller's own request id is kept when it is short and plain: it goes into headers and log lines.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# The status that nginx gave to requests whose client left before the reply.
CLIENT_LEFT = 499


class Recording:
    """The ASGI layer that makes a `RequestRecord` of every request, and reports it when the request is over."""

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
        record = RequestRecord(_request_id(headers), scope["method"], headers.get("traceparent", ""))
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
            self._report(record)
            logs.request_id.reset(token)

    async def _run(self, record: RequestRecord, scope: Scope, receive: Receive, send: Send) -> None:
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

    def _report(self, record: RequestRecord) -> None:
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
