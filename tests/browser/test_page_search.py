"""The page that searches, in headless Chromium: results as you type, filters, marks of other languages."""

import os
import re

import httpx
import pytest
from pagetab import SETTLED, watched


@pytest.fixture
def tab(window, searched):
    window.set_viewport_size({"width": 1100, "height": 900})
    with watched(window, searched) as tab:
        window.goto(searched + "search")
        window.wait_for_function(SETTLED)
        yield tab
    window.goto("about:blank")


def answer(site, **body):
    return httpx.post(site + "v1/search", json=body).raise_for_status().json()["hits"]


def test_results_come_as_you_type(tab):
    page = tab.page
    assert "3 passages · me5-small" in page.locator("#model").text_content()
    assert tab.texts(".hit") == []
    page.locator("#question").press_sequentially("what is bread made of?", delay=5)
    tab.scored()
    hits = answer(tab.site, query="what is bread made of?")
    assert tab.texts(".hit p") == [hit["text"] for hit in hits]
    assert tab.texts(".hit .place") == [hit["place"] for hit in hits]
    assert tab.texts(".hit .score") == [f"{hit['score']:.3f}" for hit in hits]
    # Characters are counted as the server counts them, joined emoji too; markup stays text.
    assert tab.texts(".hit mark") == [hit["text"][slice(*hit["best"])] for hit in hits]
    assert "Bread & <b>butter</b>" in "".join(tab.texts(".hit h3")) or "Bread & butter" in "".join(tab.texts(".hit h3"))
    assert page.locator("#status").text_content().startswith("3 passages in ")
    # One question for many keys.
    assert sum(url.endswith("v1/search") for url in tab.requests) < 12
    if folder := os.environ.get("ME5_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/search.png")


def test_answers_in_other_languages_are_marked(tab):
    tab.page.locator("#question").fill("where is the highest mountain?")
    tab.scored()
    marked = {text.split(",")[0] for text in tab.texts(".tongue.other")}
    assert marked == {"German", "Japanese"}
    assert "English" in tab.texts(".tongue:not(.other)")


def test_filters_by_language_and_source(tab):
    page = tab.page
    page.locator("#question").fill("mountain")
    tab.scored()
    assert page.locator(".hit").count() == 3
    page.locator("[data-code=de]").click()
    tab.scored()
    assert page.locator("[data-code=de]").get_attribute("aria-pressed") == "true"
    assert [re.sub(".*docs/", "", place) for place in tab.texts(".hit .place")] == ["berg.txt"]
    page.locator("[data-code=ja]").click()
    page.locator("#source").fill("fuji")
    tab.scored()
    assert [re.sub(".*docs/", "", place) for place in tab.texts(".hit .place")] == ["ja/fuji.txt"]
    page.locator("#source").fill("'; drop")
    tab.scored()
    assert page.locator("#status").text_content().startswith("Nothing found")


def test_the_question_is_kept_in_the_address(tab):
    page = tab.page
    page.locator("#question").fill("富士山")
    page.locator("#by").select_option("words")
    tab.scored()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function(SETTLED)
    assert page.locator("#question").input_value() == "富士山"
    assert page.locator("#by").input_value() == "words"
    assert "富士山" in tab.texts(".hit p")[0]


def test_a_server_that_is_gone_is_told_and_asked_again(tab):
    page = tab.page
    page.route("**/v1/search", lambda route: route.abort())
    page.locator("#question").fill("bread")
    tab.scored()
    assert "does not answer" in page.locator("#problem-text").text_content()
    page.unroute("**/v1/search")
    page.locator("#retry").click()
    page.wait_for_selector(".hit")
    assert page.locator("#problem").is_hidden()


def test_the_pages_lead_to_each_other(tab):
    page = tab.page
    page.get_by_role("link", name="Try the model").click()
    page.wait_for_selector("#answer:not([hidden])")
    page.wait_for_function(SETTLED)
    page.get_by_role("link", name="Search documents").click()
    page.wait_for_selector("#question")
    page.wait_for_function(SETTLED)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_small_screen(tab, theme):
    page = tab.page
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 360, "height": 700})
    page.locator("#question").fill("what is bread made of?")
    tab.scored()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if folder := os.environ.get("ME5_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/search-{theme}.png")
