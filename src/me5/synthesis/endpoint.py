"""A chat model behind an OpenAI-compatible endpoint: one request, one reply, in the form that the server accepts."""

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI

from me5.client.exchange import Outcome, describe
from me5.errors import InputError, Me5Warning, ServiceError
from me5.synthesis.forms import schema_of
from me5.synthesis.requests import ChatModel, ChatRequest

# How an answer is held to its form, the strictest way first.
_WAYS = ("json_schema", "json_object", "text")
_ABOUT_FORMAT = re.compile(
    r"response_format|json_schema|json_object|json mode|schema|grammar|guided|structured", re.IGNORECASE
)
_UNSUPPORTED = re.compile(r"unsupported|not support|not allowed|unknown|unrecogni|extra", re.IGNORECASE)
_REFUSING = (400, 404, 422, 501)


@dataclass(frozen=True)
class Reply:
    """The text of a reply, None where there is none; why it ends; tokens where they were counted."""

    text: str | None
    refusal: str | None
    finish: str | None
    tokens_in: int | None
    tokens_out: int | None
    model: str


@dataclass(frozen=True)
class Way:
    """How requests are written for this server."""

    form: str = _WAYS[0]
    length: str = "max_tokens"
    dropped: frozenset[str] = frozenset()


class ChatEndpoint:
    """Sends requests to a server, and learns which parameters it refuses. Connected within an `async with` block.

    The key is a bearer token. `said` is called with each change of how requests are written, by default a warning.
    Raises `InputError` for an address that is none.
    """

    def __init__(
        self,
        url: str,
        model: ChatModel,
        *,
        key: str | None = None,
        timeout: float = 300.0,
        said: Callable[[str], None] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"the endpoint must start with http:// or https://, got {url!r}")
        self._model = model
        self._key = key
        self._timeout = timeout
        self._said = said or _warn
        self.url = url
        self.way = Way()

    async def __aenter__(self) -> "ChatEndpoint":
        # Its own retries would be counted by nobody.
        self._client = AsyncOpenAI(
            api_key=self._key or "none", base_url=self.url, max_retries=0, timeout=self._timeout
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def send(self, request: ChatRequest, way: Way) -> Outcome:
        """The reply, or what stood in its place. `way` is `self.way` at the time of sending."""
        try:
            raw = await self._client.chat.completions.with_raw_response.create(**self._fields(request, way))
        except APIStatusError as error:
            return error.response
        except APIConnectionError as error:
            if isinstance(error.__cause__, httpx2.TransportError):
                return error.__cause__
            raise ServiceError(f"{self.url}: {error}: {error.__cause__}") from error
        response: httpx2.Response = raw.http_response
        return response

    def adapt(self, outcome: Outcome, way: Way) -> bool:
        """Whether a refusal is about how the request was written, and the next one is written in another way."""
        if (other := other_way(outcome, way)) is None:
            return False
        if self.way == way:  # else another request has learned it already
            self.way = other
            self._said(f"{self.url} refused a parameter ({describe(outcome)}); {_told(way, other)}")
        return True

    def _fields(self, request: ChatRequest, way: Way) -> dict[str, Any]:
        model = self._model
        messages = [("system", model.system), ("user", request.prompt)]
        fields: dict[str, Any] = {
            "model": model.name,
            "messages": [{"role": role, "content": content} for role, content in messages if content],
            way.length: model.answer_tokens,
            "temperature": model.temperature,
            "top_p": model.top_p,
        }
        if way.form == "json_schema":
            schema = {
                "name": request.form.replace("-", "_"),
                "schema": json.loads(schema_of(request.form)),
                "strict": True,
            }
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        else:
            # What a schema would say, the prompt does; some servers demand the word JSON in it.
            asked = f"\n\nThe JSON object follows this JSON schema:\n{schema_of(request.form)}"
            fields["messages"][-1]["content"] += asked
            if way.form == "json_object":
                fields["response_format"] = {"type": "json_object"}
        return {name: value for name, value in fields.items() if name not in way.dropped}


def read_reply(response: httpx2.Response) -> Reply:
    """The first choice of a chat completion. Raises `ServiceError` for anything else."""
    try:
        body = response.json()
        choice, usage = body["choices"][0], body.get("usage") or {}
        said = choice["message"]
        text = said.get("content")
        if text is not None and not isinstance(text, str):
            raise TypeError(f"content is {type(text).__name__}")
        return Reply(
            text, said.get("refusal") or None, choice.get("finish_reason"), _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")), str(body.get("model") or ""),
        )  # fmt: skip
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ServiceError(
            f"{response.url}: the reply is not a chat completion ({type(error).__name__}: {error}). --endpoint must be "
            "the address that ends before /chat/completions, usually with /v1",
            status=response.status_code,
        ) from error


def other_way(outcome: Outcome, way: Way) -> Way | None:
    """How to write requests after a refusal that names one of their parameters; None for any other outcome."""
    if not isinstance(outcome, httpx2.Response) or outcome.status_code not in _REFUSING:
        return None
    text = describe(outcome)
    if "max_completion_tokens" in text and way.length == "max_tokens":
        return replace(way, length="max_completion_tokens")
    if way.form != _WAYS[-1] and _ABOUT_FORMAT.search(text):
        return replace(way, form=_WAYS[_WAYS.index(way.form) + 1])
    for name in ("temperature", "top_p"):
        if name not in way.dropped and name in text and _UNSUPPORTED.search(text):
            return replace(way, dropped=way.dropped | {name})
    return None


def _told(way: Way, other: Way) -> str:
    if way.form != other.form:
        plain = (
            "answers are asked for without a format"
            if other.form == "text"
            else "answers are asked for in plain JSON mode"
        )
        return f"{plain}, and read as strictly as before"
    if way.length != other.length:
        return f"{other.length} takes the place of {way.length}"
    return f"{', '.join(other.dropped - way.dropped)} is left to the server"


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _warn(text: str) -> None:
    warnings.warn(text, Me5Warning, stacklevel=2)
