"""The page of `me5 eval report` in Chromium: it asks for nothing, fits a telephone, and reads right to left."""

import pytest
from pagetab import new_tab

from me5.evaluation.encoders.base import Prompt
from me5.evaluation.report import as_html
from me5.evaluation.results import Result
from me5.evaluation.task import Outcome, Subset

HEBREW = "הספרייה נפתחת בתשע ונסגרת בשש (09:00)."
LONG = "x" * 300


def retrieved(model: str, name: str, languages: str, score: float) -> Result:
    failure = {
        "asked": HEBREW,
        "found": [{"text": f"<b>{LONG}</b>", "score": 0.5, "rank": 1}],
        "wanted": [{"text": "The library opens at nine.", "score": 0.4, "rank": 3}],
    }
    histogram = {"start": 0.3, "width": 0.01, "right": [1, 4, 2], "wrong": [3, 1, 0]}
    figures = {f"{kind}_at_{k}": score / k for kind in ("recall", "precision") for k in (1, 3, 5, 10, 20, 100, 1000)}
    outcome = Outcome(
        {"ndcg_at_10": score, **figures}, "ndcg_at_10", {"q": score},
        shown={"histogram": histogram, "failures": [failure]},
    )  # fmt: skip
    prompts = (Prompt("query", "find", "Instruct: find\nQuery: "),)
    return Result(Subset("MIRACL", name, (languages,)), "Retrieval", model, outcome, prompts, 1.0, "f" * 32, (0.4, 0.7))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The address of a page of two models and three languages."""
    rows = [
        retrieved(model, name, languages, score)
        for model, score in (("a-model-with-quite-a-long-name (bf16)", 0.6), ("BM25", 0.5))
        for name, languages in (("sw", "swa-Latn"), ("ar", "ara-Arab"), ("zh", "zho-Hans"))
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(as_html(rows, "Three languages"), "utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_asks_for_nothing(chromium, report, width, scheme):
    with new_tab(chromium, report, viewport={"width": width, "height": 800}, color_scheme=scheme) as tab:
        tab.page.goto(report)
        tab.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert tab.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert tab.requests == [report]
        # Letters stand out from their background, in plots too.
        paper, ink = (
            tab.page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).slice(0, 3).map(Number)")
            for name in ("backgroundColor", "color")
        )
        assert abs(sum(paper) - sum(ink)) > 450
        assert (sum(paper) > sum(ink)) == (scheme == "light")
        dots = tab.page.locator("svg.track circle.dot")
        boxes = [dots.nth(at).bounding_box() for at in range(dots.count())]
        assert boxes
        assert all(box and box["width"] > 5 and 0 <= box["x"] < width for box in boxes)


def test_texts_have_their_own_direction_and_stay_text(chromium, report):
    with new_tab(chromium, report) as tab:
        tab.page.goto(report)
        summary = tab.page.locator("summary").first
        summary.focus()
        tab.page.keyboard.press("Enter")
        asked = tab.page.locator("details[open] .asked .text").first
        assert asked.text_content() == HEBREW
        assert asked.evaluate("one => getComputedStyle(one).direction") == "rtl"
        found = tab.page.locator("details[open] dd .text").nth(1)
        assert found.evaluate("one => getComputedStyle(one).direction") == "ltr"
        assert found.text_content() == f"<b>{LONG}</b>"
        assert tab.page.locator("b").count() == 0


def test_published_figures_and_links(chromium, report):
    with new_tab(chromium, report) as tab:
        tab.page.goto(report)
        assert tab.page.locator("svg.track circle.hollow").count() == 5 * 4  # five models; three languages and a mean
        tab.page.get_by_role("link", name="MIRACL").first.click()
        assert tab.page.evaluate("location.hash") == "#task-MIRACL"
