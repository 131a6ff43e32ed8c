"""What a client can hold without being served: connections, heads, trailers, bodies, replies; and who it says it is."""

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
import threading
import time
from urllib.parse import unquote

import httpx
import pytest
from waiting import PATIENCE, until

from me5 import InputError
from me5.service import connection, server
from me5.service.connection import HEAD_BYTES, HEAD_FIELDS, SPARE, Room
from me5.service.errors import Overloaded, SlowClient, TooLarge
from me5.service.gate import Gate
from me5.service.record import RequestRecord
from me5.service.settings import ServiceSettings
from me5.service.wire.call import _header

MOST, OF_ONE, BODY_BYTES = 12, 6, 20_000
POST = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def narrow(launch):
    """A service with room for few."""
    return launch(
        "--max-connections", str(MOST), "--max-address-connections", str(OF_ONE), "--receive-timeout", "1.5",
        "--max-body-bytes", str(BODY_BYTES), "--max-receiving-bytes", str(2 * BODY_BYTES), "--log-format", "json",
    )  # fmt: skip


@pytest.fixture
def connect(narrow):
    """Open a connection, which is closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened():
            port = int(narrow.url.rpartition(":")[2])
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))

        yield opened
    until(lambda: httpx.get(f"{narrow.url}/v1/models").status_code == 200)


def answer(one):
    """What comes until the other side closes, or a whole reply."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := one.recv(1 << 16):
            received += part
            if b"\r\n\r\n" in received and b"content-length: 0" not in received:
                break
    return received


@pytest.mark.parametrize(
    "tail",
    [
        b"0\r\n" + b"a: b\r\n" * 100_000,
        b"0\r\na: " + b"b" * 4 * HEAD_BYTES,
        b"0\r\n" + b"a" * 4 * HEAD_BYTES,
        b"1;" + b"x" * 4 * HEAD_BYTES,
    ],
    ids=["trailers", "value of a trailer", "name of a trailer", "extension of a chunk"],
)
def test_what_follows_a_chunk_has_an_end(connect, tail):
    one = connect()
    with contextlib.suppress(ConnectionError):
        one.sendall(CHUNKED + tail)
    told = answer(one)
    assert told == b"" or told.startswith(b"HTTP/1.1 400")


def test_a_head_of_many_small_fields_is_refused(connect):
    one = connect()
    one.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n" + b"x:\r\n" * HEAD_FIELDS + b"\r\n")
    told = answer(one)
    assert told.startswith(b"HTTP/1.1 400")
    assert str(HEAD_FIELDS).encode() in told


