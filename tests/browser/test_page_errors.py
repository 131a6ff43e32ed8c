"""When the server refuses or is gone, the try-it page says so kindly and keeps every word."""

import json

TEXT = "a question that must not be lost"


def answer(tab, status, body, headers=None, times=None):
    """Let the server's next answers to /v1/score be these."""
    text = body if isinstance(body, str) else json.dumps({"error": {"type": "t", "param": None, "code": None, **body}})
    tab.page.route(
        "**/v1/score", lambda route: route.fulfill(status=status, body=text, headers=headers or {}), times=times
    )


def type_and_wait(tab):
    tab.page.locator("#queries textarea").first.fill(TEXT)
    tab.go()


REFUSALS = [
    (413, {"message": "the request has 3,000,000 bytes, at most 2,000,000 are taken"}, "more than the server takes"),
    (400, {"message": "text 3 has 900 tokens, the model reads 512; shorten it"}, "Text 3 has 900 tokens"),
    (500, {"message": "a bug"}, "not in your texts"),
    (502, "<html><h1>Bad gateway</h1></html>", "not ready"),
    (418, "", "status 418"),
    (200, "<html>a login page</html>", "does not answer"),
]


def test_a_refusal_is_told_and_can_be_repeated(tab):
    tab.open()
    for status, body, words in REFUSALS:
        answer(tab, status, body)
        type_and_wait(tab)
        told = tab.page.locator("#problem-text").text_content()
        assert words in told
        assert "<" not in told
        assert tab.page.locator("#queries textarea").first.input_value() == TEXT
        assert "outdated" in tab.page.locator("#answer").get_attribute("class")
        tab.page.unroute("**/v1/score")
        tab.page.get_by_role("button", name="Try again").click()
        tab.scored()
        assert tab.page.locator("#problem").is_hidden()
        assert tab.texts("#tokens .reading")[0].endswith(TEXT)


def test_too_busy_waits_as_long_as_the_server_asked(tab):
    tab.open()
    answer(tab, 429, {"message": "overloaded"}, {"retry-after": "1"}, times=1)
    tab.page.locator("#queries textarea").first.fill(TEXT)
    tab.page.get_by_text("Trying again in 1 second.").wait_for()
    tab.page.locator("#problem").wait_for(state="hidden")
    assert tab.texts("#tokens .reading")[0].endswith(TEXT)


def test_a_server_that_is_gone_and_comes_back(tab):
    tab.page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    tab.open()
    type_and_wait(tab)
    assert "Your texts are still here" in tab.page.locator("#problem-text").text_content()
    tab.page.unroute("**/v1/**")
    tab.page.get_by_role("button", name="Try again").click()
    tab.scored()
    assert tab.page.locator("#problem").is_hidden()
    assert tab.texts("#tokens .reading")[0].endswith(TEXT)
    assert tab.page.locator("#task option").count() > 5


def test_a_key_is_asked_for_sent_and_kept_in_this_tab_only(tab):
    def guard(route):
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            error = {"message": "this service needs a key", "type": "invalid_request_error", "code": "invalid_api_key"}
            route.fulfill(status=401, body=json.dumps({"error": error}))

    tab.page.route("**/v1/**", guard)
    tab.open()
    field = tab.page.get_by_label("API key")
    assert field.is_visible()
    tab.page.locator("#queries textarea").first.press_sequentially("x")
    tab.scored()
    assert tab.page.evaluate("() => document.activeElement.tagName") == "TEXTAREA", "typing is not interrupted"
    field.fill("wrong")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("did not accept").wait_for()
    field.fill("right")
    tab.page.get_by_role("button", name="Use it").click()
    tab.page.locator("#heat td.best").first.wait_for()
    assert field.is_hidden()
    assert tab.page.evaluate("() => [Object.values(sessionStorage), Object.values(localStorage)]") == [["right"], []]
    for name in ("Python, openai", "Node.js", "curl"):
        program = tab.program(name)
        assert "ME5_API_KEY" in program
        assert "right" not in program
    assert "right" not in tab.page.url


def test_a_late_answer_never_replaces_a_newer_one(tab):
    tab.open()
    held = []
    tab.page.route("**/v1/score", lambda route: held.append(route), times=1)
    tab.page.locator("#queries textarea").first.fill("an older question")
    while not held:
        tab.page.wait_for_timeout(50)
    tab.page.locator("#queries textarea").first.fill(TEXT)
    tab.go()
    held[0].continue_()
    tab.page.wait_for_timeout(200)
    assert tab.texts("#tokens .reading")[0].endswith(TEXT)
