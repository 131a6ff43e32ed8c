"""The try-it page in headless Chromium: what it shows is what the server answers."""

import pytest
from pagetab import EXAMPLES, NASTY, new_tab


def numbers(tab, selector):
    return [float(text) for text in tab.texts(selector)]


def test_scores_ranks_and_map_are_those_of_the_server(tab):
    tab.open()
    assert "2 queries × 2 documents in" in tab.page.locator("#status").text_content(), (
        "an example is there to start with"
    )
    assert "me5-small" in tab.page.locator("#model").text_content()
    for name in EXAMPLES:
        tab.example(name)
        reply = tab.ask(task={"Match translations": "bitext", "Same meaning?": "sts"}.get(name))
        expected = [score for row in reply["scores"] for score in row]
        assert numbers(tab, "#heat td .score") == pytest.approx(expected, abs=0.0051), name
        columns = len(reply["scores"][0])
        ranks = [int(text.rpartition("#")[2]) for text in tab.texts("#heat td small")]
        for index, order in enumerate(reply["ranking"]):
            row = ranks[index * columns : (index + 1) * columns]
            assert [row[at] for at in order] == list(range(1, columns + 1)), name
            listed = tab.texts(f"#ranking article:nth-child({index + 1}) li .badge")
            assert listed == [str(at + 1) for at in order[:5]], name
        assert tab.page.locator("#heat td.best").count() == len(reply["ranking"])
        assert tab.page.locator("#map .point").count() == len(reply["map"])


def test_the_text_that_the_model_reads_is_shown_character_for_character(tab):
    tab.open().write(["plain"], NASTY)
    reply = tab.ask()
    assert tab.texts("#tokens .reading") == [text["text"] for text in reply["texts"]]
    for number, text in enumerate(reply["texts"], 1):
        view = tab.page.locator(f"#tokens article:nth-of-type({number})")
        assert view.locator(".tok").count() == len(text["tokens"])
        assert view.locator(".tok.special").count() == sum(token["special"] for token in text["tokens"])
        assert view.locator(".tok.prompt").count() == sum(token["prompt"] for token in text["tokens"])
    # Token by token: what an element covers is what the server says the token covers.
    for number, text in enumerate(reply["texts"], 1):
        shown = tab.texts(f"#tokens article:nth-of-type({number}) .tok:not(.special):not(.none)")
        spans, at = [], 0
        for token in text["tokens"]:
            if not token["special"] and max(at, token["start"]) < token["end"]:
                spans.append(text["text"][max(at, token["start"]) : token["end"]])
                at = token["end"]
        assert shown == spans
    tab.page.get_by_label("pieces and ids").check()
    tokens = [token for text in reply["texts"] for token in text["tokens"]]
    assert tab.texts("#tokens .piece bdi") == [token["piece"] for token in tokens]
    assert tab.texts("#tokens .piece small") == [str(token["id"]) for token in tokens]


def test_markup_in_a_text_stays_text(tab):
    tab.open().write([NASTY[0]], [NASTY[0], "<script>alert(2)</script>"])
    tab.page.locator("#task").select_option(label="a sentence of my own…")
    tab.page.locator("#own").fill("<img src=x onerror=alert(3)> find it")
    tab.scored()
    for name in ("Python", "Python, openai", "Node.js", "curl"):
        tab.program(name)
    tab.page.get_by_label("pieces and ids").check()
    assert tab.page.locator("img").count() == 0
    assert tab.page.locator("main script").count() == 0
    assert NASTY[0] in tab.texts("#heat th .clip")


def test_the_task_changes_the_prompt(tab):
    tab.open()
    assert tab.texts("#tokens .reading")[0].startswith("Instruct: Given a web search query, retrieve relevant")
    tab.page.locator("#task").select_option("bitext")
    tab.scored()
    assert (
        tab.texts("#tokens .reading")[0]
        == "Instruct: Retrieve parallel sentences.\nQuery: " + tab.page.locator("#queries textarea").first.input_value()
    )
    assert tab.page.locator("#sentence").text_content() == "Retrieve parallel sentences."
    tab.page.locator("#task").select_option(label="a sentence of my own…")
    tab.page.locator("#own").fill("Given a dish, find its recipe")
    tab.scored()
    assert tab.texts("#tokens .reading")[0].startswith("Instruct: Given a dish, find its recipe\nQuery: ")
    assert numbers(tab, "#heat td .score") == pytest.approx(
        [score for row in tab.ask(task="Given a dish, find its recipe")["scores"] for score in row], abs=0.0051
    )