def test_trailers_are_ignored_and_the_next_request_has_none_of_them(connect):
    body = b'{"input": "a"}'
    trailed = CHUNKED + b"%x\r\n%s\r\n0\r\nx-request-id: of-a-trailer\r\n\r\n" % (len(body), body)
    one, told = connect(), b""
    one.sendall(trailed + b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    while part := one.recv(1 << 16):
        told += part
    assert told.count(b"HTTP/1.1 200 OK") == 2
    assert b"of-a-trailer" not in told


def test_a_body_that_trickles_is_answered_408(connect):
    one = connect()
    one.sendall(POST + b"content-length: 1000\r\n\r\n")
    one.settimeout(0.1)
    told, deadline = b"", time.monotonic() + PATIENCE
    while not told:
        assert time.monotonic() < deadline, "a byte now and then holds the connection"
        one.sendall(b" ")
        with contextlib.suppress(TimeoutError):
            told = one.recv(1000)
    assert told.startswith(b"HTTP/1.1 408")


def test_idle_connections_shut_nobody_out(narrow, connect):
    idle = [connect() for _ in range(MOST + SPARE + 10)]
    idle[-1].sendall(b"GET /health HTTP/1.1\r\n")  # half a head is no more than none
    with narrow.client() as client:
        assert client.get("/health").status_code == 200
        assert client.get("/v1/models").status_code == 200
    assert idle[0].recv(1) == b""  # the oldest made room


def test_unfinished_bodies_leave_room_for_probes(narrow, connect):
    for _ in range(OF_ONE):
        connect().sendall(POST + b"content-length: 1000\r\n\r\n{")
    with narrow.client() as client:
        until(lambda: client.get("/v1/models").status_code == 503)
        assert [client.get(path).status_code for path in ("/health", "/ping", "/metrics")] == [200] * 3
        refused = client.get("/v1/models")
        if refused.status_code == 503:  # else the bodies were given up meanwhile
            assert refused.json()["error"]["code"] == "unavailable"
            assert int(refused.headers["retry-after"]) >= 1


def test_the_bodies_of_one_caller_have_a_bound(narrow, connect):
    half = b"x" * (BODY_BYTES * 6 // 10)
    for _ in range(2):
        connect().sendall(POST + b"content-length: %d\r\n\r\n" % (len(half) + 1) + half)
    told = {"last": b""}

    def third():
        one = connect()
        one.sendall(POST + b"content-length: %d\r\n\r\n" % (len(half) + 1) + half)
        told["last"] = answer(one)
        return b" 429 " in told["last"]

    until(third)
    assert b"retry-after" in told["last"]


def test_a_signal_to_reload_does_not_end_it_and_its_log_is_json(narrow):
    narrow.process.send_signal(signal.SIGHUP)
    until(lambda: "no key file to read again" in narrow.log())
    assert httpx.get(f"{narrow.url}/health").status_code == 200
    lines = [json.loads(line) for line in narrow.log().splitlines()]
    (serving,) = (line for line in lines if line["message"] == "serving")
    assert serving["url"] == narrow.url


def test_requests_that_do_not_end_with_the_service_are_told_503(launch):
    one = launch("--drain", "0.2")
    replies = []

    def ask(path, field):
        with one.client() as client:
            replies.append(client.post(path, json={field: ["one two three " * 100] * 500}))

    asking = [threading.Thread(target=ask, args=way) for way in (("/v1/embeddings", "input"), ("/embed", "inputs"))]
    for thread in asking:
        thread.start()
    with one.client() as client:
        until(lambda: "me5_requests_in_flight 3.0" in client.get("/metrics").text)
    one.process.terminate()
    for thread in asking:
        thread.join()
    assert [reply.status_code for reply in replies] == [503, 503]
    assert all("ended before" in reply.text and "retry-after" in reply.headers for reply in replies)
    assert one.process.wait(PATIENCE) == 0


# Without a service of its own.


@pytest.mark.parametrize(
    "path", ["/health", "/ping", "/metrics", "/v1/models", "/info", "/v1/tasks", "/", "/openapi.json"]
)
def test_head_is_get_without_a_body(client, path):
    head, got = client.head(path), client.get(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers.get("content-type") == got.headers.get("content-type")


def test_head_counts_as_its_route_and_is_told_where_get_is(client):
    client.head("/v1/models")
    assert 'me5_requests_total{method="HEAD",route="/v1/models",status="200"}' in client.get("/metrics").text
    assert client.delete("/v1/models").headers["allow"] == "GET, HEAD"
    assert client.head("/v1/embeddings").status_code == 405


@pytest.mark.parametrize("path", ["//v1/embeddings", "/v1//embeddings", "///v1/embeddings"])
def test_slashes_too_many_do_no_harm(client, server, path):
    assert httpx.post(f"{server.url}{path}", json={"input": "a"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:80", 200), ("me5.localhost:8080", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200),
        ("127.9.9.9", 200), ("me5", 200), ("evil.example", 403), ("evil.example:8080", 403), ("evil.example.", 403),
        ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("192.0.2.1", 403), ("[2001:db8::1]", 403),
    ],
)  # fmt: skip
def test_a_service_on_loopback_answers_to_its_own_names(client, host, status):
    reply = client.get("/v1/models", headers={"host": host})
    assert reply.status_code == status, reply.text
    if status == 403:
        assert reply.json()["error"]["code"] == "host_not_allowed"
    assert client.get("/health", headers={"host": host}).status_code == 200


def test_a_forwarded_address_is_not_believed_by_default(server):
    with server.client(headers={"x-forwarded-for": "192.0.2.77", "x-request-id": "forwarded-1"}) as client:
        client.post("/v1/embeddings", json={"input": "a"})
    until(lambda: "forwarded-1" in server.log())
    assert "192.0.2.77" not in server.log()


def passed(settings, scope, *, local=False, parts=(b"",)):
    """What reaches the app behind the gate: its scope and the body, or what is raised; and the status of a refusal."""
    seen, status = {}, []
    messages = iter(
        [{"type": "http.request", "body": part, "more_body": at < len(parts) - 1} for at, part in enumerate(parts)]
    )

    async def app(scope, receive, send):
        seen["scope"] = scope
        for _ in parts:
            await receive()

    async def receive():
        return next(messages)

    async def send(message):
        if message["type"] == "http.response.start":
            status.append(message["status"])

    defaults = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [], "client": ("192.0.2.1", 1)}
    scope = defaults | scope
    scope["state"] = {"record": RequestRecord("r1", "POST", caller="me")} | scope.get("state", {})
    gate = Gate(app, settings, local=local)
    asyncio.run(gate(scope, receive, send))
    assert not gate._bodies, "a request that is over holds nothing"
    return seen.get("scope"), status


def test_further_names_are_allowed_by_the_operator():
    host = {"headers": [(b"host", b"embed.example.com:8080")]}
    assert passed(ServiceSettings(), host, local=True)[1] == [403]
    assert passed(ServiceSettings(), host, local=False)[1] == []
    assert passed(ServiceSettings(allowed_hosts=("Embed.Example.com",)), host, local=True)[1] == []
    assert passed(ServiceSettings(allowed_hosts=("*",)), host, local=True)[1] == []


@pytest.mark.parametrize(("forwarded", "known"), [("192.0.2.9", "192.0.2.9"), ("a\x85b", "10.0.0.1"), ("", "10.0.0.1")])
def test_a_caller_is_an_address_whatever_a_proxy_forwards(forwarded, known):
    scope, _ = passed(ServiceSettings(), {"client": (forwarded, 0), "state": {"peer": "10.0.0.1"}})
    assert scope["client"][0] == known


@pytest.mark.parametrize(
    ("parts", "headers", "state", "error"),
    [
        ([b"a" * 50, b"b" * 51], [], {}, TooLarge),
        ([b"a"], [(b"content-length", b"101")], {}, TooLarge),
        ([b"a"], [(b"content-length", b"9" * 30)], {}, TooLarge),
        ([b"a" * 100], [], {}, None),
    ],
)
def test_a_body_is_within_its_limits(parts, headers, state, error):
    settings = ServiceSettings(max_body_bytes=100)
    with pytest.raises(error) if error else contextlib.nullcontext():
        passed(settings, {"headers": headers, "state": state}, parts=parts)


def test_all_bodies_together_have_a_bound():
    settings = ServiceSettings(max_body_bytes=100, max_receiving_bytes=200)
    release = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await release.wait()

    gate = Gate(app, settings)

    async def ask(caller, size):
        async def receive():
            return {"type": "http.request", "body": b"a" * size, "more_body": False}

        state = {"record": RequestRecord("r", "POST", caller=caller)}
        await gate({"type": "http", "method": "POST", "path": "/", "headers": [], "state": state}, receive, None)

    async def all_of_them():
        first = [asyncio.ensure_future(ask(caller, 70)) for caller in ("one", "two")]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="your requests"):
            await ask("one", 70)
        with pytest.raises(Overloaded, match="all requests"):
            await ask("three", 70)
        release.set()
        await asyncio.gather(*first)
        await ask("three", 70)
        assert not gate._bodies

    asyncio.run(all_of_them())


def test_the_seconds_of_the_head_count_for_the_whole_request():
    with pytest.raises(SlowClient, match="within 5 seconds"):
        asyncio.run(starved(ServiceSettings(receive_timeout=5), head_seconds=5.0))


async def starved(settings, head_seconds):
    async def app(scope, receive, send):
        await receive()

    state = {"record": RequestRecord("r", "POST"), "head_seconds": head_seconds}
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": state}
    await Gate(app, settings)(scope, asyncio.Event().wait, None)


class Connection:
    """What `Room` needs of one."""

    def __init__(self, waiting=0):
        self.transport = self
        self.closed = False
        self._waiting = waiting

    def close(self):
        self.closed = True

    abort = close

    def waiting(self):
        return self._waiting


def entered(room, *hosts):
    made = [Connection() for _ in hosts]
    for one, host in zip(made, hosts, strict=True):
        room.enter(one, host)
    return made


def test_neighbours_count_as_one_address_and_proxies_as_many():
    room = Room(100, 1, [ipaddress.ip_network("10.0.0.0/8")])
    one, neighbour, other, old, proxied, proxied_too = entered(
        room, "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "10.0.0.1", "10.0.0.1"
    )
    (plain,) = entered(room, "192.0.2.1")
    assert not room.serve(one)
    assert "of one address" in room.serve(neighbour)
    assert not room.serve(other)
    assert not room.serve(old)
    assert room.serve(plain)
    assert not room.serve(proxied)
    assert not room.serve(proxied_too)


def test_a_connection_that_is_served_is_never_closed_for_another():
    room = Room(1, 1)
    (busy,) = entered(room, "192.0.2.1")
    assert not room.serve(busy)
    idle = entered(room, *["192.0.2.1"] * (SPARE + 5))
    assert not busy.closed
    assert [one.closed for one in idle] == [True] * 5 + [False] * SPARE
    room.rest(busy)
    assert not room.serve(idle[-1])
    for one in (busy, *idle):
        room.leave(one)
    assert not any((room._idle, room._busy, room._open, room._served))


def test_replies_that_nobody_takes_have_a_bound(monkeypatch):
    monkeypatch.setattr(connection, "REPLY_BYTES", 100)
    room, slow = Room(100, 100), [Connection(60) for _ in range(4)]
    for one in slow:
        room.slow(one)
    assert [one.closed for one in slow] == [True, True, True, False]
    large = Connection(1000)
    room.slow(large)
    assert not large.closed, "one alone may be larger"


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        ({"max_queue_tokens": 20_000}, {"max_request_tokens": 20_000}),
        ({}, {"max_request_tokens": 300_000, "max_address_connections": 250, "max_receiving_bytes": 16 * 16 * 2**20}),
        ({"max_connections": 1}, {"max_address_connections": 1}),
        ({"max_body_bytes": 1000}, {"max_receiving_bytes": 16_000}),
        ({"max_queue_tokens": 500, "max_request_tokens": 400}, {"max_request_tokens": 400}),
    ],
)
def test_options_that_depend_on_others_follow_them(given, derived):
    settings = ServiceSettings(**given)
    assert {name: getattr(settings, name) for name in derived} == derived


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trusted_proxies": ("*",)}, "--trusted-proxies takes addresses and networks"),
        ({"trusted_proxies": ("proxy.example",)}, "proxy.example"),
        ({"max_receiving_bytes": 100}, "at least twice --max-body-bytes"),
        ({"max_queue_tokens": 500, "max_request_tokens": 501}, "more than may wait at all"),
        ({"max_address_connections": 0}, "must be at least 1"),
    ],
)
def test_options_that_cannot_be_used_are_told(given, said):
    with pytest.raises(InputError, match=said):
        ServiceSettings(**given)


def test_only_proxies_that_are_named_are_believed():
    async def app(scope, receive, send):
        pass

    assert not server._config(ServiceSettings(), app).proxy_headers
    named = server._config(ServiceSettings(trusted_proxies=("10.0.0.0/8",)), app)
    assert named.proxy_headers
    assert named.forwarded_allow_ips == ["10.0.0.0/8"]


@pytest.mark.parametrize("text", ["query: ", "次" * 100, ""])
def test_a_short_text_fits_into_a_header(text):
    assert unquote(_header(text, "/")) == text


@pytest.mark.parametrize("text", ["word " * 20_000, "次" * 50_000, "😀" * 20_000])
def test_a_long_text_is_cut_to_what_a_header_takes(text):
    header = _header(text, "/")
    assert len(header) < 4096
    assert text.startswith(unquote(header)[:-1])
    assert unquote(header).endswith("…")
