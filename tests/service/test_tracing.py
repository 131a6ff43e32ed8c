"""Spans: off unless a collector is named, one per request and stage, and really sent over HTTP."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from me5.errors import MissingExtraError
from me5.service.inputs import Usage
from me5.service.record import RequestRecord
from me5.service.tracing import ENDPOINTS, Tracer, open_tracer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch):
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)


def record(traceparent=""):
    made = RequestRecord("r1", "POST", traceparent, "/embed", 200, duration=0.5)
    made.usage.append(Usage("query", (5, 6), (0, 0), (1, 1), 0.01, 0.1, 0.2, made.began + 0.45))
    return made


@pytest.fixture
def spans():
    pytest.importorskip("opentelemetry.sdk", reason="spans need: pip install 'me5[otel]'")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def export(one):
        trace_id = Tracer(provider).export(one)
        return trace_id, {span.name: span for span in exporter.get_finished_spans()}

    return export


def test_off_unless_a_collector_is_named():
    assert open_tracer() is None
    assert open_tracer("") is None


def test_a_missing_package_is_told_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'me5\[otel\]'"):
        open_tracer("http://127.0.0.1:1")


def test_a_request_has_a_span_per_stage_laid_out_in_time(spans):
    one = record()
    trace_id, found = spans(one)
    assert set(found) == {"POST /embed", "tokenization", "queue", "inference"}
    whole = found["POST /embed"]
    assert format(whole.context.trace_id, "032x") == trace_id
    assert whole.end_time - whole.start_time == 500_000_000
    assert whole.attributes["me5.texts"] == 2
    assert whole.attributes["me5.tokens"] == 11
    stages = [found[name] for name in ("tokenization", "queue", "inference")]
    assert [stage.parent.span_id for stage in stages] == [whole.context.span_id] * 3
    assert [stage.end_time - stage.start_time for stage in stages] == [10_000_000, 100_000_000, 200_000_000]
    assert stages[0].end_time == stages[1].start_time
    assert stages[1].end_time == stages[2].start_time
    assert stages[2].end_time - one.began_ns == pytest.approx(450_000_000, abs=1000)


def test_the_callers_trace_goes_on(spans):
    trace_id, found = spans(record(f"00-{TRACE}-{PARENT}-01"))
    assert trace_id == TRACE
    assert format(found["POST /embed"].parent.span_id, "016x") == PARENT


def test_a_server_error_is_an_error_and_a_refusal_is_not(spans):
    broken = record()
    broken.status, broken.error = 503, "unhealthy"
    _, found = spans(broken)
    assert found["POST /embed"].status.status_code.name == "ERROR"
    assert found["POST /embed"].attributes["error.type"] == "unhealthy"
    refused = record()
    refused.status, refused.error = 429, "overloaded"
    _, found = spans(refused)
    assert found["POST /embed"].status.status_code.name == "UNSET"


@pytest.mark.parametrize("by", ["setting", "variable"])
def test_spans_reach_the_collector(by, monkeypatch):
    pytest.importorskip("opentelemetry.sdk", reason="spans need: pip install 'me5[otel]'")
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            if by == "variable":
                monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            tracer = open_tracer(url if by == "setting" else None)
            tracer.export(record())
            tracer.close()
        finally:
            server.shutdown()
            thread.join()
    (path, body), *_ = received
    assert path == "/v1/traces"
    assert b"POST /embed" in body
    assert b"inference" in body
