"""The try-it page for everyone: names, landmarks, contrast in both themes, narrow screens; measured, not assumed."""

import itertools

import httpx
import pytest
from pagetab import EXAMPLES

# Every visible text with its colour and the colour behind it, as a canvas paints them.
CONTRASTS = """() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const painted = (colours) => {
        context.clearRect(0, 0, 1, 1);
        for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (rgb) => {
        const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = rgb.slice(0, 3).map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || node.closest("script, noscript, svg, .unseen, .skip, option")) continue;
        if (!node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        const grounds = [];
        for (let at = node; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
        const ground = painted(["white", ...grounds]);
        const ink = painted(["white", ...grounds, getComputedStyle(node).color]);
        const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
        found.push([(light + 0.05) / (dark + 0.05), walker.currentNode.data.trim().slice(0, 30), node.className]);
    }
    return found.sort((a, b) => a[0] - b[0]);
}"""
SHADES = """() => {
    const row = document.querySelector("#heat tbody tr");
    const cell = row.querySelector("td");
    for (let shade = 0; shade <= 8; shade++) {
        const one = cell.cloneNode(true);
        one.className = `shade-${shade}`;
        row.append(one);
    }
}"""
NAMELESS = """() => {
    const controls = "button, input, select, textarea, a, [role=tab], [role=region], [role=group], svg[role=img]";
    const label = (node) => document.getElementById(node.getAttribute("aria-labelledby"))?.textContent;
    const inner = (node) => node.matches("button, a") && node.textContent;
    const named = (node) => node.getAttribute("aria-label") || node.labels?.length || label(node) || inner(node);
    return [...document.querySelectorAll(controls)]
        .filter((node) => node.checkVisibility() && !named(node))
        .map((node) => node.outerHTML.slice(0, 120));
}"""
DANGLING = """() => ["aria-labelledby", "aria-describedby", "aria-controls", "for"]
    .flatMap((name) => [...document.querySelectorAll(`[${name}]`)].map((node) => node.getAttribute(name)))
    .flatMap((ids) => ids.split(" ")).filter((id) => !document.getElementById(id))"""
WIDER_THAN_SCREEN = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_every_text_can_be_read_in_both_themes_and_nothing_moves(tab):
    tab.page.emulate_media(reduced_motion="reduce")
    tab.open().example("Too long")
    moving = """() => [...document.querySelectorAll("*")].map((node) => getComputedStyle(node)).filter((style) =>
        parseFloat(style.transitionDuration) || style.animationName !== "none" || style.scrollBehavior === "smooth"
    ).length"""
    assert tab.page.evaluate(moving) == 0
    tab.page.evaluate(SHADES)
    cells = tab.page.locator("#heat td").evaluate_all("cells => cells.map((cell) => cell.classList[0])")
    assert {f"shade-{shade}" for shade in range(9)} <= set(cells)
    for theme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=theme)
        found = tab.page.evaluate(CONTRASTS)
        assert len(found) > 100
        assert [entry for entry in found if entry[0] < 4.5] == [], theme
    tab.example("Model card").page.get_by_label("pieces and ids").check()
    tab.page.route("**/v1/score", lambda route: route.fulfill(status=500, body="{}"))
    tab.page.get_by_role("button", name="Score", exact=True).click()
    tab.page.locator("#problem").wait_for()
    for theme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=theme)
        assert [entry for entry in tab.page.evaluate(CONTRASTS) if entry[0] < 4.5] == [], theme


