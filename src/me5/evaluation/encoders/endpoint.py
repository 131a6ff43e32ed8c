"""An HTTP service under test, in OpenAI's dialect (`…/v1/embeddings`) or that of text-embeddings-inference (`…/embed`).

Neither dialect has a place for sides, so prompts are written into the texts here; the service must add none of its own.
"""

import email.utils
import hashlib
import random
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import urldefrag

import httpx
import numpy as np

from me5 import catalog
from me5.embedder import unknown_prompts
from me5.errors import Me5Warning, ServiceError
from me5.evaluation.encoders.base import Float32, Prompt, prompt_of, unit
from me5.progress import Advance
from me5.prompts import Prompts, Side

Dialect = Literal["openai", "tei"]
# What text-embeddings-inference takes in one request unless told otherwise.
TEXTS_PER_REQUEST = 32
_AT_ONCE = 4
_TRIES = 6
_LONGEST_WAIT = 120.0
# "Come back later" and failures that may pass. 501 and 505 will not.
_RETRIED = {408, 429, 500, 502, 503, 504}


class EndpointEncoder:
    """See `Encoder`. `url` may name the model after `#`, as `http://localhost:8080/v1#multilingual-e5-small`.

    The dialect is OpenAI's where the path ends in `/v1` or `/embeddings`, else text-embeddings-inference's. `key` is
    sent as a bearer token. Refused and failed requests are repeated up to five times, with a warning each, after the
    time that the service asks for (Retry-After), or 0.5 s, doubled each time. Raises `ServiceError`.
    """

    def __init__(
        self,
        url: str,
        *,
        prompts: Prompts | None = None,
        key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base, self._model = urldefrag(url)
        base = base.rstrip("/")
        self.dialect: Dialect = "openai" if base.endswith(("/v1", "/embeddings")) else "tei"
        wanted = "/embeddings" if self.dialect == "openai" else "/embed"
        self._url = base if base.endswith(wanted) else base + wanted
        self.name = f"{self._model or base} ({self.dialect})"
        known = catalog.find(self._model) if self._model else None
        self._prompts = prompts or (known.prompts if known else unknown_prompts(self.name))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(timeout=httpx.Timeout(120, connect=10), headers=headers, transport=transport)

    @property
    def fingerprint(self) -> str:
        """See `Encoder.fingerprint`. A service does not tell its weights: address and model name stand for them."""
        return hashlib.sha256(repr((self._url, self._model)).encode()).hexdigest()[:32]

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`."""
        return prompt_of(self._prompts, side, task)

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`."""
        starts = range(0, len(texts), TEXTS_PER_REQUEST)
        batches = [[prompt.text + text for text in texts[start : start + TEXTS_PER_REQUEST]] for start in starts]
        blocks: list[Float32] = []
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            for batch, block in zip(batches, pool.map(self._embed, batches), strict=True):
                if blocks and block.shape[1] != blocks[0].shape[1]:
                    raise ServiceError(
                        f"{self._url} gave vectors of mixed dimensions: {blocks[0].shape[1]}, then {block.shape[1]}"
                    )
                blocks.append(block)
                if advance is not None:
                    advance(len(batch), 0)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)

    def _embed(self, texts: list[str]) -> Float32:
        if self.dialect == "tei":
            answer = self._ask({"inputs": texts, "normalize": True, "truncate": True})
        else:
            answer = self._ask({"model": self._model or "default", "input": texts, "encoding_format": "float"})
        try:
            if self.dialect == "openai":
                answer = [one["embedding"] for one in sorted(answer["data"], key=lambda one: one["index"])]
        except (KeyError, TypeError) as error:
            raise ServiceError(f"{self._url} answered without data, index or embedding: {str(answer)[:200]}") from error
        return unit(answer, len(texts), self._url)

    def _ask(self, body: dict[str, Any]) -> Any:
        for tried in range(1, _TRIES + 1):
            status, wait = None, None
            try:
                reply = self._client.post(self._url, json=body)
                if reply.is_success:
                    return _read(reply)
                status, problem = reply.status_code, f"answered {reply.status_code}: {reply.text[:200]}"
                wait = _retry_after(reply.headers.get("retry-after"))
            except httpx.InvalidURL as error:
                raise ServiceError(f"{self._url} is no address: {error}") from error
            except httpx.TransportError as error:
                problem = f"cannot be reached: {error or type(error).__name__}"
            if tried == _TRIES or (status is not None and status not in _RETRIED):
                raise ServiceError(f"{self._url} {problem}", status=status, tries=tried)
            wait = min(0.5 * 2 ** (tried - 1) * random.uniform(0.8, 1.2) if wait is None else wait, _LONGEST_WAIT)
            warnings.warn(
                f"{self._url} {problem}; asking again in {wait:.1f} s (try {tried + 1} of {_TRIES})",
                Me5Warning,
                stacklevel=2,
            )
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")


def _read(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError as error:
        raise ServiceError(f"{reply.url} answered what is no JSON: {reply.text[:200]}", status=200) from error


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
