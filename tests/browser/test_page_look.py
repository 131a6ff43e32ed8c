"""That every page has its look: its links lead somewhere, its colours and type are those of look.css on any screen."""

import json
import re
from importlib import resources

import httpx
import pytest
from pagetab import SETTLED, watched
from test_page_access import CONTRASTS, DANGLING, NAMELESS, WIDER_THAN_SCREEN

FILES = {
    entry.name: entry.read_text("utf-8") for entry in resources.files("me5.service.page").iterdir() if entry.is_file()
}
PAGES = {"": "index.html", "search": "search.html"}
# What look.css gives the ground and the ink of a page.
COLOURS = {"light": ("rgb(250, 249, 246)", "rgb(28, 30, 31)"), "dark": ("rgb(19, 21, 23)", "rgb(233, 231, 226)")}
SANS, SERIF = "system-ui", "ui-serif"
HIT = {
    "score": 0.5, "source": "notes.txt", "title": "A title", "text": "One. Two.", "start": 0, "end": 9, "at": None,
    "language": "en", "kind": "text", "metadata": {}, "id": "1", "best": [0, 4], "place": "notes.txt", "also": [],
}  # fmt: skip


def linked(name: str) -> set[str]:
    """The files of the page that a page links."""
    return set(re.findall(r'(?:href|src)="page/([^"]+)"', FILES[name]))


@pytest.mark.parametrize("page", PAGES.values())
def test_a_page_links_every_style_and_script_that_it_needs(page):
    styles = [FILES[name] for name in linked(page) if name.endswith(".css")]
    used = {name for style in styles for name in re.findall(r"var\((--[\w-]+)", style)}
    # --share, --columns are set by scripts.
    defined = {name for style in styles for name in re.findall(r"(--[\w-]+):", style)} | {"--share", "--columns"}
    assert used - defined == set()
    scripts, waiting = set(), {name for name in linked(page) if name.endswith(".js")}
    while waiting:
        scripts |= waiting
        waiting = {name for one in waiting for name in re.findall(r'from "\./([^"]+)"', FILES[one])} - scripts
    assert scripts <= linked(page), "scripts that are fetched one after another"


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(path, searched):
    page = httpx.get(searched + path).raise_for_status()
    links = [link for link in re.findall(r'(?:href|src)="([^"]+)"', page.text) if not link.startswith(("#", "data:"))]
    assert "page/look.css" in links
    for link in links:
        assert httpx.get(page.url.join(link)).status_code == 200, link
    ids = set(re.findall(r'id="([^"]+)"', page.text))
    assert set(re.findall(r'href="#([^"]+)"', page.text)) <= ids


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=[1100, 390])
def opened(request, scheme, window, searched):
    window.set_viewport_size({"width": request.param, "height": 800})
    window.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    with watched(window, searched) as tab:
        yield tab
    window.goto("about:blank")


# Labels of the filters whose control stands below them and not beside them.
APART = """[...document.querySelectorAll(".filters label:not([hidden])")].filter((label) =>
    label.offsetHeight > 1.5 * Math.max(16, label.querySelector("input, select").offsetHeight)
).map((label) => label.textContent)"""


def style(tab, selector, name):
    return tab.page.locator(selector).first.evaluate(f"node => getComputedStyle(node).{name}")


def visit(tab, path):
    tab.page.goto(tab.site + path)
    tab.page.wait_for_function(SETTLED)


def test_colours_and_type_are_those_of_the_look(opened, scheme):
    for path in PAGES:
        visit(opened, path)
        assert (style(opened, "body", "backgroundColor"), style(opened, "body", "color")) == COLOURS[scheme], path
        assert style(opened, "body", "fontFamily").startswith(SANS)
        assert style(opened, "h1", "fontFamily").startswith(SERIF)
        assert style(opened, "a.quiet", "textDecorationLine") == "none"
        for control in ("input[type=text], textarea", ".chip"):
            assert float(style(opened, control, "borderTopLeftRadius").removesuffix("px")) > 5, (path, control)
        assert style(opened, ".skip", "position") == "absolute"
        assert opened.page.evaluate(WIDER_THAN_SCREEN) <= 0
        assert opened.page.evaluate(NAMELESS) == []
        assert opened.page.evaluate(DANGLING) == []
        assert opened.page.evaluate(APART) == []


