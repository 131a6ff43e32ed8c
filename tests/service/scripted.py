"""A stand-in for the service whose replies a test writes: it answers as `me5 serve` does until told otherwise."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

DIM = 3


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        return self.fields["input"]


@dataclass(frozen=True)
class Reply:
    """What to answer; `drop` closes the connection instead."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    """An error as `me5 serve` sends it."""
    fields = {"error": {"message": message, "type": "some_error", "param": None, "code": None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"content-type": "application/json", **named}, json.dumps(fields).encode())


def vector(text: str) -> list[float]:
    """A vector that tells which text it is of, if the text is a number."""
    return [float(text) if text.isdigit() else -1.0, float(len(text)), 0.5]


def embedded(seen: Seen, *, truncated: int = 0, lost: int = 0) -> Reply:
    """The raw reply to `POST /v1/embeddings`."""
    vectors = np.array([vector(text) for text in seen.texts], "<f4")
    headers = {
        "content-type": "application/octet-stream",
        "x-me5-shape": f"{len(vectors)},{DIM}",
        "x-me5-truncated": str(truncated),
        "x-me5-tokens-lost": str(lost),
        "x-me5-tokens": str(4 * len(vectors)),
    }
    return Reply(200, headers, vectors.tobytes())


def usual(seen: Seen) -> Reply:
    """What a healthy service answers."""
    if seen.path == "/v1/embeddings":
        return embedded(seen)
    if seen.path == "/info":
        return Reply(
            200, {"content-type": "application/json"}, json.dumps({"model_id": "scripted", "dim": DIM}).encode()
        )
    return Reply(200 if seen.path == "/health" else 404)


class Scripted:
    """An HTTP server on a free port: replies from `script` while it has any, then as `answer` says."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: list[Reply] = []
        self.answer: Callable[[Seen], Reply] = usual
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait 40 ms for each other

            def do_POST(self) -> None:
                owner._handle(self)

            def do_GET(self) -> None:
                owner._handle(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        seen = Seen(handler.path, headers, json.loads(body) if body else {})
        with self._lock:
            self.seen.append(seen)
            reply = self.script.pop(0) if self.script else None
        reply = reply or self.answer(seen)
        if reply.drop:
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for name, value in {**reply.headers, "content-length": str(len(reply.body))}.items():
            handler.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # a client that waits no longer
            handler.end_headers()
            handler.wfile.write(reply.body)
