"""The service as a process: listen, load, answer until a signal asks to end, then drain.

The port is taken first, so that a port in use is reported before a model has loaded, but nothing connects until it has.
"""

import asyncio
import errno
import ipaddress
import logging
import math
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI

from me5.errors import InputError
from me5.service import logs, memory
from me5.service.app import create_app
from me5.service.auth import Keys, read_keys
from me5.service.connection import Room, patient
from me5.service.pipeline import Pipeline
from me5.service.settings import ServiceSettings

# Connections that the system holds for us between two turns of the event loop.
BACKLOG = 1024
# Files that the service opens beside its connections: the model's, a store's, the worker's.
OTHER_FILES = 256
# Seconds in which requests that did not finish in time get an error.
LAST_WORDS = 1.0

log = logging.getLogger(__name__)


def run(settings: ServiceSettings, announce: Callable[[str, Pipeline], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs; `announce` is called with the URL when it answers.

    A second signal ends it without waiting. SIGHUP reads the key file again. Raises as `Pipeline`, and `InputError` for
    an address, a certificate or keys that cannot be used.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there are keys to read again
    memory.give_back()
    logs.configure(settings.log_format, settings.log_level)
    _allow_files(settings.max_connections + OTHER_FILES)
    if settings.tls_cert and settings.tls_key:
        _check_certificate(settings.tls_cert, settings.tls_key)
    with bound(settings.host, settings.port) as listener:
        loopback = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback
        app = create_app(settings, loopback=loopback)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, app, listener, announce))


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that has its address but does not listen yet."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(f"--host {host!r} is not an address that is known here: {error}") from error
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise InputError(_why_not(host, port, error)) from error
        yield listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port, or a free one with --port 0"
    if error.errno == errno.EACCES:
        return f"port {port} is for the system's own services; choose one from 1024 on with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine; 127.0.0.1 is for this machine only, 0.0.0.0 for all"
    return f"cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}"


def _allow_files(number: int) -> None:
    """Let this process open so many files, or as many as the system's hard limit lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (-1, resource.RLIM_INFINITY) or soft >= number:
        return
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < number:
        log.warning(
            "this process may open %d files, and --max-connections needs %d: lower it, or raise the limit (ulimit -n)",
            most, number,
        )  # fmt: skip


def reload_keys(keys: Keys, settings: ServiceSettings) -> None:
    """Read the key file again; one that cannot be used changes nothing."""
    if settings.keys_file is None:
        log.warning("SIGHUP: there is no key file to read again; other settings hold until a restart")
        return
    try:
        keys.become(read_keys(settings.keys_file, settings.keys, settings.key_tokens_per_minute))
    except InputError as error:
        log.error("SIGHUP: the keys stay as they were: %s", error)
    else:
        log.info("SIGHUP: %s was read again; %d keys are known", settings.keys_file, len(keys))


def _check_certificate(certificate: Path, key: Path) -> None:
    for flag, path in (("--tls-cert", certificate), ("--tls-key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise InputError(f"{flag} {path} cannot be read: {error.strerror}") from error
    try:
        # With a password of its own, a key that is encrypted fails here instead of asking on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        raise InputError(
            f"{certificate} and {key} are not a certificate and its private key, both PEM and without a password: "
            f"{error.reason or error}"
        ) from error


async def _serve(
    settings: ServiceSettings, app: FastAPI, listener: socket.socket, announce: Callable[[str, Pipeline], None]
) -> None:
    server = _Server(_config(settings, app), lambda: announce(url(settings, listener), app.state.service.pipeline))
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    ended_by: list[int] = []

    def end(number: int) -> None:
        ended_by.append(number)
        if server.started:
            server.force_exit = server.should_exit
            server.should_exit = True
        elif task:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGHUP, reload_keys, app.state.service.keys, settings)
    try:
        # Here and not in uvicorn, which would show an error of the model as a traceback.
        async with app.router.lifespan_context(app):
            await server.serve([listener])
    except asyncio.CancelledError:
        raise SystemExit(128 + ended_by[0] if ended_by else 1) from None


class _Server(uvicorn.Server):
    """uvicorn's server, which reports when it answers. Signals are handled around it, also while the model loads."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        tasks = set(self.server_state.tasks)  # that were cancelled for lack of time
        for task in tasks:
            if self.force_exit:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(settings: ServiceSettings, app: FastAPI) -> uvicorn.Config:
    room = Room(settings.max_connections, settings.max_address_connections, settings.proxies)
    return uvicorn.Config(
        app,
        http=patient(settings.receive_timeout, room),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        # uvicorn believes the loopback addresses by itself.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=math.ceil(settings.keep_alive),
        timeout_graceful_shutdown=math.ceil(settings.drain),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def url(settings: ServiceSettings, listener: socket.socket) -> str:
    """Where the service answers, from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
