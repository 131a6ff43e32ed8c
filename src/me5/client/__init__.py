"""Client and AsyncClient: an `Embedder` that lives behind `me5 serve`, with the same methods and the same vectors.

`exchange` decides what is sent, read and retried; here are a connection and a clock, once for threads and once for
asyncio.

Retries: a lost connection and the statuses 429, 502 and 503 are tried again, `retries` times at most. The wait is 0.25
seconds, doubled each time up to 8, or what `Retry-After` asks where that is longer; times 1 to 1.5 at random, so that
many clients do not return at once. A `Retry-After` above a minute is not waited for. Every retry is logged (logger
`me5.client`, a warning). A reply that takes longer than `timeout` is not requested again: the service may still be at
work on it.
"""

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Mapping, Sized
from typing import Any, Generic, Self, TypeVar

import httpx2
import numpy as np
import numpy.typing as npt

from me5.calibration.applied import Calibration
from me5.calibration.curve import Floats
from me5.client.exchange import (
    BATCH_SIZE,
    INFO,
    STORE,
    EncodeCall,
    Outcome,
    Request,
    Texts,
    Tries,
    calibration_request,
    read_calibration,
    read_object,
    read_ranking,
    rerank_request,
    search_request,
)
from me5.embedder import Embedder
from me5.errors import InputError
from me5.prepared import Report
from me5.progress import track
from me5.prompts import Side
from me5.quantization import Form, Rows
from me5.reranker import Ranked
from me5.texts import texts_of
from me5.tokenizer import TRUNCATIONS, Truncation

__all__ = ["AsyncClient", "Client"]

_CONNECT_TIMEOUT = 5.0
Vectors = TypeVar("Vectors")  # Rows, or a coroutine of it


