"""The log: one line an event, no text and no key in it, and the layer that gathers what it says."""

import asyncio
import io
import json
import logging
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from me5.errors import EngineError, InputError
from me5.service import logs
from me5.service.inputs import Usage
from me5.service.metrics import Metrics
from me5.service.recording import Recording

SECRET = "the caller's own words"


@contextmanager
def logging_to_memory(style, level):
    """The log of this process, put back as it was afterwards."""
    loggers = [logging.getLogger(name) for name in ("", "me5", "uvicorn", "uvicorn.access")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    stream = io.StringIO()
    logs.configure(style, level, stream)
    try:
        yield stream
    finally:
        for logger, (handlers, old_level, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(old_level)
            logger.propagate = propagate


@pytest.fixture
def lines():
    with logging_to_memory("json", "info") as stream:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def embed(request: Request):
    request.state.record.caller = "search-team"
    usage = Usage("query", (9, 700), (0, 188), (1, 1), tokenization=0.001, queue=0.02, inference=0.3)
    request.state.record.usage.append(usage)
    with request.state.record.serializing():
        return PlainTextResponse("done")


def refuse(request: Request):
    request.state.record.failed("overloaded")
    return PlainTextResponse("no", status_code=429)


def crash(request: Request):
    raise KeyError(SECRET)


@pytest.fixture
def client():
    routes = [
        Route("/embed/{name}", embed, methods=["POST"]),
        Route("/refuse", refuse),
        Route("/crash", crash),
        Route("/health", lambda request: PlainTextResponse("")),
    ]
    app = Starlette(routes=routes)
    app.state.metrics = Metrics()
    app.add_middleware(Recording, metrics=app.state.metrics)
    return TestClient(app, raise_server_exceptions=False)


def test_an_access_line_tells_counts_times_and_the_caller(client, lines):
    client.post("/embed/anything", headers={"x-request-id": "abc-1"}, content=SECRET)
    (line,) = lines()
    assert line["level"] == "info"
    assert line["request_id"] == "abc-1"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/embed/{name}", 200)
    assert (line["side"], line["texts"], line["tokens"], line["truncated"]) == ("query", 2, 521, 1)
    assert (line["tokenization_ms"], line["queue_ms"], line["inference_ms"]) == (1.0, 20.0, 300.0)
    assert line["total_ms"] > 0
    assert line["caller"] == "search-team"
    assert SECRET not in json.dumps(lines())


def test_an_error_is_told_by_its_kind(client, lines):
    client.get("/refuse")
    (line,) = lines()
    assert (line["status"], line["error"]) == (429, "overloaded")


def test_a_crash_is_a_500_in_log_and_metrics_without_the_message(client, lines):
    assert client.get("/crash").status_code == 500
    (line,) = lines()
    assert (line["level"], line["status"], line["error"]) == ("error", 500, "internal_error")
    assert SECRET not in json.dumps(lines())
    assert 'me5_errors_total{kind="internal_error",route="/crash"} 1.0' in client.app.state.metrics.render().decode()


def test_unknown_paths_share_one_series(client, lines):
    for path in ("/wp-login.php", "/.env", "/admin"):
        client.get(path)
    text = client.app.state.metrics.render().decode()
    assert 'me5_requests_total{method="GET",route="other",status="404"} 3.0' in text
    assert "wp-login" not in text


def test_probes_are_quiet_unless_they_fail(client, lines):
    client.get("/health")
    assert not lines()


@pytest.mark.parametrize("given", ["a" * 129, "two words", "line\tbreak", ""])
def test_an_odd_request_id_is_replaced(client, lines, given):
    reply = client.get("/refuse", headers={"x-request-id": given})
    assert reply.headers["x-request-id"] not in ("", given)
    assert lines()[0]["request_id"] == reply.headers["x-request-id"]


def test_every_line_within_a_request_carries_its_id(lines):
    async def app(scope, receive, send):
        logging.getLogger("me5.somewhere").warning("half way")
        await asyncio.sleep(0)

    async def ask(identity):
        headers = [(b"x-request-id", identity)]
        await Recording(app, Metrics())({"type": "http", "method": "GET", "headers": headers}, None, None)

    async def both():
        await asyncio.gather(ask(b"one"), ask(b"two"))

    asyncio.run(both())
    inside = {line["request_id"] for line in lines() if line["logger"] == "me5.somewhere"}
    assert inside == {"one", "two"}


def test_a_request_whose_task_is_cancelled_counts_as_the_client_having_left(lines):
    async def app(scope, receive, send):
        raise asyncio.CancelledError

    metrics = Metrics()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Recording(app, metrics)({"type": "http", "method": "GET", "headers": []}, None, None))
    assert lines()[0]["status"] == 499
    assert 'kind="client_gone"' in metrics.render().decode()
    assert "me5_requests_in_flight 0.0" in metrics.render().decode()


def failing(error):
    try:
        raise error
    except type(error):
        logging.getLogger("me5").exception("that failed")


@pytest.mark.parametrize("error", [InputError(SECRET), ValueError(SECRET), KeyError(SECRET)])
def test_a_message_that_may_quote_a_text_stays_out(lines, error):
    failing(error)
    (line,) = lines()
    assert line["exception"][-1] == type(error).__name__
    assert any("in failing" in frame for frame in line["exception"])
    assert SECRET not in json.dumps(line)


@pytest.mark.parametrize("error", [EngineError("out of memory"), OSError("disk full")])
def test_a_message_about_the_machine_is_shown(lines, error):
    failing(error)
    assert lines()[0]["exception"][-1] == f"{type(error).__name__}: {error}"


def test_at_debug_every_message_is_shown():
    with logging_to_memory("json", "debug") as stream:
        failing(ValueError(SECRET))
    assert SECRET in stream.getvalue()


def test_causes_are_told(lines):
    try:
        try:
            raise OSError("pipe closed")
        except OSError as error:
            raise EngineError("the worker died") from error
    except EngineError:
        logging.getLogger("me5").exception("that failed")
    told = lines()[0]["exception"]
    assert "EngineError: the worker died" in told
    assert told[-1] == "OSError: pipe closed"


def test_text_for_people_says_the_same():
    with logging_to_memory("text", "info") as stream:
        app = Starlette(routes=[Route("/embed", embed, methods=["POST"])])
        app.add_middleware(Recording, metrics=Metrics())
        TestClient(app).post("/embed", headers={"x-request-id": "r7"})
    line = stream.getvalue().splitlines()[-1]
    assert "POST /embed 200" in line
    assert "texts=2 tokens=521 truncated=1" in line
    assert line.endswith("id=r7")
