"""The way of every request to its route: key, body, JSON; and of every error to its dialect's words.

Bodies are JSON in UTF-8, plain: a compressed one could unpack to any size. They are read here rather than by FastAPI,
after the key was looked at, within the limits of `gate` and of the number of values, by a parser that refuses NaN, lone
surrogates and nesting without end. Lists of fields end at their first wrong item (`fail_fast`): each error is an
object, and one is told.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from me5.service.errors import (
    ClientGone,
    FieldError,
    Malformed,
    Unhealthy,
    WrongMediaType,
    shown,
)
from me5.service.settings import ServiceSettings
from me5.service.wire.call import Call, Service
from me5.service.wire.dialects import Dialect, refuse

# Fields of a body, known or not: each is looked at, and named in the reply where it has no effect.
MAX_FIELDS = 100
# Values of a body for each text that is allowed: what Cohere's clients send for one is five.
_VALUES_PER_TEXT = 8
# Bytes of a body that are parsed where they are, in less than a millisecond.
_INLINE = 64 * 1024

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def speaking(dialect: Dialect) -> type[APIRoute]:
    """The class of a dialect's routes."""

    class DialectRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            route = super().get_route_handler()
            reads_body = self.body_field is not None

            async def handle(request: Request) -> Response:
                service: Service = request.app.state.service
                call = None
                try:
                    call = request.state.call = Call(service, request)
                    call.admit()
                    if reads_body:
                        request = await _received(request, service.settings)
                    response = await route(request)
                except RequestValidationError as error:
                    response = refuse(dialect, _field_error(error), request.state.record)
                except asyncio.CancelledError:  # only by a server whose time to end is over
                    ended = Unhealthy("the service ended before the request was finished", 5.0)
                    response = refuse(dialect, ended, request.state.record)
                except Exception as error:
                    response = refuse(dialect, error, request.state.record)
                if call is not None:
                    call.tell_limits(response.headers)
                return response

            return handle

    return DialectRoute


class _ReceivedRequest(Request):
    """A request whose body was read and parsed."""

    def __init__(self, request: Request, content: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content = content

    async def body(self) -> bytes:
        """Not the body, which would be kept with it: that there is one."""
        return b"{}"

    async def json(self) -> Any:
        """See `Request.json`."""
        return self._content


async def _received(request: Request, settings: ServiceSettings) -> Request:
    """Read and parse a request's body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise WrongMediaType(
            f"the body's type is {media_type or 'not given'}, expected JSON: send the header "
            "`Content-Type: application/json`"
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise WrongMediaType(f"the body is compressed ({shown(encoding)}), which is not read here: send it plain")
    body = await _body(request)
    if not body:
        raise Malformed("the body is empty: send a JSON object")
    most = settings.max_request_tokens + _VALUES_PER_TEXT * settings.max_items
    content = _parsed(body, most) if len(body) <= _INLINE else await asyncio.to_thread(_parsed, body, most)
    if not isinstance(content, dict):
        raise Malformed(f"the body should be a JSON object, got {shown(content)}")
    if len(content) > MAX_FIELDS:
        raise FieldError(f"the body has {len(content):,} fields, at most {MAX_FIELDS} are read")
    return _ReceivedRequest(request, content)


def _parsed(body: bytes, most: int) -> Any:
    """A body's content, if it holds at most `most` values: one of two bytes can need a hundred in memory."""
    if _values(body) > most and (values := _values(_without_strings(body, most))) > most:
        raise FieldError(f"the body holds {values:,} values or more, at most {most:,} are read: send it in parts")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body cannot be read as JSON: {error}") from error


def _values(text: bytes) -> int:
    """At most how many values JSON holds; exactly so many, give or take empty lists, where no string is in it."""
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1


def _without_strings(body: bytes, most: int) -> bytes:
    """JSON without its strings, or where they are more than it may have values, as many commas."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A value is a string at most, and so is each name of a field.
    if (strings := bare.count(b'"') // 2) > 2 * most:
        return b"," * (strings // 2)
    return b"".join(bare.split(b'"')[::2])


async def _body(request: Request) -> bytes:
    """Every byte of the body."""
    body, more = bytearray(), True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the caller hung up while it was sending")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _field_error(error: RequestValidationError) -> FieldError:
    """The first of FastAPI's complaints, as one sentence about one field."""
    first, *others = error.errors()
    # Of a field that may be one of several things pydantic complains for each, and names it: `literal['end',…]`.
    path = [str(part) for part in first["loc"] if part != "body" and "[" not in str(part)]
    name = ".".join(path)
    others = [error for error in others if error["loc"][1:2] != first["loc"][1:2]]
    if first["type"] == "missing":
        message = f"`{name}` is missing"
    elif first["type"] == "too_short" and first["input"] == []:
        message = f"`{name}` is an empty list: send at least one"
    else:
        message = f"`{name}`: {first['msg'][0].lower()}{first['msg'][1:]}, got {shown(first.get('input'))}"
    if others:
        message += f" (and {len(others)} more)"
    return FieldError(message, path[0] if path else None)