class _Service(ABC, Generic[Vectors]):
    """The address and options of a service, and the methods of `Embedder`."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        model: str | None = None,
        truncation: Truncation | None = None,
        batch_size: int = BATCH_SIZE,
        timeout: float = 300.0,
        retries: int = 4,
    ) -> None:
        if truncation is not None and truncation not in TRUNCATIONS:
            raise InputError(f"unknown truncation {truncation!r}; expected one of {', '.join(TRUNCATIONS)}")
        if batch_size < 1 or retries < 0 or timeout <= 0:
            raise InputError(
                "batch_size must be at least 1, retries at least 0 and timeout above 0 seconds, "
                f"got {batch_size}, {retries} and {timeout}"
            )
        if not base_url.startswith(("http://", "https://")):
            raise InputError(f"base_url must start with http:// or https://, got {base_url!r}")
        # Other libraries want the /v1 in their base URL: theirs works here as well.
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self._batch_size = batch_size
        self._retries = retries
        self._calibrations: dict[tuple[str | None, bool], Calibration] = {}  # by task, and whether both sides are alike
        self._options = {name: value for name, value in (("model", model), ("truncation", truncation)) if value}
        key = os.environ.get("ME5_API_KEY") if api_key is None else api_key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._open(headers, httpx2.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)))

    def encode_query(
        self,
        texts: Texts,
        *,
        task: str | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
        truncate_dim: int | None = None,
        precision: Form = "float32",
    ) -> Vectors:
        """Vectors of search queries. `task` None is the model card's web search; see `me5.TASKS`."""
        return self._encode(texts, self._call("query", task, report, truncate_dim, precision), show_progress_bar)

    def encode_document(
        self,
        texts: Texts,
        *,
        report: Report | None = None,
        show_progress_bar: bool = False,
        truncate_dim: int | None = None,
        precision: Form = "float32",
    ) -> Vectors:
        """Vectors of the texts that are searched."""
        return self._encode(texts, self._call("document", None, report, truncate_dim, precision), show_progress_bar)

    def encode(
        self,
        texts: Texts,
        *,
        task: str | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
        truncate_dim: int | None = None,
        precision: Form = "float32",
    ) -> Vectors:
        """Vectors for symmetric use: similarity, bitext, clustering, classification. The same prompt on every text."""
        return self._encode(texts, self._call("both", task, report, truncate_dim, precision), show_progress_bar)

    similarity = staticmethod(Embedder.similarity)
    similarity_pairwise = staticmethod(Embedder.similarity_pairwise)

    def _question(self, question: str, k: int, options: Mapping[str, Any]) -> Request:
        model = {name: value for name, value in self._options.items() if name == "model"}
        return search_request({"query": question, "k": k, **model, **options})

    def _ranking(self, query: str, documents: list[str], *, raw: bool) -> Request:
        # The model's name and truncation are the embedding model's.
        return rerank_request(query, documents, {"raw_scores": raw})

    @abstractmethod
    def _open(self, headers: dict[str, str], timeout: httpx2.Timeout) -> None:
        """Make the pool of connections; the first request opens one."""

    @abstractmethod
    def _encode(self, texts: Texts, call: EncodeCall, show: bool) -> Vectors:
        """Send the requests of a call and join what comes back."""

    def _call(
        self, side: Side, task: str | None, report: Report | None, truncate_dim: int | None, precision: Form
    ) -> EncodeCall:
        chosen = {"side": side, "task": task, "dimensions": truncate_dim}
        options = self._options | {name: value for name, value in chosen.items() if value is not None}
        return EncodeCall(options, self._batch_size, report, precision)

    def _tries(self, request: Request) -> Tries:
        return Tries(request, self.base_url, self._retries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"


class Client(_Service[Rows]):
    """A me5 service, called as an `Embedder` is.

        with Client("http://127.0.0.1:8080") as client:
            scores = client.similarity(client.encode_query(["how tall is K2?"]), client.encode_document(["8,611 m"]))

    `api_key` None is the environment's `ME5_API_KEY`; `model` and `truncation` None are the service's own. An input of
    any length is sent `batch_size` texts at a time (long texts fewer). `timeout` in seconds is for one reply; a request
    is tried again `retries` times after a lost connection or a 429, 502 or 503. Safe to call from several threads.

    Raises `InputError` for what cannot be embedded, `ServiceError` for everything else that goes wrong.
    """

    def info(self) -> dict[str, Any]:
        """The service's properties from `GET /info`: model_id, dim, precision, max_input_length and more."""
        return read_object(self._send(INFO))

    def search(self, question: str, k: int = 10, **options: Any) -> dict[str, Any]:
        """What a service started with `--search` answers: `hits`, best first, and more (docs/search.md).

        `options` are further fields of `POST /v1/search`: language, source, filter, by, weight, group, fold,
        highlight, task, min_probability, max_risk.
        """
        return read_object(self._send(self._question(question, k, options)))

    def probability(
        self, scores: npt.ArrayLike, *, task: str | None = None, symmetric: bool = False, prior: float | None = None
    ) -> Floats:
        """The probability that each pair belongs together, from its cosine, as `Embedder.probability` has it.

        Asks the service for its calibration once for each task and side. Raises `ServiceError` (status 404) where its
        model has none.
        """
        if (asked := (task, symmetric)) not in self._calibrations:
            reply = self._send(calibration_request(task, symmetric=symmetric))
            self._calibrations[asked] = read_calibration(reply)
        return self._calibrations[asked].with_prior(prior).probability(scores)

    def rerank(self, query: str, documents: Texts, *, top: int | None = None, raw: bool = False) -> list[Ranked]:
        """The best `top` documents, or all, from the best on, by a service started with `--reranker`.

        Scores are 0 to 1, or with `raw` the model's logits. All documents go in one request, which the service bounds.
        """
        if not (documents := _listed(documents)):
            return []
        return read_ranking(self._send(self._ranking(query, documents, raw=raw)), top)

    def store(self) -> dict[str, Any]:
        """What the store of a service started with `--search` holds: passages, languages, kinds."""
        return read_object(self._send(STORE))

    @property
    def dim(self) -> int:
        """The width of the vectors; asks the service."""
        return int(self.info()["dim"])

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self, headers: dict[str, str], timeout: httpx2.Timeout) -> None:
        self._http = httpx2.Client(base_url=self.base_url, headers=headers, timeout=timeout)

    def _encode(self, texts: Texts, call: EncodeCall, show: bool) -> Rows:
        blocks: list[Rows] = []
        with track(_count(texts), show=show) as advance:
            for request in call.requests(texts):
                vectors, tokens = call.read(request, self._send(request))
                blocks.append(vectors)
                advance(len(vectors), tokens)
        call.warn()
        return np.concatenate(blocks) if blocks else call.nothing(self.dim)

    def _send(self, request: Request) -> httpx2.Response:
        tries = self._tries(request)
        while (wait := tries.wait_after(self._try(request))) is not None:
            time.sleep(wait)
        return tries.reply

    def _try(self, request: Request) -> Outcome:
        try:
            return self._http.request(request.method, request.path, content=request.body, headers=request.headers)
        except httpx2.TransportError as error:
            return error