def test_hits_can_be_read_and_keep_within_their_frame(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    visit(opened, "search")
    opened.page.locator("#question").fill("how high is the mountain?")
    opened.page.locator("[data-code=de]").click()
    opened.page.locator("[data-code=ja]").click()
    opened.scored()
    assert opened.page.locator(".hit").count() == 2
    assert style(opened, ".hit h3", "fontFamily").startswith(SERIF)
    assert style(opened, ".hit", "backgroundColor") != COLOURS[scheme][0]
    assert style(opened, ".chip[aria-pressed=true]", "backgroundColor") != style(
        opened, ".chip[aria-pressed=false]", "backgroundColor"
    )
    assert [entry for entry in opened.page.evaluate(CONTRASTS) if entry[0] < 4.5] == []
    found = axe.run(opened.page).response["violations"]
    assert [(one["id"], [node["html"][:100] for node in one["nodes"]]) for one in found] == []


@pytest.fixture
def answered(window, searched):
    """Show hits that a service could answer with."""
    window.set_viewport_size({"width": 360, "height": 700})
    with watched(window, searched) as tab:

        def show(*hits):
            body = json.dumps({"hits": hits, "language": "en", "passages": 3, "total_ms": 1.0})

            def answer(route):
                asked = route.request.method == "POST"
                route.fulfill(body=body, content_type="application/json") if asked else route.continue_()

            window.route("**/v1/search", answer)
            visit(tab, "search#q=anything")
            return tab

        yield show
    window.unroute_all()
    window.goto("about:blank")


@pytest.mark.parametrize(
    ("source", "href"),
    [
        ("https://example.org/a?b=1&c=2#d", "https://example.org/a?b=1&c=2#d"),
        ("HTTP://example.org/ü x", "http://example.org/%C3%BC%20x"),
        ('https://example.org/"><img src=x onerror=alert(1)>', "https://example.org/%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E"),
        ("javascript:alert(1)", None),
        (" javascript:alert(1)//https://", None),
        ("java\nscript:alert(1)", None),
        ("data:text/html,<script>alert(1)</script>", None),
        ("file:///etc/passwd", None),
        ("//example.org/x", None),
        ("https://", None),
        ("/home/ann/notes.txt", None),
        ("notes/https://example.org", None),
    ],
)  # fmt: skip
def test_sources_on_the_web_are_links_and_nothing_else_is(answered, source, href):
    copy = {"source": source, "place": f"{source}, line 3"}
    tab = answered({**HIT, "source": source, "place": source, "also": [copy]})
    links = tab.page.locator(".hit h3 a, .also a").evaluate_all("all => all.map((one) => one.href)")
    assert links == ([href, href] if href else [])
    assert tab.texts(".hit .place") == [source]
    assert tab.texts(".hit .also") == [f"Also in {source}, line 3"]
    assert tab.page.locator(".hit img").count() == 0


def test_copies_are_named_and_long_names_keep_within_the_screen(answered):
    long = "/a-long-path" * 40
    copies = [{"source": f"{number}.txt", "place": f"{number}.txt"} for number in range(5)]
    tab = answered({**HIT, "title": "", "source": long, "place": long, "text": "x" * 900, "also": copies})
    assert tab.texts(".hit h3") == ["a-long-path"]
    assert tab.texts(".hit .also") == ["Also in 0.txt; 1.txt; 2.txt and 2 more places"]
    assert tab.page.evaluate(WIDER_THAN_SCREEN) <= 0


def test_one_passage_per_document_is_asked_for_and_kept_in_the_address(answered):
    tab = answered(HIT)
    with tab.page.expect_request("**/v1/search") as asked:
        tab.page.get_by_label("one passage per document").check()
    assert asked.value.post_data_json["group"] == "document"
    tab.scored()
    assert "group=document" in tab.page.url
    tab.page.reload()
    tab.page.wait_for_function(SETTLED)
    assert tab.page.get_by_label("one passage per document").is_checked()


def test_nothing_found_tells_which_languages_there_are(answered):
    tab = answered()
    told = tab.page.locator("#status").text_content()
    assert told == "Nothing found in 1 ms. There are passages in German (1), English (1), Japanese (1)."
    tab.page.goto("about:blank")
    visit(tab, "search#q=anything&in=fi")
    assert (
        "Nothing fits the languages that you chose. There are passages in" in tab.page.locator("#status").text_content()
    )
    # What was chosen can be given up, though nothing is in that language.
    tab.page.get_by_role("button", name="Finnish 0").click()
    tab.scored()
    assert "in=" not in tab.page.url
