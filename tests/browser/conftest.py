"""A real server of the bundled model and a headless Chromium that may talk to nothing else."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pagetab import Tab, watched

CHROMIUM = os.environ.get("ME5_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@contextlib.contextmanager
def served(*flags: str) -> Iterator[str]:
    """The address of a served bundled model, such as http://127.0.0.1:49152/, with further flags."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "me5", "serve", "--port", str(port), "--threads", "1", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url + "health").status_code == 200:
                    break
            if process.poll() is not None:
                pytest.fail(f"me5 serve ended with {process.returncode}: {process.stdout.read().decode()}")
            time.sleep(0.1)
        else:
            pytest.fail("me5 serve was not ready after 30 seconds")
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def serving() -> Any:
    """Start further services."""
    return served


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of a served bundled model."""
    if os.environ.get("ME5_BROWSER_URL"):
        yield os.environ["ME5_BROWSER_URL"]
        return
    with served() as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for the run."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("the page is tested in Chromium: install chromium, or name it in ME5_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def window(chromium: Any) -> Iterator[Any]:
    """The tab that the tests use one after another: opening one costs more than most tests."""
    context = chromium.new_context()
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def tab(window: Any, site: str) -> Iterator[Tab]:
    """The tab as if it were new; fails the test when the page complained, or asked anyone else for anything."""
    window.set_viewport_size({"width": 1280, "height": 720})
    window.emulate_media()
    with watched(window, site) as tab:
        yield tab
    window.unroute_all()
    window.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    window.goto("about:blank")
