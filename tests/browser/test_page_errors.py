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


def test_a_request_for_the_key_does_not_interrupt_typing(tab):
    tab.open()
    error = {"message": "this service needs a key", "type": "invalid_request_error", "code": "invalid_api_key"}
    tab.page.route("**/v1/score", lambda route: route.fulfill(status=401, body=json.dumps({"error": error})))
    tab.page.locator("#queries textarea").first.press_sequentially("x")
    tab.scored()
    assert tab.page.get_by_label("API key").is_visible()
    assert tab.page.evaluate("() => document.activeElement.tagName") == "TEXTAREA"


def test_a_late_answer_never_replaces_a_newer_one(tab):
    tab.open()
    held = []
    tab.page.route("**/v1/score", lambda route: held.append(route), times=1)
    with tab.page.expect_event("requestfailed") as dropped:
        with tab.page.expect_request("**/v1/score"):
            tab.page.locator("#queries textarea").first.fill("an older question")
        tab.page.locator("#queries textarea").first.fill(TEXT)
    assert "an older question" in dropped.value.post_data
    tab.go()
    assert tab.texts("#tokens .reading")[0].endswith(TEXT)
    assert len(held) == 1


def test_a_problem_stays_in_sight(tab):
    tab.open()
    answer(tab, 500, {"message": "a bug"})
    tab.page.evaluate("() => scrollTo(0, 900)")
    tab.page.keyboard.press("Control+Enter")
    tab.scored()
    box = tab.page.locator("#problem").bounding_box()
    assert 0 <= box["y"] < 720
