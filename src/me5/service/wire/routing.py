"""The way of every request to its route: key, body, JSON; and of every error to its dialect's words.

Bodies are JSON in UTF-8, plain: a compressed one could unpack to any size. They are read here rather than by FastAPI,
after the key was looked at, within the limits of `gate`, by a parser that refuses NaN, lone surrogates and nesting
without end.
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
from me5.service.wire.call import Call, Service
from me5.service.wire.dialects import Dialect, refuse

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def speaking(dialect: Dialect) -> type[APIRoute]:
    """The class of a dialect's routes."""

    class DialectRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            route = super().get_route_handler()
            reads_body = self.body_field is not None

            async def handle(request: Request) -> Response:
                service: Service = request.app.state.service
                try:
                    request.state.call = Call(service, request)
                    if reads_body:
                        request = await _received(request)
                    return await route(request)
                except RequestValidationError as error:
                    return refuse(dialect, _field_error(error), request.state.record)
                except asyncio.CancelledError:  # only by a server whose time to end is over
                    ended = Unhealthy("the service ended before the request was finished", 5.0)
                    return refuse(dialect, ended, request.state.record)
                except Exception as error:
                    return refuse(dialect, error, request.state.record)

            return handle

    return DialectRoute


class _ReceivedRequest(Request):
    """A request whose body was read and parsed."""

    def __init__(self, request: Request, raw: bytes, content: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._raw = raw
        self._content = content

    async def body(self) -> bytes:
        """See `Request.body`."""
        return self._raw

    async def json(self) -> Any:
        """See `Request.json`."""
        return self._content


async def _received(request: Request) -> Request:
    """Read and parse a request's body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise WrongMediaType(
            f"the body's type is {media_type or 'not told'}, expected JSON: send the header "
            "`Content-Type: application/json`"
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise WrongMediaType(f"the body is compressed ({shown(encoding)}), which is not read here: send it plain")
    body = await _body(request)
    if not body:
        raise Malformed("the body is empty: send a JSON object")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise Malformed(f"the body should be a JSON object, got {shown(content)}")
    return _ReceivedRequest(request, body, content)


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
    path = [str(part) for part in first["loc"] if part != "body"]
    name = ".".join(path)
    if first["type"] == "missing":
        message = f"`{name}` is missing"
    else:
        message = f"`{name}`: {first['msg'][0].lower()}{first['msg'][1:]}, got {shown(first.get('input'))}"
    if others:
        message += f" (and {len(others)} more)"
    return FieldError(message, path[0] if path else None)
