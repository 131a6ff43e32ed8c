"""Optional OpenTelemetry: one span per request and one per stage, exported when the operator names a collector.

Off unless `otlp_endpoint` or one of OpenTelemetry's own endpoint variables is set. Spans are made from the
`RequestRecord` when the request is over, so nothing of it runs while the request does; they carry counts and times,
never texts.
"""

import os
from typing import TYPE_CHECKING

from me5._version import __version__
from me5.errors import MissingExtraError
from me5.service.record import STAGES, RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer as OtelTracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def open_tracer(endpoint: str | None = None) -> "Tracer | None":
    """The tracer, or None where no collector is named.

    `endpoint` is an OTLP/HTTP collector such as `http://localhost:4318`; OpenTelemetry's own variables set everything
    else (headers, sampling, the service's name). Raises `MissingExtraError` if a collector is named and the package
    is absent.
    """
    if not endpoint and not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError(
            "a collector for traces is set, but OpenTelemetry is not installed: pip install 'me5[otel]'"
        ) from error
    attributes = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        attributes["service.name"] = "me5"
    provider = TracerProvider(resource=Resource.create(attributes))
    url = endpoint.rstrip("/") + "/v1/traces" if endpoint else None
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    return Tracer(provider)


class Tracer:
    """Makes the spans of a request that is over."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer: OtelTracer = provider.get_tracer("me5.service", __version__)

    def export(self, record: RequestRecord) -> str:
        """Hand a request's spans to the exporter; the id of their trace, in hex."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": record.traceparent})
        span = self._tracer.start_span(
            f"{record.method} {record.route}",
            context=parent,
            kind=SpanKind.SERVER,
            start_time=record.began_ns,
            attributes={
                "http.request.method": record.method,
                "http.route": record.route,
                "http.response.status_code": record.status,
                "me5.request_id": record.id,
                "me5.side": record.side,
                "me5.texts": record.texts,
                "me5.tokens": record.tokens,
                "me5.truncated": record.truncated,
            },
        )
        if record.error:
            span.set_attribute("error.type", record.error)
        if record.status >= 500:
            span.set_status(Status(StatusCode.ERROR, record.error))
        context = set_span_in_context(span)
        for name, start, end in _stages(record):
            stage = self._tracer.start_span(name, context=context, start_time=start)
            stage.end(end)
        span.end(record.began_ns + _nanoseconds(record.duration))
        return format(span.get_span_context().trace_id, "032x")

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _stages(record: RequestRecord) -> list[tuple[str, int, int]]:
    """(name, start, end) of every stage in wall-clock nanoseconds, laid out backwards from the end of each answer."""
    stages = []
    for usage in record.usage:
        end = record.began_ns + _nanoseconds(usage.ended - record.began)
        for name in reversed(STAGES):
            start = end - _nanoseconds(getattr(usage, name))
            stages.append((name, start, end))
            end = start
    return stages


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
