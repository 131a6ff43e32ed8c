"""What a client sends, how it reads the reply and when it retries; knows no socket and no clock.

EncodeCall   the texts of one call of `encode_*` → requests; their replies → vectors, the report, warnings
Tries        the outcome of a request → a reply to read, seconds to wait before the next try, or an error
"""

import json
import logging
import math
import random
import sys
import time
import warnings
from base64 import b64decode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlencode

import httpx2
import numpy as np
import numpy.typing as npt

from me5.calibration.applied import Calibration
from me5.errors import InputError, Me5Error, Me5Warning, ServiceError, TruncationWarning, counted
from me5.prepared import Report
from me5.quantization import Form, Rows, check_form, quantized
from me5.reranker import Ranked
from me5.texts import check_text, texts_of

Float32 = npt.NDArray[np.float32]
Texts = str | Iterable[str]
Outcome = httpx2.Response | httpx2.TransportError

# One request's share of a large input: at XLM-R-large's 600 tokens/s on two cores a full one takes about half a minute.
BATCH_SIZE = 128
BATCH_CHARS = 50_000

RETRIED = (429, 502, 503)
# No reply was begun, or it broke off: a retry gives the same vectors.
_LOST = (httpx2.NetworkError, httpx2.ConnectTimeout, httpx2.RemoteProtocolError)
# Seconds: the first wait and the longest one that doubling leads to; the longest Retry-After that is waited for.
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_REQUESTED = 0.25, 8.0, 60.0

_RAW = "application/octet-stream"
_SHOWN = 5
_log = logging.getLogger("me5.client")


