"""The process: what it says when it cannot start, how it ends, what it does with slow, huge and broken requests."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from waiting import PATIENCE, until

from me5 import InputError
from me5.service.server import bound
from me5.service.settings import OPTIONS, ServiceSettings

BODY = {"input": "how tall is K2?"}


def serve(*flags, **environment):
    command = [sys.executable, "-m", "me5", "serve", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environment)


@pytest.mark.parametrize(
    ("flags", "environment", "status", "said"),
    [
        (["--port", "70000"], {}, 2, "--port must be at most 65535, got 70000"),
        (["--max-items", "0"], {}, 2, "--max-items must be at least 1, got 0"),
        (["--tls-cert", "cert.pem"], {}, 2, "--tls-cert without --tls-key"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], {}, 2, "--tls-cert no.pem cannot be read"),
        (["--host", "no such host"], {}, 2, "is not an address that is known here"),
        (["--model", "no/such/folder"], {}, 3, "no/such/folder"),
        (["--keys-file", "no-such-file"], {}, 2, "the key file no-such-file cannot be read"),
        (["--max-request-tokens", "3000000"], {}, 2, "is more than may wait at all"),
        ([], {"ME5_PRECISION": "f8"}, 2, "f8"),
        (["--max-tokens", "600", "--port", "0"], {}, 2, "max_tokens must lie between 3 and"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_one_plain_sentence(flags, environment, status, said):
    done = serve(*flags, **environment)
    assert done.returncode == status, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match="is in use; choose another"), bound("127.0.0.1", other.getsockname()[1]):
            pass


def test_every_option_has_a_flag_or_is_secret_and_a_help_text():
    assert all(option.about.help.endswith(".") for option in OPTIONS)
    assert [option.name for option in OPTIONS if not option.flag] == ["keys"]
    assert "sk" not in repr(ServiceSettings(keys="sk"))


def test_a_signal_lets_running_requests_finish(launch):
    server = launch()
    statuses = []

    def ask():
        with server.client() as client:
            statuses.append(client.post("/v1/embeddings", json={"input": ["one two three " * 100] * 60}).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    with server.client() as client:
        until(lambda: " 0.0" not in line_of(client, "me5_running_tokens"))
    server.process.send_signal(signal.SIGTERM)
    asking.join()
    assert statuses == [200]
    assert server.process.wait(PATIENCE) == 0


def line_of(client, metric):
    return next(line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{metric} "))


def children(pid):
    return list(map(int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()))


@pytest.mark.usefixtures("interruptible")
def test_a_signal_while_it_loads_ends_it_at_once():
    process = subprocess.Popen(
        [sys.executable, "-m", "me5", "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: children(process.pid))  # the engine's process, which it starts first
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, 130, -signal.SIGINT), log


@pytest.fixture(scope="module")
def own(launch):
    """A service whose figures nobody else changes."""
    return launch()


def test_a_crash_of_the_engine_is_survived_and_health_tells_the_truth(own):
    with own.client() as client:
        assert client.get("/health").status_code == 200
        os.kill(children(own.process.pid)[0], signal.SIGKILL)
        assert client.post("/v1/embeddings", json=BODY).status_code == 200
        until(lambda: client.get("/health").status_code == 200)
        until(lambda: line_of(client, "me5_worker_restarts_total").endswith(" 1.0"))
    assert "another takes its place" in own.log()


@pytest.fixture(scope="module")
def strict(launch):
    """A service with small limits."""
    return launch(
        "--receive-timeout", "3", "--max-body-bytes", "2000", "--keep-alive", "1", "--request-timeout", "20",
        "--max-queue-tokens", "3000", "--max-request-tokens", "1000",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", {}, 400, "invalid_json"),
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_json"),
        (b'{"input": NaN}', {}, 400, "invalid_json"),
        (b'{"input": "\\ud800"}', {}, 400, "invalid_json"),
        (b"[" * 1500, {}, 400, "invalid_json"),
        (b'{"input": "\xff"}', {}, 400, "invalid_json"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        (b'{"input": "' + b"a" * 3000 + b'"}', {}, 413, "request_too_large"),
        (b'{"input": "' + b"a b c d " * 240 + b'"}', {}, 200, None),
    ],
    ids=str,
)
def test_bodies_within_limits_and_otherwise(strict, content, headers, status, code):
    with strict.client() as client:
        reply = client.post("/v1/embeddings", content=content, headers={"content-type": "application/json"} | headers)
    assert reply.status_code == status, reply.text[:300]
    if code:
        assert reply.json()["error"]["code"] == code


def test_a_body_without_a_declared_length_is_bounded_too(strict):
    with strict.client() as client:
        reply = client.post(
            "/v1/embeddings", content=iter([b"a" * 500] * 10), headers={"content-type": "application/json"}
        )
        assert reply.status_code == 413


def test_paths_and_methods_that_are_not_there_are_told_in_the_dialect(strict):
    with strict.client() as client:
        assert client.post("/v1/nothing").json()["error"]["code"] == "not_found"
        wrong = client.get("/v1/embeddings")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"
        assert wrong.json()["error"]["code"] == "method_not_allowed"


def test_request_ids_are_kept_where_they_are_plain(strict):
    with strict.client() as client:
        assert client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
        assert client.get("/health", headers={"x-request-id": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def raw(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_a_head_that_does_not_come_ends_the_connection(strict):
    with raw(strict) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\n")
        assert connection.recv(100) == b""


def test_a_body_that_does_not_come_is_answered_408(strict):
    with raw(strict) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_head_without_end_is_refused(strict):
    with raw(strict) as connection:
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 20_000)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_a_connection_serves_many_requests_and_large_ones(server):
    """Heads and bodies that arrive together, again and again, are no endless head."""
    body = {"input": ["one two three " * 20] * 400}
    with server.client() as client:
        for _ in range(600):
            assert client.get("/ping").status_code == 200
        assert client.post("/v1/embeddings", json=body).status_code == 200
        assert client.get("/ping").status_code == 200


def test_overload_is_told_with_the_seconds_to_wait(strict):
    async def flood():
        async with httpx.AsyncClient(base_url=strict.url, timeout=60) as client:
            texts = ["a b c d e f g h"] * 90
            return await asyncio.gather(*(client.post("/v1/embeddings", json={"input": texts}) for _ in range(30)))

    replies = asyncio.run(flood())
    statuses = {reply.status_code for reply in replies}
    assert statuses == {200, 429}
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1


def test_the_work_of_a_client_that_hung_up_is_dropped(own):
    body = b'{"input": [' + b",".join([b'"' + b"one two three " * 100 + b'"'] * 200) + b"]}"
    with raw(own) as connection:
        head = (
            f"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        )
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        with own.client() as client:
            until(lambda: " 0.0" not in line_of(client, "me5_queue_tokens"))
            connection.close()
            until(lambda: line_of(client, "me5_queue_tokens").endswith(" 0.0"))
            assert 'status="499"' in client.get("/metrics").text


def is_open(port, peer):
    """Whether a server's end of a connection is open: `1` in the system's table is an established one."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = {tuple(int(end.rpartition(":")[2], 16) for end in row[1:3]): int(row[3], 16) for row in rows}
    return ends.get((port, peer)) == 1


def test_a_client_that_does_not_read_its_reply_is_cut_off(launch):
    server = launch("--receive-timeout", "2")
    body = b'{"inputs": [' + b",".join([b'"a"'] * 2048) + b"]}"  # vectors of 6 MB, more than the kernel holds
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        head = (
            f"POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        with server.client() as client:
            until(lambda: 'me5_requests_total{method="POST",route="/embed"' in client.get("/metrics").text)
        until(lambda: not is_open(int(server.url.rpartition(":")[2]), connection.getsockname()[1]))
        received = 0
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                received += len(part)
        assert 0 < received < 5_000_000
