"""Our npm package in a real browser, from a page of another origin than the service's."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from truth import TEXTS, assert_same, expected

PACKAGE = Path(__file__).parents[2] / "clients" / "node"
CHROMIUM = os.environ.get("ME5_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PROGRAM = """
async ([url, key, texts]) => {
  const { Me5Client, similarity } = await import("/index.js");
  const warnings = [];
  const client = new Me5Client({ baseUrl: url, apiKey: key, retries: 0, warn: (message) => warnings.push(message) });
  const vectors = await client.encodeQuery(texts);
  await client.encodeDocument("long ".repeat(600));
  const refused = new Me5Client({ baseUrl: url, apiKey: "wrong" }).encodeQuery("a");
  const nowhere = new Me5Client({ baseUrl: "http://127.0.0.1:1", retries: 0 }).encodeQuery("a");
  const failure = (promise) => promise.then(() => "none", (error) => error.message);
  return {
    vectors: vectors.map((one) => Array.from(one)),
    self: similarity(vectors, vectors)[0][0],
    warnings,
    refused: await failure(refused),
    nowhere: await failure(nowhere),
  };
}
"""


@pytest.fixture
def origin():
    """Where our package lies, as any web server would have it."""
    handler = partial(SimpleHTTPRequestHandler, directory=PACKAGE)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{files.server_address[1]}"
        files.shutdown()


@pytest.fixture
def page(origin):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install it, or name it in ME5_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(origin)
        yield page
        browser.close()


def test_it_runs_in_a_browser(page, origin, launch):
    server = launch("--cors-origins", origin, keys="sk-of-the-page")
    told = page.evaluate(PROGRAM, [server.url, server.key, TEXTS])
    assert_same(told["vectors"], expected("query"))
    assert told["self"] == pytest.approx(1)
    assert "cut: 1 of 1" in told["warnings"][0]
    assert "Pass apiKey" in told["refused"]
    assert "its --cors-origins" in told["nowhere"]