@dataclass(frozen=True)
class Request:
    """What is sent; `first` is the place of its first text in the whole input, `texts` their number."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    first: int = 0
    texts: int = 0


INFO = Request("GET", "/info", {"accept": "application/json"})
STORE = Request("GET", "/v1/search", {"accept": "application/json"})


def calibration_request(task: str | None, *, symmetric: bool) -> Request:
    """What the cosines of a task and side mean."""
    asked = {"symmetric": "true" if symmetric else "false"} | ({} if task is None else {"task": task})
    return Request("GET", f"/v1/calibration?{urlencode(asked)}", {"accept": "application/json"})


def read_calibration(reply: httpx2.Response) -> Calibration:
    """A calibration that a service sent."""
    try:
        return Calibration.from_json(reply.text, str(reply.url))
    except InputError as error:
        raise ServiceError(str(error), status=reply.status_code) from error


def search_request(fields: Mapping[str, Any]) -> Request:
    """A question to the store of a service."""
    headers = {"content-type": "application/json", "accept": "application/json"}
    return Request("POST", "/v1/search", headers, json.dumps(fields, ensure_ascii=False).encode())


def rerank_request(query: str, documents: Sequence[str], options: Mapping[str, Any]) -> Request:
    """A query and its documents, in order. Raises `InputError` naming the one that is not valid text."""
    check_text(query, 0, "query")
    for index, text in enumerate(documents):
        check_text(text, index, "document")
    headers = {"content-type": "application/json", "accept": "application/json"}
    fields = {"query": query, "texts": documents, **options}
    return Request("POST", "/rerank", headers, json.dumps(fields, ensure_ascii=False).encode(), 0, len(documents))


def read_ranking(reply: httpx2.Response, top: int | None) -> list[Ranked]:
    """The documents from the best on, and a warning where some were cut."""
    try:
        ranked = [Ranked(int(one["index"]), float(one["score"])) for one in reply.json()]
        cut, lost = (int(reply.headers[f"x-me5-{name}"]) for name in ("truncated", "tokens-lost"))
    except (LookupError, TypeError, ValueError) as error:
        raise ServiceError(
            f"{reply.url}: the reply is not a ranking: {type(error).__name__}: {error}. base_url must be where "
            "`me5 serve` listens",
            status=reply.status_code,
        ) from error
    if cut:
        warnings.warn(
            f"pairs longer than the service's reranker reads were cut: {cut:,} of {len(ranked):,}, {lost:,} tokens "
            "lost",
            TruncationWarning,
            stacklevel=_frames_to_the_caller(),
        )
    return ranked[:top]


class EncodeCall:
    """The texts of one call of `encode_*` as requests, and their replies, in order, as vectors.

    `options` are the further fields of every request. With a `report`, replies come as JSON, which has a place for what
    each text had and lost; without, as raw float32. `precision` is the form of the vectors here.
    """

    def __init__(
        self, options: Mapping[str, Any], batch_size: int, report: Report | None, precision: Form = "float32"
    ) -> None:
        check_form(precision)
        self._options = options
        self._form = precision
        self._batch_size = batch_size
        self._report = report
        self._texts = self._truncated = self._lost = 0
        self._cut: list[str] = []
        self._warnings: dict[str, None] = {}  # the service's, each once

    def requests(self, texts: Texts) -> Iterator[Request]:
        """The requests that texts need. Raises `InputError` naming the item that is not valid text."""
        headers = {"content-type": "application/json", "accept": _RAW if self._report is None else "application/json"}
        for first, part in _split(texts_of(texts), self._batch_size):
            fields = {"input": part, "encoding_format": "base64", **self._options}
            body = json.dumps(fields, ensure_ascii=False).encode()
            yield Request("POST", "/v1/embeddings", headers, body, first, len(part))

    def nothing(self, width: int) -> Rows:
        """The vectors of no texts, by a model with vectors of `width` numbers."""
        return quantized(np.empty((0, min(self._options.get("dimensions", width), width)), np.float32), self._form)

    def read(self, request: Request, reply: httpx2.Response) -> tuple[Rows, int]:
        """Vectors (texts, dim) of the next reply, and the tokens that they were made of."""
        try:
            vectors = _from_raw(reply) if self._report is None else _from_json(reply, self._report)
            counts = (int(reply.headers[f"x-me5-{name}"]) for name in ("truncated", "tokens-lost", "tokens"))
            truncated, lost, tokens = counts
        except (LookupError, TypeError, ValueError) as error:
            kind = reply.headers.get("content-type", "of no type")
            raise ServiceError(
                f"{reply.url}: the reply ({kind}) is not what a me5 service sends: {type(error).__name__}: {error}. "
                "base_url must be where `me5 serve` listens",
                status=reply.status_code,
            ) from error
        if len(vectors) != request.texts:
            raise ServiceError(
                f"{reply.url}: {counted(request.texts, 'text')} sent, {counted(len(vectors), 'vector')} came back"
            )
        if warning := unquote(reply.headers.get("x-me5-warning", "")):
            self._warnings[warning] = None
        if truncated:
            self._cut.append(f"{request.first:,} to {request.first + request.texts - 1:,}")
        self._texts += request.texts
        self._truncated += truncated
        self._lost += lost
        return quantized(vectors, self._form), tokens

    def warn(self) -> None:
        """Issue `TruncationWarning` if texts were cut, and what else the service warned of as `Me5Warning`."""
        level = _frames_to_the_caller()
        for warning in self._warnings:
            warnings.warn(f"the service says: {warning}", Me5Warning, stacklevel=level)
        if not self._truncated:
            return
        among = ", ".join(self._cut[:_SHOWN]) + (", …" if len(self._cut) > _SHOWN else "")
        warnings.warn(
            f"texts longer than the service's model reads were cut: {self._truncated:,} of {self._texts:,} (among "
            f"items {among}), {self._lost:,} tokens lost. Pass a Report to see each; "
            "truncation 'chunk' reads everything",
            TruncationWarning,
            stacklevel=level,
        )


class Tries:
    """The tries of one request: from each outcome follows what is next. `reply` is there once nothing is.

    `retried` are the statuses that may pass, `service` is what hints call the other end, `less` what makes it faster.
    """

    reply: httpx2.Response

    def __init__(
        self,
        request: Request,
        base_url: str,
        retries: int,
        *,
        retried: Collection[int] = RETRIED,
        service: str = "`me5 serve`",
        less: str = "send less at once (batch_size)",
    ) -> None:
        self._request = request
        self._retried = retried
        self._service, self._less = service, less
        self._what = f"{request.method} {base_url}{request.path}"
        self._retries = retries
        self._done = 0

    def wait_after(self, outcome: Outcome) -> float | None:
        """Seconds until the next try, None once `reply` is there. Raises `InputError` or `ServiceError` at the end."""
        self._done += 1
        if isinstance(outcome, httpx2.Response) and outcome.is_success:
            self.reply = outcome
            return None
        requested = _retry_after(outcome)
        if not self._may_pass(outcome):
            raise self._refusal(outcome) if isinstance(outcome, httpx2.Response) else self._failure(outcome)
        if self._done > self._retries or requested > _LONGEST_REQUESTED:
            raise self._failure(outcome, f". It asks to come back in {requested:,.0f} s" if requested else "")
        doubled: float = min(_FIRST_WAIT * 2 ** (self._done - 1), _LONGEST_WAIT)
        wait = max(requested, doubled) * random.uniform(1, 1.5)
        _log.warning(
            "%s: %s; try %d of %d in %.1f s", self._what, describe(outcome), self._done + 1, self._retries + 1, wait
        )
        return wait

    def _may_pass(self, outcome: Outcome) -> bool:
        if isinstance(outcome, httpx2.Response):
            return outcome.status_code in self._retried
        return isinstance(outcome, _LOST)

    def _failure(self, outcome: Outcome, hint: str = "") -> ServiceError:
        if isinstance(outcome, httpx2.ReadTimeout):
            hint = f"; it may still be at work on it: {self._less}, or give a longer timeout"
        elif isinstance(outcome, httpx2.TransportError):
            hint = f"; is {self._service} running there?"
        status = outcome.status_code if isinstance(outcome, httpx2.Response) else None
        tries = counted(self._done, "try", "tries")
        return ServiceError(f"{self._what}: {describe(outcome)}, after {tries}{hint}", status=status, tries=self._done)

    def _refusal(self, reply: httpx2.Response) -> Me5Error:
        if reply.status_code in (400, 413, 422):
            counted = f" (counted from item {self._request.first:,} of the input)" if self._request.first else ""
            return InputError(f"{self._what}: {describe(reply)}{counted}")
        hints = {
            401: ". Pass api_key=…, or set ME5_API_KEY",
            403: ". Pass another api_key=…",
            404: f". base_url must be where {self._service} listens, and model one that GET /v1/models lists",
        }
        return self._failure(reply, hints.get(reply.status_code, ""))


def read_object(reply: httpx2.Response) -> dict[str, Any]:
    """The body of a reply that is a JSON object."""
    try:
        return dict(reply.json())
    except (TypeError, ValueError) as error:
        raise ServiceError(
            f"{reply.url}: the reply is not a JSON object. base_url must be where `me5 serve` listens",
            status=reply.status_code,
        ) from error


def _split(texts: Iterable[str], batch_size: int) -> Iterator[tuple[int, list[str]]]:
    """(place of the first, texts) in order: at most `batch_size` texts and `BATCH_CHARS`; a longer text goes alone."""
    first, chars = 0, 0
    part: list[str] = []
    for index, text in enumerate(texts):
        check_text(text, index)
        if not text:  # as every dialect does, but here with its place in the whole input
            raise InputError(f"text {index} is empty, which services refuse; leave it out")
        if part and (len(part) == batch_size or chars + len(text) > BATCH_CHARS):
            yield first, part
            first, part, chars = index, [], 0
        part.append(text)
        chars += len(text)
    if part:
        yield first, part


def _from_raw(reply: httpx2.Response) -> Float32:
    rows, dim = map(int, reply.headers["x-me5-shape"].split(","))
    vectors: Float32 = np.frombuffer(reply.content, "<f4").reshape(rows, dim).astype(np.float32, copy=False)
    return vectors


def _from_json(reply: httpx2.Response, report: Report) -> Float32:
    fields = reply.json()
    vectors = [np.frombuffer(b64decode(item["embedding"]), "<f4") for item in fields["data"]]
    notes = fields["me5"]
    for name in ("tokens", "lost", "chunks"):
        if len(notes[name]) != len(vectors):
            raise ValueError(f"{counted(len(vectors), 'vector')}, {counted(len(notes[name]), 'number')} of {name}")
        getattr(report, name).extend(notes[name])
    return np.stack(vectors).astype(np.float32, copy=False)


def _retry_after(outcome: Outcome) -> float:
    """The seconds that `Retry-After` asks for, as a number or as a date; 0 where it asks for none."""
    if not isinstance(outcome, httpx2.Response) or not (value := outcome.headers.get("retry-after", "").strip()):
        return 0.0
    try:
        seconds = float(value) if value[0].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def describe(outcome: Outcome) -> str:
    """One line on what happened: the lost connection, or the status and its message in any dialect of the service."""
    if not isinstance(outcome, httpx2.Response):
        return f"{type(outcome).__name__} {outcome}".strip()
    try:
        fields = outcome.json()
        error = fields.get("error") or fields.get("message") or fields.get("detail")
        message = error.get("message") if isinstance(error, dict) else error
    except (AttributeError, ValueError):
        message = outcome.text
    return f"{outcome.status_code} {' '.join(str(message or outcome.reason_phrase).split())[:500]}"


def _frames_to_the_caller() -> int:
    """The `stacklevel` of whoever called the client; the ways of threads and of asyncio to here differ in length."""
    level, frame = 0, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("me5.client"):
        level, frame = level + 1, frame.f_back
    return level + 1
