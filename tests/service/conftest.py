"""Live `me5 serve`s of the bundled model, in processes of their own.

`server` asks for no key, `locked_server` for its own, `narrow_server` has little room. They live as long as the test
run. `launch` starts further ones with other options, which end with the module that asked for them.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import engines
import httpx
import pytest
from truth import LIMITED

KEY = "sk-test-of-the-service"
START_SECONDS = 180
STOP_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """A running service. `key` is accepted by it; without one set, any is."""

    url: str
    key: str
    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        """Everything that it has written so far."""
        return self.log_file.read_text("utf-8", "replace")

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client with the address and the key."""
        headers = {"authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)


Launch = Callable[..., Server]


def start(log_file: Path, *flags: str, keys: str = "") -> Server:
    """Start a service on a free port, and wait until it is ready."""
    command = [sys.executable, "-m", "me5", "serve", "--port", "0", "--threads", "1", *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ME5_")}
    if keys:
        environment["ME5_KEYS"] = keys
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    server = Server("", keys.partition(",")[0] or "any", process, log_file)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"{' '.join(command)} ended with {process.returncode}:\n{server.log()}")
        if found := re.search(r"https?://[\d.]+:[1-9]\d*", server.log()):
            url = found[0]
            try:
                if httpx.get(f"{url}/health", verify=False).status_code == 200:
                    return Server(url, server.key, process, log_file)
            except httpx.TransportError:
                pass
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"{' '.join(command)} was not ready after {START_SECONDS} s:\n{server.log()}")


def stop(server: Server) -> None:
    """End a service; one that does not drain in time is killed."""
    server.process.terminate()
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait(STOP_SECONDS)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file without which the engines of `engines` run nothing: `gate.touch()` lets them."""
    monkeypatch.setenv(engines.GATE, str(tmp_path / "gate"))
    return tmp_path / "gate"


@contextmanager
def launching(folders: pytest.TempPathFactory) -> Iterator[Launch]:
    """What starts services that end with the block."""
    with ExitStack() as running:

        def started(*flags: str, keys: str = "") -> Server:
            server = start(folders.mktemp("serve") / "log", *flags, keys=keys)
            running.callback(stop, server)
            return server

        yield started


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Start a service: `launch("--no-page", keys="name-of-a-key")`. It ends with the module at the latest."""
    with launching(tmp_path_factory) as started:
        yield started


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Start a service for the whole run."""
    with launching(tmp_path_factory) as started:
        yield started


@pytest.fixture(scope="session")
def server(shared: Launch) -> Server:
    """A service of the bundled model that anyone may call."""
    return shared()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """An HTTP client of that service."""
    with server.client() as made:
        yield made


@pytest.fixture(scope="session")
def locked_server(shared: Launch) -> Server:
    """A service of the bundled model that asks for its key."""
    return shared(keys=KEY)


@pytest.fixture(scope="session")
def narrow_server(shared: Launch) -> Server:
    """A service in which few tokens may wait, with keys of little allowance; it answers for models of any name."""
    limited = (f"{key}:{sha256(key.encode()).hexdigest()}:900" for key in LIMITED)
    flags = ("--max-queue-tokens", "2000", "--max-request-tokens", "2000", "--no-strict-model")
    return shared(*flags, keys=",".join([KEY, *limited]))
