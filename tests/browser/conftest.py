"""A real server of the bundled model and a headless Chromium that may talk to nothing else."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from pagetab import Tab, watched
from served import CHROMIUM, launch, served

from me5 import Embedder
from me5.search import Index

DOCUMENTS = {
    "bread.md": "# Bread & <b>butter</b>\n\nBread needs flour, water, salt, yeast. Bake it. 👩‍👩‍👧‍👦 like it.\n",
    "berg.txt": "Die Zugspitze ist der höchste Berg Deutschlands. Sie ist 2.962 Meter hoch.\n",
    "ja/fuji.txt": "富士山は標高3,776メートルで、日本の最高峰である。冬は雪が多い。\n",
}


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
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that searches three documents."""
    folder = tmp_path_factory.mktemp("search")
    for name, text in DOCUMENTS.items():
        path = folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    index = Index.open(folder / "my.lance", Embedder.load(), create=True)
    index.add([folder / "docs"])
    index.finish()
    with served("--search", index.store.uri) as url:
        yield url


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
