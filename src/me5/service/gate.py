"""What every request passes between the connection and its route: room, a name that is ours, a plain path, its body.

Probes pass always: /health and /ping say nothing worth hiding, and /metrics needs room for nobody's texts.

`Gate` is an ASGI layer inside `Recording`, so what it refuses is counted and logged as every other request.
"""

import asyncio
import ipaddress
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from me5.service.errors import Overloaded, ServingError, SlowClient, TooLarge, Unhealthy, WrongHost, shown
from me5.service.record import RequestRecord
from me5.service.settings import ServiceSettings
from me5.service.wire.dialects import OPENAI, refuse

PROBES = frozenset({"/health", "/ping", "/metrics"})
# Which of them a page of another name may read.
_SAY_NOTHING = frozenset({"/health", "/ping"})
_SLASHES = re.compile("//+")
# The share of all bodies' bytes that one caller may have in memory.
_SHARE = 0.5


class Gate:
    """The layer. `local`: only this machine's own names are answered, for a web page may have its name point here."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, *, local: bool = False) -> None:
        self._app = app
        self._settings = settings
        self._hosts = {name.lower() for name in settings.allowed_hosts}
        self._local = local and "*" not in self._hosts
        self._bodies: Counter[str] = Counter()  # bytes in memory by caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _keep_peer(scope)
        scope["path"] = _SLASHES.sub("/", scope["path"])  # of a base URL that ends with a slash
        if refusal := self._refusal(scope):
            response = refuse(OPENAI, refusal, scope["state"]["record"])
            response.headers["connection"] = "close"
            await response(scope, receive, send)
            return
        body = _Body(self._bodies, self._settings, scope, receive)
        # Who asks with HEAD gets GET's head: the server leaves the body out.
        routed = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(routed, body.receive, send)
        finally:
            body.free()
            scope["route"] = routed.get("route")

    def _refusal(self, scope: Scope) -> ServingError | None:
        path, state = scope["path"], scope["state"]
        if (crowded := state.get("crowded")) and path not in PROBES:
            return Unhealthy(crowded)
        if self._local and path not in _SAY_NOTHING:
            for host in Headers(scope=scope).getlist("host"):
                if not self._is_ours(name := _name(host)):
                    return WrongHost(
                        f"this service is for its own machine, and {shown(name)} is not a name of it: use localhost, "
                        "or have the operator allow it with --allowed-hosts"
                    )
        return None

    def _is_ours(self, name: str) -> bool:
        # A page's own name can be made to point here, but has a dot: a top-level domain has no address.
        if name in self._hosts or name.endswith(".localhost") or not re.search("[.:]", name):
            return True
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False


class _Body:
    """A request's body on its way: within the limits of bytes and time, and counted while the request lives."""

    def __init__(self, counts: Counter[str], settings: ServiceSettings, scope: Scope, receive: Receive) -> None:
        self._counts = counts
        self._settings = settings
        self._scope = scope
        self._receive = receive
        self._caller = ""
        self._bytes = 0
        self._over = False
        self._deadline = 0.0

    async def receive(self) -> Message:
        """The next part. Raises `SlowClient`, `TooLarge` or `Overloaded`."""
        if self._over:
            return await self._receive()
        if not self._deadline:
            self._begin()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise SlowClient(
                f"the request did not arrive within {self._settings.receive_timeout:g} seconds: {self._bytes:,} bytes "
                "of its body came"
            ) from error
        self._count(len(message.get("body", b"")))
        self._over = not message.get("more_body", False)
        return message

    def free(self) -> None:
        """The request is over."""
        self._counts[self._caller] -= self._bytes
        if not self._counts[self._caller]:
            del self._counts[self._caller]

    def _begin(self) -> None:
        record: RequestRecord = self._scope["state"]["record"]
        self._caller = record.caller
        spent = self._scope["state"].get("head_seconds", 0.0)
        self._deadline = asyncio.get_running_loop().time() + self._settings.receive_timeout - spent
        declared = Headers(scope=self._scope).get("content-length", "")
        if declared.isdecimal():
            self._check(int(declared) if len(declared) < 19 else 10**19)

    def _count(self, size: int) -> None:
        self._bytes += size
        self._counts[self._caller] += size
        self._check(0)

    def _check(self, more: int) -> None:
        """Whether the bytes that came, and `more` that are announced, are within the limits."""
        if self._bytes + more > self._settings.max_body_bytes:
            raise TooLarge(f"the body has more than {self._settings.max_body_bytes:,} bytes: send the texts in parts")
        most, own = self._settings.max_receiving_bytes, self._counts[self._caller] + more
        if self._counts.total() + more > most or own > most * _SHARE:
            raise Overloaded(
                f"the bodies of {'your' if own > most * _SHARE else 'all'} requests take as much memory as they may: "
                "come back later, or send fewer at a time"
            )


def _name(host: str) -> str:
    """The name of a `Host` header, without its port."""
    name, colon, port = host.strip().lower().rpartition(":")
    return (name if colon and (port.isdecimal() or not port) else host.strip().lower()).removesuffix(".")


def _keep_peer(scope: Scope) -> None:
    """Know the caller by the connection's address where a proxy forwarded something that is not an address."""
    state: Mapping[str, Any] = scope["state"]
    client = scope.get("client")
    if client and (peer := state.get("peer")) and client[0] != peer:
        try:
            ipaddress.ip_address(client[0])
        except ValueError:
            scope["client"] = (peer, client[1])
