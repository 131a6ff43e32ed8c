"""me5.Client and me5.AsyncClient against a scripted service, for every turn that things can take."""

import asyncio
import base64
import inspect
import json
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from scripted import DIM, Reply, Scripted, embedded, failure, vector

from me5 import Embedder, InputError, Me5Warning, Report, TruncationWarning
from me5.client import AsyncClient, Client
from me5.client.exchange import BATCH_CHARS, BATCH_SIZE
from me5.errors import ServiceError
from me5.quantization import quantized

NUMBERS = [str(number) for number in range(300)]
EXPECTED = np.array([vector(text) for text in NUMBERS], np.float32)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    service = Scripted()
    yield service
    service.close()


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that a client waited, without waiting."""
    recorded: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        recorded.append(seconds)
        await real(0)

    monkeypatch.setattr("me5.client.time.sleep", recorded.append)
    monkeypatch.setattr("me5.client.asyncio.sleep", sleep)
    return recorded


class Threads:
    """Calls `Client`."""

    kind = Client

    def __call__(self, url, method, *args, options=None, **keywords):
        with Client(url, **(options or {})) as client:
            return getattr(client, method)(*args, **keywords)


class Loop:
    """Calls `AsyncClient`."""

    kind = AsyncClient

    def __call__(self, url, method, *args, options=None, **keywords):
        async def call():
            async with AsyncClient(url, **(options or {})) as client:
                return await getattr(client, method)(*args, **keywords)

        return asyncio.run(call())


@pytest.fixture(params=[Threads, Loop], ids=["threads", "asyncio"])
def ask(request):
    """`ask(url, "encode_query", texts, options={"retries": 0})` through either client."""
    return request.param()


# What is sent


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("method", ["encode_query", "encode_document", "encode"])
def test_methods_take_what_the_embedder_takes(kind, method):
    ours, theirs = inspect.signature(getattr(kind, method)), inspect.signature(getattr(Embedder, method))
    assert [(one.name, one.kind, one.default) for one in ours.parameters.values()] == [
        (one.name, one.kind, one.default) for one in theirs.parameters.values()
    ]


def test_vectors_come_in_the_form_that_is_stored(ask, scripted):
    short = ask(scripted.url, "encode_document", NUMBERS[:9], truncate_dim=DIM)
    assert scripted.seen[-1].fields["dimensions"] == DIM
    np.testing.assert_array_equal(short, EXPECTED[:9])
    for form in ("int8", "uint8", "binary", "ubinary"):
        found = ask(scripted.url, "encode_document", NUMBERS[:9], precision=form)
        np.testing.assert_array_equal(found, quantized(EXPECTED[:9], form), strict=True)
    with pytest.raises(InputError, match="unknown precision 'int4'"):
        ask(scripted.url, "encode_document", NUMBERS[:9], precision="int4")


@pytest.mark.parametrize(
    ("method", "keywords", "fields"),
    [
        ("encode_query", {}, {"side": "query"}),
        ("encode_query", {"task": "bitext"}, {"side": "query", "task": "bitext"}),
        ("encode_document", {}, {"side": "document"}),
        ("encode", {}, {"side": "both"}),
        ("encode", {"task": "sts"}, {"side": "both", "task": "sts"}),
    ],
)
def test_side_and_task_are_sent(ask, scripted, method, keywords, fields):
    vectors = ask(scripted.url, method, "7", **keywords)
    assert vectors.tolist() == [vector("7")]
    assert vectors.dtype == np.float32
    assert scripted.seen[0].fields == {"input": ["7"], "encoding_format": "base64", **fields}
    assert scripted.seen[0].headers["accept"] == "application/octet-stream"


def test_model_truncation_and_key_are_sent(ask, scripted, monkeypatch):
    options = {"model": "mine", "truncation": "chunk", "api_key": "k-1"}
    ask(scripted.url, "encode_document", ["ü \u2028"], options=options)
    assert scripted.seen[0].fields | {"model": "mine", "truncation": "chunk"} == scripted.seen[0].fields
    assert scripted.seen[0].texts == ["ü \u2028"]
    assert scripted.seen[0].headers["authorization"] == "Bearer k-1"
    ask(scripted.url, "encode_document", ["1"])
    assert "authorization" not in scripted.seen[1].headers
    monkeypatch.setenv("ME5_API_KEY", "k-2")
    ask(scripted.url, "encode_document", ["1"])
    assert scripted.seen[2].headers["authorization"] == "Bearer k-2"


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_base_url_may_be_that_of_other_libraries(ask, scripted, suffix):
    assert len(ask(scripted.url + suffix, "encode_query", ["1", "2"])) == 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"base_url": "localhost:8080"}, "must start with http"),
        ({"truncation": "middle"}, "unknown truncation 'middle'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"retries": -1}, "retries at least 0"),
        ({"timeout": 0}, "timeout above 0"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_options_that_cannot_be_used(kind, options, complaint):
    with pytest.raises(InputError, match=complaint):
        kind(**options)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_key_is_not_shown(kind):
    assert repr(kind("http://localhost:1/v1", api_key="secret")) == f"{kind.__name__}('http://localhost:1')"


# Large inputs


def test_large_inputs_are_split_by_count_in_order(ask, scripted):
    vectors = ask(scripted.url, "encode_document", iter(NUMBERS))
    np.testing.assert_array_equal(vectors, EXPECTED)
    assert sorted(len(seen.texts) for seen in scripted.seen) == sorted([BATCH_SIZE, BATCH_SIZE, 300 - 2 * BATCH_SIZE])


def test_batch_size_is_the_callers(ask, scripted):
    vectors = ask(scripted.url, "encode_document", NUMBERS[:25], options={"batch_size": 10})
    np.testing.assert_array_equal(vectors, EXPECTED[:25])
    assert sorted(len(seen.texts) for seen in scripted.seen) == [5, 10, 10]


def test_long_texts_are_split_by_characters(ask, scripted):
    texts = ["x" * (BATCH_CHARS // 2), "y" * (BATCH_CHARS // 2), "z", "w" * (2 * BATCH_CHARS), "v"]
    vectors = ask(scripted.url, "encode_document", texts)
    assert vectors[:, 1].tolist() == [float(len(text)) for text in texts]
    requests = sorted((seen.texts for seen in scripted.seen), key=lambda part: texts.index(part[0]))
    assert requests == [texts[:2], texts[2:3], texts[3:4], texts[4:]]


def test_nothing_gives_no_vectors(ask, scripted):
    vectors = ask(scripted.url, "encode_query", [])
    assert vectors.shape == (0, DIM)
    assert vectors.dtype == np.float32
    assert [seen.path for seen in scripted.seen] == ["/info"]


def test_asyncio_keeps_a_few_requests_going_and_the_order(scripted):
    all_here = threading.Barrier(AsyncClient.in_flight)
    lock, now, most = threading.Lock(), 0, 0

    def answer(seen):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if int(seen.texts[0]) < AsyncClient.in_flight * 10:
            all_here.wait(10)  # breaks unless as many requests come at once
        with lock:
            now -= 1
        return embedded(seen)

    scripted.answer = answer
    vectors = Loop()(scripted.url, "encode_document", NUMBERS, options={"batch_size": 10})
    np.testing.assert_array_equal(vectors, EXPECTED)
    assert most == AsyncClient.in_flight


def test_asyncio_ends_its_other_requests_when_one_fails(scripted):
    others_may_end = threading.Event()

    def answer(seen):
        if seen.texts == ["0"]:
            return failure(400, "bad text")
        others_may_end.wait(10)
        return embedded(seen)

    scripted.answer = answer

    async def call():
        async with AsyncClient(scripted.url, batch_size=1) as client:
            with pytest.raises(InputError, match="bad text"):
                await client.encode_document(NUMBERS)
            return asyncio.all_tasks() - {asyncio.current_task()}

    assert not asyncio.run(call())
    others_may_end.set()
    assert len(scripted.seen) <= AsyncClient.in_flight


def test_a_bad_item_is_named_by_its_place_in_the_whole_input(ask, scripted):
    with pytest.raises(InputError, match="text 299 is None"):
        ask(scripted.url, "encode_query", [*NUMBERS[:299], None])
    with pytest.raises(InputError, match="text 1 holds a lone surrogate"):
        ask(scripted.url, "encode_query", ["a", "\ud800"])
    with pytest.raises(InputError, match="text 1 is empty"):
        ask(scripted.url, "encode_query", ["a", ""])
    with pytest.raises(InputError, match="an iterable of strings, got int"):
        ask(scripted.url, "encode_query", 7)


# Trying again


@pytest.mark.parametrize("status", [429, 502, 503])
def test_busy_services_are_asked_again(ask, scripted, waits, status, caplog):
    scripted.script = [failure(status, "busy"), failure(status, "busy")]
    with caplog.at_level(logging.WARNING, "me5.client"):
        assert ask(scripted.url, "encode_query", "5").tolist() == [vector("5")]
    assert len(scripted.seen) == 3
    assert [seen.fields for seen in scripted.seen] == [scripted.seen[0].fields] * 3
    assert 0.25 <= waits[0] <= 0.375
    assert 0.5 <= waits[1] <= 0.75
    assert [record.message.partition(" in ")[0] for record in caplog.records] == [
        f"POST {scripted.url}/v1/embeddings: {status} busy; try {number} of 5" for number in (2, 3)
    ]


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_obeyed(ask, scripted, waits, date):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=21), usegmt=True) if date else "20"
    scripted.script = [failure(429, "busy", retry_after=later)]
    ask(scripted.url, "encode_query", "5")
    assert 19 < waits[0] <= 21 * 1.5


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", "1e999", "9" * 5000, "Wed, 99 Foo 2026 07:28:00 GMT", ""])
def test_a_retry_after_that_says_nothing_is_passed_over(ask, scripted, waits, nonsense):
    scripted.script = [failure(503, "busy", retry_after=nonsense)]
    ask(scripted.url, "encode_query", "5")
    assert 0.25 <= waits[0] <= 0.375


def test_a_long_retry_after_is_not_waited_for(ask, scripted, waits):
    scripted.script = [failure(429, "used up", retry_after="3600")]
    with pytest.raises(ServiceError, match=r"429 used up, after 1 try\. It asks to come back in 3,600 s") as caught:
        ask(scripted.url, "encode_query", "5")
    assert (caught.value.status, caught.value.tries, waits) == (429, 1, [])


def test_giving_up_tells_how_often_it_was_tried(ask, scripted, waits):
    scripted.answer = lambda seen: failure(503, "starting")
    with pytest.raises(ServiceError, match="503 starting, after 3 tries") as caught:
        ask(scripted.url, "encode_query", "5", options={"retries": 2})
    assert (caught.value.status, caught.value.tries) == (503, 3)
    assert len(scripted.seen) == 3
    assert len(waits) == 2


def test_waits_are_bounded(ask, scripted, waits):
    scripted.answer = lambda seen: failure(503)
    with pytest.raises(ServiceError):
        ask(scripted.url, "encode_query", "5", options={"retries": 20})
    assert len(waits) == 20
    assert max(waits) <= 12


def test_a_lost_connection_is_tried_again(ask, scripted, waits):
    scripted.script = [Reply(drop=True), Reply(drop=True)]
    assert ask(scripted.url, "encode_query", "5").tolist() == [vector("5")]
    assert len(scripted.seen) == 3


def test_nobody_there(ask, scripted, waits):
    scripted.close()
    with pytest.raises(ServiceError, match="after 2 tries; is `me5 serve` running there") as caught:
        ask(scripted.url, "encode_query", "5", options={"retries": 1})
    assert (caught.value.status, caught.value.tries, len(waits)) == (None, 2, 1)


def test_a_slow_reply_is_not_asked_for_again(ask, scripted, waits):
    over = threading.Event()
    scripted.answer = lambda seen: embedded(seen) if over.wait(60) else failure(500)
    with pytest.raises(ServiceError, match="after 1 try; it may still be at work on it"):
        ask(scripted.url, "encode_query", "5", options={"timeout": 1})
    deadline = time.monotonic() + 60
    while not scripted.seen and time.monotonic() < deadline:  # a busy machine reads it late
        time.sleep(0.01)
    over.set()
    assert len(scripted.seen) == 1
    assert waits == []


@pytest.mark.parametrize(
    ("status", "kind", "complaint"),
    [
        (400, InputError, "400 wrong"),
        (413, InputError, "413 wrong"),
        (422, InputError, "422 wrong"),
        (401, ServiceError, r"401 wrong, after 1 try\. Pass api_key=…, or set ME5_API_KEY"),
        (404, ServiceError, "404 wrong, after 1 try. base_url must be where"),
        (500, ServiceError, "500 wrong, after 1 try"),
        (504, ServiceError, "504 wrong, after 1 try"),
    ],
)
def test_refusals_are_not_tried_again(ask, scripted, waits, status, kind, complaint):
    scripted.answer = lambda seen: failure(status, "wrong")
    with pytest.raises(kind, match=complaint) as caught:
        ask(scripted.url, "encode_query", "5", options={"api_key": "secret"})
    assert "secret" not in str(caught.value)
    assert (len(scripted.seen), waits) == (1, [])


def test_a_refusal_tells_from_where_the_service_counts(ask, scripted):
    def answer(seen):
        return failure(400, "text 2 is too long") if "22" in seen.texts else embedded(seen)

    scripted.answer = answer
    with pytest.raises(InputError, match=r"text 2 is too long \(counted from item 20 of the input\)"):
        ask(scripted.url, "encode_query", NUMBERS[:30], options={"batch_size": 10})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": "of TEI", "error_type": "Overloaded"}', "500 of TEI"),
        (b'{"message": "of Cohere"}', "500 of Cohere"),
        (b"<h1>of a proxy</h1>", "500 <h1>of a proxy</h1>"),
        (b"[1]", r"500 \[1\]"),
        (b"", "500 Internal Server Error"),
    ],
)
def test_errors_of_others_are_told_too(ask, scripted, body, told):
    scripted.answer = lambda seen: Reply(500, {"content-type": "text/plain"}, body)
    with pytest.raises(ServiceError, match=told):
        ask(scripted.url, "encode_query", "5")


# Replies


def json_reply(seen, **changes):
    """The reply to a request with a report: a text loses what it has above 8 characters."""
    lengths = [len(text) for text in seen.texts]
    fields = {
        "data": [
            {"embedding": base64.b64encode(np.array(vector(text), "<f4").tobytes()).decode()} for text in seen.texts
        ],
        "me5": {"tokens": lengths, "lost": [max(0, one - 8) for one in lengths], "chunks": [1] * len(lengths)},
        **changes,
    }
    lost = fields["me5"].get("lost", [])
    headers = embedded(seen, truncated=sum(map(bool, lost)), lost=sum(lost)).headers
    return Reply(200, {**headers, "content-type": "application/json"}, json.dumps(fields).encode())


def test_a_report_is_filled_in_order(ask, scripted):
    scripted.answer = json_reply
    report = Report()
    texts = ["x" * (number % 12 + 1) for number in range(25)]
    with pytest.warns(TruncationWarning, match=r"8 of 25 \(among items 0 to 9, 10 to 19, 20 to 24\), 20 tokens lost"):
        vectors = ask(scripted.url, "encode_document", texts, report=report, options={"batch_size": 10})
    assert vectors[:, 1].tolist() == [float(len(text)) for text in texts]
    assert list(report.tokens) == [len(text) for text in texts]
    assert list(report.lost) == [max(0, len(text) - 8) for text in texts]
    assert list(report.chunks) == [1] * 25
    assert {seen.headers["accept"] for seen in scripted.seen} == {"application/json"}


def test_truncation_is_warned_of_once_and_where_it_was_called(ask, scripted):
    scripted.answer = lambda seen: embedded(seen, truncated=1, lost=9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask(scripted.url, "encode_document", NUMBERS, options={"batch_size": 30})
        ask(scripted.url, "encode_query", ["1"])
    assert [str(one.message).partition(". Pass")[0] for one in caught] == [
        "texts longer than the service's model reads were cut: 10 of 300 (among items 0 to 29, 30 to 59, 60 to 89, "
        "90 to 119, 120 to 149, …), 90 tokens lost",
        "texts longer than the service's model reads were cut: 1 of 1 (among items 0 to 0), 9 tokens lost",
    ]
    assert {one.filename for one in caught} == {__file__}


@pytest.mark.parametrize(
    "change",
    [
        {"x-me5-shape": "1,4"},
        {"x-me5-shape": "three"},
        {"x-me5-shape": "1,3,1"},
        {"x-me5-truncated": "some"},
    ],
)
def test_a_reply_that_is_not_ours(ask, scripted, change):
    def answer(seen):
        reply = embedded(seen)
        return Reply(200, {**reply.headers, **change}, reply.body)

    scripted.answer = answer
    with pytest.raises(ServiceError, match="is not what a me5 service sends"):
        ask(scripted.url, "encode_query", "5")


def test_a_service_of_another_kind(ask, scripted):
    scripted.answer = lambda seen: Reply(200, {"content-type": "application/json"}, b'{"data": []}')
    with pytest.raises(ServiceError, match=r"reply \(application/json\) is not what a me5 service sends"):
        ask(scripted.url, "encode_query", "5")
    with pytest.raises(ServiceError, match="'me5'"):
        ask(scripted.url, "encode_query", "5", report=Report())
    scripted.answer = lambda seen: json_reply(seen, me5={"tokens": [1], "lost": [], "chunks": [1]})
    with pytest.raises(ServiceError, match="1 vector, 0 numbers of lost"):
        ask(scripted.url, "encode_query", "5", report=Report())
    scripted.answer = lambda seen: Reply(200, {"content-type": "text/html"}, b"<html>")
    with pytest.raises(ServiceError, match="not a JSON object"):
        ask(scripted.url, "info")


def test_a_missing_vector_is_noticed(ask, scripted):
    def answer(seen):
        reply = embedded(seen)
        return Reply(200, {**reply.headers, "x-me5-shape": f"1,{DIM}"}, reply.body[: 4 * DIM])

    scripted.answer = answer
    with pytest.raises(ServiceError, match="2 texts sent, 1 vector came back"):
        ask(scripted.url, "encode_query", ["5", "6"])


def test_what_the_service_warns_of_is_passed_on_once(ask, scripted):
    def answer(seen):
        reply = embedded(seen)
        return Reply(200, {**reply.headers, "x-me5-warning": "no model %C3%BC here"}, reply.body)

    scripted.answer = answer
    with pytest.warns(Me5Warning) as caught:
        ask(scripted.url, "encode_document", NUMBERS, options={"batch_size": 100})
    assert [(str(one.message), one.filename) for one in caught] == [("the service says: no model ü here", __file__)]


def test_progress_is_shown_when_asked_for(ask, scripted, capsys, monkeypatch):
    monkeypatch.setattr("me5.progress.SECONDS_BETWEEN_LINES", 0.0)
    ask(scripted.url, "encode_document", NUMBERS, show_progress_bar=True)
    assert "300 of 300 texts" in capsys.readouterr().err
    ask(scripted.url, "encode_document", NUMBERS)
    assert capsys.readouterr().err == ""


def test_the_threaded_client_tells_the_width(scripted):
    with Client(scripted.url) as client:
        assert client.dim == DIM