def test_a_task_that_is_no_task_is_told_where_it_was_written(tab):
    tab.open()
    tab.page.locator("#task").select_option(label="a sentence of my own…")
    tab.page.locator("#own").type("bitxt")
    tab.scored()
    assert tab.page.locator("#task-error").is_hidden(), "one word may be the start of a sentence"
    tab.page.keyboard.press("Enter")
    tab.scored()
    assert "bitext" in tab.page.locator("#task-error").text_content()
    assert tab.page.locator("#own").get_attribute("aria-invalid") == "true"
    tab.page.locator("#own").type(" pairs of sentences")
    tab.scored()
    assert tab.page.locator("#task-error").is_hidden()
    assert tab.texts("#tokens .reading")[0].startswith("Instruct: bitxt pairs of sentences\n")


def test_what_is_cut_is_counted_and_struck_out(tab):
    tab.open().example("Too long")
    reply = tab.ask()
    lost = reply["usage"]["tokens_lost"]
    assert lost > 50
    assert f"{lost} tokens were not read" in tab.page.locator("#cut").text_content()
    assert tab.page.locator("#tokens s.lost").count() == lost
    first = tab.page.locator("#tokens s.lost").first
    assert first.evaluate("node => getComputedStyle(node).textDecorationLine") == "line-through"
    assert first.is_visible()
    box = tab.page.locator("#tokens .reading").filter(has=tab.page.locator("s.lost")).bounding_box()
    line = first.bounding_box()
    assert box["y"] < line["y"] < box["y"] + box["height"], "the view opens where the text was cut"

    tab.page.locator("#truncation").select_option("start")
    tab.scored()
    assert tab.page.locator("#tokens s.lost").count() == tab.ask(truncation="start")["usage"]["tokens_lost"]
    assert "Day1:" in "".join(tab.texts("#tokens s.lost")).replace(" ", "")
    tab.page.locator("#truncation").select_option("chunk")
    tab.scored()
    assert tab.page.locator("#cut").is_hidden()
    assert tab.page.locator("#tokens s.lost").count() == 0
    tab.page.locator("#truncation").select_option("error")
    tab.scored()
    assert "shorten it" in tab.page.locator("#problem-text").text_content()


def test_colours_follow_the_system_until_chosen(chromium, site):
    with new_tab(chromium, site, color_scheme="dark") as tab:
        tab.open()
        ground = "() => getComputedStyle(document.body).backgroundColor"
        dark = tab.page.evaluate(ground)
        button = tab.page.get_by_role("button", name="Colours")
        button.click()
        light = tab.page.evaluate(ground)
        assert light != dark
        tab.page.reload()
        assert tab.page.evaluate(ground) == light
        button.click()
        assert tab.page.evaluate(ground) == dark


def test_the_address_carries_the_texts(tab, chromium, site):
    tab.open().example("Same meaning?")
    tab.write(["naïve ☕ مرحبا"], ["one\ntwo", 'a "quoted" text'])
    tab.page.locator("#truncation").select_option("chunk")
    tab.scored()
    scores = tab.texts("#heat td .score")
    with new_tab(chromium, site) as other:
        other.open(tab.page.url.removeprefix(site))
        assert other.page.locator("#documents textarea").first.input_value() == "one\ntwo"
        assert other.page.locator("#task").input_value() == "sts"
        assert other.page.locator("#truncation").input_value() == "chunk"
        assert other.texts("#heat td .score") == scores


def test_a_broken_link_is_no_trouble(tab):
    for fragment in ["#eyJxIjpbIm", "#%00%ff", "#bnVsbA", "#W10"]:
        tab.page.goto("about:blank")
        tab.open(fragment)
        assert "example" in tab.page.locator("#toast").text_content()
        assert tab.page.locator("#heat td.best").count() == 2


def test_the_same_page_behind_a_path_prefix(chromium, site):
    prefixed = "http://prefixed.test/deep/er/"

    def forward(route):
        route.fulfill(response=route.fetch(url=route.request.url.replace(prefixed, site)))

    with new_tab(chromium, prefixed) as tab:
        tab.page.route("**/*", forward)
        tab.open()
        assert tab.page.locator("#heat td.best").count() == 2
        assert f'"{prefixed}v1"' in tab.program("Python, openai")