class AsyncClient(_Service[Coroutine[Any, Any, Rows]]):
    """`Client` for asyncio: the same arguments, methods and errors.

        async with AsyncClient() as client:
            vectors = await client.encode_document(texts)

    A large input keeps `in_flight` requests going at once, and its vectors in order.
    """

    in_flight = 4

    async def info(self) -> dict[str, Any]:
        """The service's properties from `GET /info`: model_id, dim, precision, max_input_length and more."""
        return read_object(await self._send(INFO))

    async def search(self, question: str, k: int = 10, **options: Any) -> dict[str, Any]:
        """What a service started with `--search` answers, as `Client.search` does."""
        return read_object(await self._send(self._question(question, k, options)))

    async def probability(
        self, scores: npt.ArrayLike, *, task: str | None = None, symmetric: bool = False, prior: float | None = None
    ) -> Floats:
        """The probability that each pair belongs together, as `Client.probability` tells it."""
        if (asked := (task, symmetric)) not in self._calibrations:
            reply = await self._send(calibration_request(task, symmetric=symmetric))
            self._calibrations[asked] = read_calibration(reply)
        return self._calibrations[asked].with_prior(prior).probability(scores)

    async def rerank(self, query: str, documents: Texts, *, top: int | None = None, raw: bool = False) -> list[Ranked]:
        """The best `top` documents, or all, from the best on, as `Client.rerank` gives them."""
        if not (documents := _listed(documents)):
            return []
        return read_ranking(await self._send(self._ranking(query, documents, raw=raw)), top)

    async def store(self) -> dict[str, Any]:
        """What the store of a service started with `--search` holds: passages, languages, kinds."""
        return read_object(await self._send(STORE))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _open(self, headers: dict[str, str], timeout: httpx2.Timeout) -> None:
        self._http = httpx2.AsyncClient(base_url=self.base_url, headers=headers, timeout=timeout)

    async def _encode(self, texts: Texts, call: EncodeCall, show: bool) -> Rows:
        blocks: list[Rows] = []
        sent: deque[tuple[Request, asyncio.Task[httpx2.Response]]] = deque()

        async def receive() -> None:
            vectors, tokens = call.read(sent[0][0], await sent[0][1])
            sent.popleft()
            blocks.append(vectors)
            advance(len(vectors), tokens)

        with track(_count(texts), show=show) as advance:
            try:
                for request in call.requests(texts):
                    if len(sent) >= self.in_flight:
                        await receive()
                    sent.append((request, asyncio.create_task(self._send(request))))
                while sent:
                    await receive()
            finally:
                for _, task in sent:
                    task.cancel()
                await asyncio.gather(*(task for _, task in sent), return_exceptions=True)
        call.warn()
        return np.concatenate(blocks) if blocks else call.nothing(int((await self.info())["dim"]))

    async def _send(self, request: Request) -> httpx2.Response:
        tries = self._tries(request)
        while (wait := tries.wait_after(await self._try(request))) is not None:
            await asyncio.sleep(wait)
        return tries.reply

    async def _try(self, request: Request) -> Outcome:
        try:
            return await self._http.request(request.method, request.path, content=request.body, headers=request.headers)
        except httpx2.TransportError as error:
            return error


def _listed(documents: Texts) -> list[str]:
    return list(texts_of(documents))


def _count(texts: Texts) -> int | None:
    """How many texts the progress bar should expect; None where that is not known."""
    return 1 if isinstance(texts, str) else len(texts) if isinstance(texts, Sized) else None
