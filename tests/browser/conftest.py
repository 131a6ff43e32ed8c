"""A real server of the bundled model and a headless Chromium that may talk to nothing else."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from pagetab import Tab, watched
from served import CHROMIUM, launch, served


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of a served bundled model, such as http://127.0.0.1:49152/."""
    if url := os.environ.get("ME5_BROWSER_URL"):
        yield url
    else:
        with served() as url:
            yield url


@pytest.fixture(scope="session")
def serving() -> Any:
    """Start further services."""
    return served


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for the run."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("the page is tested in Chromium: install chromium, or name it in ME5_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def window(chromium: Any) -> Iterator[Any]:
    """The tab that the tests use one after another: opening one costs more than most tests."""
    context = chromium.new_context()
    context.set_default_timeout(60_000)
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
