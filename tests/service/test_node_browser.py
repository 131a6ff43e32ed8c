"""Our npm package in a real browser, from a page of another origin than the service's."""

import os
import shutil
from pathlib import Path

import pytest
from truth import TEXTS, assert_same, expected

PACKAGE = Path(__file__).parents[2] / "clients" / "node"
CHROMIUM = os.environ.get("ME5_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ORIGIN = "http://127.0.0.1:9"  # nothing listens there: the files are handed to the browser
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
def page():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install it, or name it in ME5_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route(f"{ORIGIN}/", lambda route: route.fulfill(content_type="text/html", body="<title>a page</title>"))
        page.route(f"{ORIGIN}/index.js", lambda route: route.fulfill(path=PACKAGE / "index.js"))
        page.goto(ORIGIN)
        yield page
        browser.close()


def test_it_runs_in_a_browser(page, launch):
    server = launch("--cors-origins", ORIGIN, keys="sk-of-the-page")
    told = page.evaluate(PROGRAM, [server.url, server.key, TEXTS])
    assert_same(told["vectors"], expected("query"))
    assert told["self"] == pytest.approx(1)
    assert "cut: 1 of 1" in told["warnings"][0]
    assert "Pass apiKey" in told["refused"]
    assert "its --cors-origins" in told["nowhere"]