def test_axe_finds_nothing(tab):
    """Deque's own rules: WCAG 2.2 A and AA, and best practices."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()

    def violations():
        found = axe.run(tab.page).response["violations"]
        return [(one["id"], [node["html"][:100] for node in one["nodes"]][:3]) for one in found]

    tab.page.emulate_media(reduced_motion="reduce")
    tab.open().example("Too long")
    tab.page.locator("#task").select_option(label="a sentence of my own…")
    tab.page.get_by_text("Waiting for the rest of the task").wait_for()
    assert violations() == []
    tab.example("עברית").page.get_by_label("pieces and ids").check()
    tab.scored()
    tab.page.set_viewport_size({"width": 390, "height": 800})
    tab.page.emulate_media(color_scheme="dark")
    tab.page.route("**/v1/score", lambda route: route.fulfill(status=429, headers={"retry-after": "60"}, body="{}"))
    # By a click, which waits until the page takes it: a key right after the change of size was once lost.
    tab.example("Search across languages").page.locator("#problem").wait_for()
    assert violations() == []
    tab.page.route("**/v1/tasks", lambda route: route.fulfill(status=401, body="{}"))
    tab.page.reload()
    tab.page.get_by_label("API key").wait_for()
    assert violations() == []


def test_nothing_moves_while_a_text_is_typed(tab):
    tab.open().example("Search across languages")
    parts = ["#queries", "#documents", "#heat", "#heat thead th >> nth=0", "#heat td >> nth=6", "#map", "#tokens"]
    before = [tab.page.locator(part).bounding_box() for part in parts]
    box = tab.page.locator("#queries textarea").first
    box.fill("contraseña nueva")
    tab.go()
    assert [tab.page.locator(part).bounding_box() for part in parts] == before


def test_every_control_has_a_name_and_every_reference_a_target(tab):
    tab.open()
    tab.page.locator("#task").select_option(label="a sentence of my own…")
    tab.scored()
    assert tab.page.evaluate(NAMELESS) == []
    assert tab.page.evaluate(DANGLING) == []
    ids = tab.page.evaluate("() => [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))


def test_landmarks_headings_table_and_live_regions(tab):
    tab.open()
    for landmark in ("banner", "main", "contentinfo"):
        assert tab.page.get_by_role(landmark).count() == 1
    levels = tab.page.evaluate(
        "() => [...document.querySelectorAll('h1, h2, h3, h4')].filter((node) => node.checkVisibility())"
        ".map((node) => Number(node.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert tab.page.locator("html").get_attribute("lang") == "en"
    status = tab.page.locator("#status")
    assert status.get_attribute("role") == "status"
    assert "Best: document 1 for query 1, document 2 for query 2." in status.text_content()
    assert tab.page.locator("#problem-text").get_attribute("role") == "alert"
    assert tab.page.get_by_role("columnheader").count() == 2
    assert tab.page.get_by_role("rowheader").count() == 2
    assert tab.page.locator("#heat caption").count() == 1
    cell = tab.page.get_by_role("cell").nth(1)
    assert "rank" in cell.text_content()


def test_texts_take_their_own_direction(tab):
    tab.open().example("עברית")
    direction = "node => getComputedStyle(node).direction"
    for selector in (
        "#queries textarea",
        "#documents textarea",
        "#heat th .clip",
        "#ranking .clip",
        "#tokens .reading >> nth=4",
    ):
        assert tab.page.locator(selector).first.evaluate(direction) == "rtl", selector
    assert tab.page.locator("#snippet").evaluate(direction) == "ltr"


def test_nothing_is_wider_than_a_narrow_screen(tab):
    tab.open()
    for name in EXAMPLES:
        tab.example(name)
        for width in (320, 360, 390, 768):
            tab.page.set_viewport_size({"width": width, "height": 740})
            assert tab.page.evaluate(WIDER_THAN_SCREEN) <= 0, (name, width)
    tab.page.set_viewport_size({"width": 320, "height": 740})
    tab.write(["x" * 300], ["y" * 300, "z"])
    tab.page.get_by_label("pieces and ids").check()
    assert tab.page.evaluate(WIDER_THAN_SCREEN) <= 0


def test_focus_can_be_seen(tab):
    tab.open()
    for _ in range(25):
        tab.page.keyboard.press("Tab")
        style = tab.page.evaluate(
            "() => { const style = getComputedStyle(document.activeElement);"
            " return [style.outlineStyle, parseFloat(style.outlineWidth)]; }"
        )
        assert style[0] != "none"
        assert style[1] >= 2


def test_a_kept_connection_serves_the_page_any_number_of_times(site):
    """Browsers keep a connection for minutes: the limit on a request's head is not one on all heads together."""
    with httpx.Client(base_url=site, headers={"x-filler": "x" * 8000}) as client:
        assert [client.get("page/look.css").status_code for _ in range(20)] == [200] * 20


def test_the_files_are_typed_cached_and_fenced_in(site):
    index = httpx.get(site)
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    policy = index.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    names = ["page/" + name for name in ("look.css", "page.js", "theme.js", "rows.js")]
    types = [httpx.get(site + name).headers["content-type"] for name in names]
    assert types == ["text/css; charset=utf-8"] + ["text/javascript; charset=utf-8"] * 3
    for name in ("", *names):
        etag = httpx.get(site + name).headers["etag"]
        again = httpx.get(site + name, headers={"if-none-match": f'"other", W/{etag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert httpx.head(site).status_code == 200
    for name in ("page/nothing.js", "page/routes.py", "page/__init__.py", "page/..%2Froutes.py"):
        assert httpx.get(site + name).status_code == 404
