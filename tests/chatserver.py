"""A stand-in for a chat model behind an OpenAI-compatible endpoint, and faults on demand."""

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = """
    old green quiet heavy narrow famous broken cheap distant early gentle hollow loyal modern polite rough
    bridge garden letter market doctor river school machine window farmer island kitchen museum painter road ship
    repairs carries follows visits describes measures protects remembers sells teaches washes watches feeds finds
"""
ADJECTIVES, NOUNS, VERBS = (line.split() for line in WORDS.strip().splitlines())
PLACES = (
    "near the harbour", "in the northern valley", "behind the station", "at the end of the street", "before the winter",
)  # fmt: skip
GERMAN = (
    "Der alte Mann wohnt seit vielen Jahren in einem kleinen Haus am Ufer des Flusses und liest jeden Abend Bücher."
)


def sentence(draw: random.Random) -> str:
    """A sentence of its own, in English."""
    words = [draw.choice(part) for part in (ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS, PLACES)]
    number = draw.randrange(10_000)
    return "The {} {} {} the {} {} {}, and {} of them stay there.".format(*words, number)


@dataclass
class Chat:
    """What the server does: `fault(number, body)` may say what happens to a request, numbered from 1.

    An int is a status; a dict {"status", "headers", "body"} a reply; a string a text in place of the answer; the string
    "drop" closes the connection. None: it is answered well. `asked` counts requests by their content, `answered` those
    whose answer was sent; `most` is the most that were open at a time. With `turns` a request that comes again is
    answered anew, as a chat model does; without, an answer depends on what is asked alone.
    """

    fault: Callable[[int, dict[str, Any]], Any] = lambda number, body: None
    answer: Callable[[dict[str, Any], random.Random], Any] | None = None
    delay: float = 0.0
    usage: bool = True
    turns: bool = True
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    most: int = 0
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator["Chat"]:
        """Serve until the block ends."""
        server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"chat": self}))
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


def prompt_of(body: dict[str, Any]) -> str:
    """The last message."""
    return str(body["messages"][-1]["content"])


def well(body: dict[str, Any], draw: random.Random) -> Any:
    """A good answer to one of our prompts."""
    prompt = prompt_of(body)
    if 'strings of "tasks"' in prompt:
        count = int(re.search(r"Think of (\d+)", prompt)[1])
        return {
            "tasks": [
                f"Given a question about {sentence(draw)[4:-1]}, retrieve the page that explains it"
                for _ in range(count)
            ]
        }
    if "<passage>" in prompt:
        passage = re.search(r"<passage>\n(.*?)\n</passage>", prompt, re.DOTALL)[1]
        words = passage.split()
        count = int(re.search(r"Write (\d+)", prompt)[1])
        starts = [draw.randrange(max(len(words) - 6, 1)) for _ in range(count)]
        return {
            "questions": [
                {
                    "question": f"Who knows about {' '.join(words[start : start + 4])}?",
                    "quote": " ".join(words[start : start + 6]),
                }
                for start in starts
            ]
        }
    first, second = sentence(draw), sentence(draw)
    if '"user_query"' in prompt:
        query = f"where is {first[4:-1]}"
        return {"user_query": query, "positive_document": f"{first} {second}", "hard_negative_document": sentence(draw)}
    if '"misleading_label"' in prompt:
        return {"input_text": first, "label": f"about {second[4:20]}", "misleading_label": f"not {second[8:25]}"}
    if '"S1"' in prompt:
        return {"S1": first, "S2": f"They say this: {first}", "S3": second}
    return {"input": first, "positive_document": f"Someone says: {first}"}


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: object) -> None:
        """A client that was killed is not an error."""


class _Handler(BaseHTTPRequestHandler):
    chat: Chat
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        chat = self.chat
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = prompt_of(body)
        with chat.lock:
            number = sum(chat.asked.values()) + 1
            chat.asked[prompt] += 1
            turn = chat.asked[prompt]
            chat.bodies.append(body)
            chat.headers.append({name.lower(): value for name, value in self.headers.items()})
            chat.times.append(time.monotonic())
            chat.open += 1
            chat.most = max(chat.most, chat.open)
        try:
            time.sleep(chat.delay)
            self._answer(number, turn, body, prompt)
        finally:
            with chat.lock:
                chat.open -= 1

    def _answer(self, number: int, turn: int, body: dict[str, Any], prompt: str) -> None:
        chat = self.chat
        fault = chat.fault(number, body)
        if fault == "drop":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
            self.close_connection = True
            return
        if isinstance(fault, int):
            fault = {"status": fault, "body": {"error": {"message": f"status {fault} for a test"}}}
        if isinstance(fault, dict):
            self._send(fault.get("status", 200), fault.get("body", {}), fault.get("headers", {}))
            return
        text = fault
        if text is None:
            draw = random.Random(hashlib.sha256(f"{prompt} {turn if chat.turns else ''}".encode()).hexdigest())
            text = json.dumps((chat.answer or well)(body, draw))
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4, "total_tokens": 0}
        reply = {
            "id": "1", "object": "chat.completion", "created": 0, "model": "stand-in",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            **({"usage": usage} if chat.usage else {}),
        }  # fmt: skip
        self._send(200, reply, {})
        with chat.lock:
            chat.answered[prompt] += 1

    def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
