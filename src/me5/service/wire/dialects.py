"""How each dialect writes an error: the same `Fault` in other words."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel

from me5.errors import Me5Error
from me5.service.errors import Fault, RetryLater, TeiType, Unauthorized, WrongMethod, fault_of
from me5.service.record import RequestRecord

logger = logging.getLogger(__name__)

Rendered = Callable[[Fault, str, str | None], dict[str, Any] | None]  # (fault, message, param) -> body


class OpenAIErrorDetail(BaseModel):
    """What went wrong, which field it was, and a word for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIErrorDetail


class TeiError(BaseModel):
    """An error as TEI's clients read it."""

    error: str
    error_type: TeiType


class CohereError(BaseModel):
    """An error as Cohere's clients read it."""

    message: str


class OllamaError(BaseModel):
    """An error as Ollama's clients read it."""

    error: str


@dataclass(frozen=True)
class Dialect:
    """`render` makes the body of (fault, message, param); `shape` documents it."""

    name: str
    status: Callable[[Fault], int]
    render: Rendered
    shape: type[BaseModel]

    def responses(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        """The errors of a route, for the OpenAPI document."""
        common = (400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
        return {
            status: {"description": _MEANINGS[status]}
            | ({} if status == 401 and self is TEI else {"model": self.shape})
            for status in sorted({*common, *statuses})
        }


def _openai(fault: Fault, message: str, param: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": fault.type, "param": param, "code": fault.code}}


def _tei(fault: Fault, message: str, _: str | None) -> dict[str, Any] | None:
    if fault.tei_status == 401:  # TEI sends nothing with it
        return None
    return {"error": message, "error_type": fault.tei_type}


def _cohere(_: Fault, message: str, __: str | None) -> dict[str, Any]:
    return {"message": message}


def _ollama(_: Fault, message: str, __: str | None) -> dict[str, Any]:
    return {"error": message}


OPENAI = Dialect("openai", lambda fault: fault.status, _openai, OpenAIError)
TEI = Dialect("tei", lambda fault: fault.tei_status, _tei, TeiError)
COHERE = Dialect("cohere", lambda fault: fault.status, _cohere, CohereError)
OLLAMA = Dialect("ollama", lambda fault: fault.status, _ollama, OllamaError)

_MEANINGS = {
    400: "A field that cannot be used; the message says which, and what to do.",
    401: "No API key, or one that is not known.",
    404: "No such model or path.",
    408: "The body did not arrive in time.",
    413: "The body has more bytes than the service reads.",
    415: "The body is not plain JSON.",
    422: "A field that cannot be used; the message says which, and what to do.",
    424: "This model cannot do that, or the engine failed.",
    429: "Too much waits, or the key has used its tokens; Retry-After has the seconds to wait.",
    500: "The engine failed, or the service has a bug.",
    503: "Not ready: starting, ending, or replacing a worker that died.",
    504: "The answer was not ready in time.",
}


def refuse(dialect: Dialect, error: Exception, record: RequestRecord) -> Response:
    """The reply to an error. What is no mistake of the caller is logged; its text stays here."""
    fault = fault_of(error)
    record.failed(fault.code or fault.type)
    message = str(error)
    if fault.status == 500:
        logger.error("a request failed", exc_info=error)
    if not isinstance(error, Me5Error):
        message = f"an internal error; the service's log has more under the request id {record.id}"
    body = dialect.render(fault, message, getattr(error, "param", None))
    headers = {"x-should-retry": "true" if isinstance(error, RetryLater) else "false"}
    if isinstance(error, RetryLater):
        headers |= {
            "retry-after": str(max(1, math.ceil(error.retry_after))),
            "retry-after-ms": str(max(1, math.ceil(error.retry_after * 1000))),
        }
    if isinstance(error, WrongMethod):
        headers["allow"] = error.allowed
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return Response(
        b"" if body is None else orjson.dumps(body),
        status_code=dialect.status(fault),
        media_type=None if body is None else "application/json",
        headers=headers,
    )
