"""An HTTP service under test, in OpenAI's dialect (`…/v1/embeddings`) or that of text-embeddings-inference (`…/embed`).

Neither dialect has a place for sides, so prompts are written into the texts here; the service must add none of its own
(of `me5 serve`, name the model with the alias that adds none).
"""

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import urldefrag

import httpx2
import numpy as np

from me5 import catalog
from me5.client.exchange import Request, Tries
from me5.errors import ServiceError
from me5.evaluation.encoders.base import Float32, Prompt, prompt_of, unit
from me5.preprocessor import choose_prompts
from me5.progress import Advance
from me5.prompts import Prompts, Side

Dialect = Literal["openai", "tei"]
# What text-embeddings-inference takes in one request unless told otherwise.
TEXTS_PER_REQUEST = 32
_AT_ONCE = 4
_RETRIES = 5
# "Come back later", and failures that may pass. 501 and 505 will not.
_RETRIED = (408, 429, 500, 502, 503, 504)
_HEADERS = {"content-type": "application/json", "accept": "application/json"}


class EndpointEncoder:
    """See `Encoder`. `url` may name the model after `#`, as `http://localhost:8080/v1#multilingual-e5-small`.

    The dialect is OpenAI's where the path ends in `/v1` or `/embeddings`, else text-embeddings-inference's. `key` is
    sent as a bearer token. What may pass is asked again up to five times, after the time that the service asks for
    (Retry-After), as `me5.Client` does, with a line in the log each. Raises `ServiceError`, or `InputError` where the
    service refuses the texts.
    """

    def __init__(
        self,
        url: str,
        *,
        prompts: Prompts | None = None,
        key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        base, self._model = urldefrag(url)
        self.dialect: Dialect = "openai" if base.rstrip("/").endswith(("/v1", "/embeddings")) else "tei"
        self._path = "/embeddings" if self.dialect == "openai" else "/embed"
        self._base = base.rstrip("/").removesuffix(self._path)
        self.name = f"{self._model or self._base} ({self.dialect})"
        known = catalog.find(self._model.partition(":")[0]) if self._model else None  # without `:side`
        self._prompts = choose_prompts(prompts, known.prompts if known else None, self.name)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(headers=headers, timeout=httpx2.Timeout(300, connect=10), transport=transport)

    @property
    def fingerprint(self) -> str:
        """See `Encoder.fingerprint`. A service does not tell its weights: address and model name stand for them."""
        return hashlib.sha256(repr((self._base, self.dialect, self._model)).encode()).hexdigest()[:32]

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`."""
        return prompt_of(self._prompts, side, task)

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`. Services refuse empty texts: a space stands for one."""
        said = [prompt.text + text or " " for text in texts]
        starts = range(0, len(said), TEXTS_PER_REQUEST)
        blocks: list[Float32] = []
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            for block in pool.map(self._embed, [said[start : start + TEXTS_PER_REQUEST] for start in starts]):
                if blocks and block.shape[1] != blocks[0].shape[1]:
                    raise ServiceError(
                        f"{self._base} gave vectors of mixed dimensions: {blocks[0].shape[1]}, then {block.shape[1]}"
                    )
                blocks.append(block)
                if advance is not None:
                    advance(len(block), 0)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)

    def _embed(self, texts: list[str]) -> Float32:
        if self.dialect == "tei":
            return unit(self._ask({"inputs": texts, "normalize": True, "truncate": True}), len(texts), self._base)
        answer = self._ask({"model": self._model or "default", "input": texts, "encoding_format": "float"})
        try:
            vectors = [one["embedding"] for one in sorted(answer["data"], key=lambda one: one["index"])]
        except (KeyError, TypeError) as error:
            raise ServiceError(
                f"{self._base} answered without data, index or embedding: {str(answer)[:200]}"
            ) from error
        return unit(vectors, len(texts), self._base)

    def _ask(self, body: dict[str, Any]) -> Any:
        request = Request("POST", self._path, _HEADERS, json.dumps(body, ensure_ascii=False).encode())
        tries = Tries(request, self._base, _RETRIES, retried=_RETRIED, service="the service")
        while (wait := tries.wait_after(self._try(request))) is not None:
            time.sleep(wait)
        try:
            return tries.reply.json()
        except ValueError as error:
            raise ServiceError(f"{self._base} answered what is not JSON: {tries.reply.text[:200]}") from error

    def _try(self, request: Request) -> httpx2.Response | httpx2.TransportError:
        try:
            url = self._base + request.path
            return self._http.request(request.method, url, content=request.body, headers=request.headers)
        except httpx2.TransportError as error:
            return error
