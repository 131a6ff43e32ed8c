"""POST /mcp: the tools of `me5 mcp` over streamable HTTP, by the SDK of the Model Context Protocol.

A request is one message, and its reply one JSON object: there are no sessions, and no streams that stay open. The key,
the limits of bodies and the turns of searches are those of every route.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Response
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Message, Scope

from me5.search.agents import server_of
from me5.search.hits import Hit
from me5.search.searching import Question
from me5.service.wire.call import Call, CurrentCall
from me5.service.wire.dialects import OPENAI
from me5.service.wire.routing import speaking

if TYPE_CHECKING:
    from me5.search.store import Store

Ask = Callable[[Call, Question], Awaitable[list[Hit]]]
_CALL: ContextVar[Call] = ContextVar("call")


class Agents:
    """The route, and the server behind it, which runs within `running`.

    `ask` answers a question on a caller's behalf; `languages` has the numbers of passages.
    """

    def __init__(self, ask: Ask, languages: Mapping[str, int]) -> None:
        self.router = APIRouter(route_class=speaking(OPENAI))
        # A message is no REST, and has a description of its own.
        self.router.add_api_route("/mcp", self._answer, methods=["POST"], include_in_schema=False)
        server = server_of(_Served(ask), languages)
        # Hosts and origins are checked by the layers around.
        checks = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        server.streamable_http_app(json_response=True, stateless_http=True, transport_security=checks)
        self._manager = server.session_manager

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While this lasts messages are answered; once only."""
        async with self._manager.run():
            yield

    async def _answer(self, body: dict[str, Any], call: CurrentCall) -> Response:
        """The reply to a message; the tools that it calls ask on this caller's behalf."""
        _CALL.set(call)
        (response,) = await call.while_wanted(self._handled(call.request.scope, orjson.dumps(body)))
        return response

    async def _handled(self, scope: Scope, body: bytes) -> Response:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        response = Response()
        headers = [
            *(one for one in scope["headers"] if one[0] != b"content-length"),
            (b"content-length", b"%d" % len(body)),
        ]

        async def receive() -> Message:
            if not messages:
                await asyncio.Event().wait()  # a caller who hangs up is noticed outside
            return messages.pop()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status_code, response.raw_headers = message["status"], list(message["headers"])
            else:
                response.body = bytes(response.body) + message.get("body", b"")

        await self._manager.handle_request({**scope, "headers": headers}, receive, send)
        response.headers["content-length"] = str(len(response.body))
        return response


class _Served:
    """The store of the service, for the caller at hand; see `Searched`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def find(self, question: Question) -> list[Hit]:
        return await self._ask(_CALL.get(), question)

    async def around(self, passage: str, before: int, after: int) -> list[Hit]:
        def work(store: "Store", _: float) -> list[Hit]:
            return [Hit.of(row, 0.0) for row in store.snapshot().around(passage, before, after)]

        return await _CALL.get().search(work)

    async def counts(self, *columns: str) -> list[dict[str, int]]:
        return await _CALL.get().search(lambda store, _: [store.counts(column) for column in columns])
