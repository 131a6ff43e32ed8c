"""What can go wrong between a request and its reply, and the one table from an error to its HTTP status and codes.

ServingError (Me5Error)
├── RetryLater                    come back in `retry_after` seconds
│   ├── Overloaded                the queue is full
│   ├── RateLimited               this key used up its tokens for now
│   └── Unhealthy                 starting, draining, or without a worker
├── StoreReplaced                 another model has made the store anew; the service has to be restarted
├── DeadlineExceeded              the answer was not ready in time
├── Unauthorized                  no key, or one that is not known
├── WrongHost                     a name that is not this machine's, such as a web page's that was rebound
├── TooLarge                      the body has more bytes than the service reads
├── SlowClient                    the body did not arrive in time
├── WrongMediaType                a body that is not plain JSON
├── NotServed                     a route of another kind of model
├── NotFound                      no such path; UnknownModel: no such model
├── WrongMethod                   a path that exists, under another method
└── ClientGone                    the caller hung up; nobody reads this reply
FieldError (InputError)           a field of the request that cannot be used; `param` names it
├── EmptyInput                    nothing to embed
└── Malformed                     a body that is not JSON at all

The dialects render the same `Fault` in their own words: `wire/dialects.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from me5.errors import EngineError, InputError, Me5Error, StoreError


class ServingError(Me5Error):
    """Base of what the service itself raises, and no caller of the library meets."""


class RetryLater(ServingError):
    """Nothing is wrong with the request; it is only refused for now. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(RetryLater):
    """The queue holds as many tokens as it may."""


class RateLimited(RetryLater):
    """The caller's key has used up its tokens for now."""


class Unhealthy(RetryLater):
    """The service is starting, draining, or has lost its worker."""


class StoreReplaced(ServingError):
    """The store that was served is gone, and another model has made the one in its place."""


class DeadlineExceeded(ServingError):
    """The answer was not ready in time."""


class Unauthorized(ServingError):
    """No key, or one that is not known."""


class WrongHost(ServingError):
    """A name in `Host` that is not allowed here: see `--allowed-hosts`."""


class TooLarge(ServingError):
    """The body has more bytes than the service reads."""


class SlowClient(ServingError):
    """The body did not arrive in time."""


class WrongMediaType(ServingError):
    """The body is not plain JSON: another type, or compressed."""


class NotServed(ServingError):
    """A route of another kind of model, such as a re-ranker."""


class NotFound(ServingError):
    """No such path."""


class UnknownModel(NotFound):
    """Another model than the one that is served."""

    param = "model"


class WrongMethod(ServingError):
    """The path exists, under another method. `allowed` lists those."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class ClientGone(ServingError):
    """The caller hung up before the reply."""


class FieldError(InputError):
    """A field of the request that cannot be used."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class EmptyInput(FieldError):
    """There is nothing to embed."""


class Malformed(FieldError):
    """The body is not JSON."""


TeiType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


@dataclass(frozen=True)
class Fault:
    """An error in HTTP: OpenAI's status, `type` and `code`; and TEI's status and `error_type`.

    Cohere's routes and me5's own use OpenAI's status.
    """

    status: int
    type: str
    code: str | None
    tei_status: int
    tei_type: TeiType


# The most specific class of an error decides.
FAULTS: Mapping[type[Exception], Fault] = {
    InputError: Fault(400, "invalid_request_error", "invalid_value", 422, "Validation"),
    EmptyInput: Fault(400, "invalid_request_error", "empty_input", 400, "Empty"),
    Malformed: Fault(400, "invalid_request_error", "invalid_json", 422, "Validation"),
    Unauthorized: Fault(401, "invalid_request_error", "invalid_api_key", 401, "Validation"),
    WrongHost: Fault(403, "invalid_request_error", "host_not_allowed", 403, "Validation"),
    NotFound: Fault(404, "invalid_request_error", "not_found", 404, "Validation"),
    UnknownModel: Fault(404, "invalid_request_error", "model_not_found", 404, "Validation"),
    WrongMethod: Fault(405, "invalid_request_error", "method_not_allowed", 405, "Validation"),
    SlowClient: Fault(408, "invalid_request_error", "request_timeout", 408, "Validation"),
    TooLarge: Fault(413, "invalid_request_error", "request_too_large", 413, "Validation"),
    WrongMediaType: Fault(415, "invalid_request_error", "unsupported_media_type", 415, "Validation"),
    NotServed: Fault(424, "invalid_request_error", "not_supported_by_model", 424, "Backend"),
    RateLimited: Fault(429, "rate_limit_exceeded", "rate_limit_exceeded", 429, "Overloaded"),
    Overloaded: Fault(429, "rate_limit_exceeded", "overloaded", 429, "Overloaded"),
    ClientGone: Fault(499, "invalid_request_error", "client_gone", 499, "Validation"),
    EngineError: Fault(500, "server_error", "engine_error", 424, "Backend"),
    StoreError: Fault(500, "server_error", "store_error", 500, "Backend"),
    Exception: Fault(500, "server_error", "internal_error", 500, "Backend"),
    Unhealthy: Fault(503, "server_error", "unavailable", 503, "Unhealthy"),
    StoreReplaced: Fault(503, "server_error", "store_replaced", 503, "Unhealthy"),
    DeadlineExceeded: Fault(504, "server_error", "deadline_exceeded", 504, "Backend"),
}


def shown(value: object) -> str:
    """A value of a request in an error's text: short, and never the inside of a list or an object."""
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        value = value[:60]
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def fault_of(error: Exception) -> Fault:
    """The row of an error, by its most specific class in the table."""
    return next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
