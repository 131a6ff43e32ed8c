"""The try-it page before services of other kinds: with a key, with small limits, without tasks, without prompts."""

import pytest
from pagetab import new_tab
from served import served
from test_page_code import compare, run, run_python, shown

KEY = "open-sesame"
QUERIES, DOCUMENTS = ["how tall is K2?"], ["K2 rises to 8,611 metres.", "Bake for an hour."]


@pytest.fixture(scope="module")
def guarded():
    """A model with fixed prompts, behind a key, that takes small requests only."""
    with served("--prompts", "prefix", "--max-body-bytes", "8000", keys=KEY) as url:
        yield url


@pytest.fixture
def entered(chromium, guarded):
    """A tab in which the key was given."""
    with new_tab(chromium, guarded) as tab:
        tab.open().page.get_by_label("API key").fill(KEY)
        tab.page.keyboard.press("Enter")
        tab.page.locator("#heat td.best").first.wait_for()
        yield tab.scored()


def test_the_key_is_asked_for_and_can_be_forgotten(chromium, guarded):
    with new_tab(chromium, guarded) as tab:
        field = tab.open().page.get_by_label("API key")
        assert field.is_visible()
        assert tab.page.locator("#answer").is_hidden()
        field.fill("not the key")
        tab.page.keyboard.press("Enter")
        tab.page.get_by_text("did not accept").wait_for()
        field.fill(KEY)
        tab.page.get_by_role("button", name="Use it").click()
        tab.page.locator("#heat td.best").first.wait_for()
        assert field.is_hidden()
        assert tab.page.evaluate("() => [Object.values(sessionStorage), Object.values(localStorage)]") == [[KEY], []]
        assert KEY not in tab.page.url
        tab.page.get_by_role("button", name="Forget it").click()
        tab.scored()
        assert field.is_visible()
        assert tab.page.evaluate("() => sessionStorage.length") == 0


def test_fixed_prompts_leave_no_task_to_choose(entered):
    tab = entered
    assert tab.page.locator("#task").is_hidden()
    tab.example("Match translations")
    assert tab.page.locator("#problem").is_hidden(), "the example's task is nothing for this model"
    reading = tab.texts("#tokens .reading")
    assert reading[0].startswith("query: ")
    assert reading[-1].startswith("passage: ")
    assert tab.page.locator("#legend .if-prompt").is_visible()


def test_programs_read_the_key_from_the_environment(entered):
    entered.write(QUERIES, DOCUMENTS)
    programs = {name: entered.program(name) for name in ("Python", "Python, openai", "Node.js", "curl")}
    assert [name for name, program in programs.items() if KEY in program] == []
    scores = [score for row in shown(entered, len(DOCUMENTS)) for score in row]
    compare(scores, run_python(programs["Python"], ME5_API_KEY=KEY))
    compare(scores, run(["node", "--input-type=module", "-"], programs["Node.js"], ME5_API_KEY=KEY))
    for name in ("Python, openai", "curl"):
        assert "ME5_API_KEY" in programs[name]


def test_too_much_is_refused_kindly(entered):
    tab = entered.write(["a query"], ["long " * 2000])
    told = tab.page.locator("#problem-text").text_content()
    assert "more than the server takes at once" in told
    assert "8,000" in told
    tab.page.locator("#documents textarea").fill("short")
    tab.go()
    assert tab.page.locator("#problem").is_hidden()


def test_too_many_texts_are_refused_kindly(tab):
    many = "() => { const box = document.querySelector('#documents textarea'); box.value = ''; box.focus(); }"
    tab.open().page.evaluate(many)
    tab.paste("\n".join(f"text {number}" for number in range(300)))
    told = tab.page.locator("#problem-text").text_content()
    assert "at most 256" in told
    assert "`" not in told, "the names of fields are for programs"
    assert tab.page.locator("#documents textarea").count() > 300, "nothing is lost"


def test_a_model_without_prompts(chromium):
    with served("--prompts", "none") as url, new_tab(chromium, url) as tab:
        tab.open().write(QUERIES, DOCUMENTS)
        assert tab.page.locator("#task").is_hidden()
        assert tab.texts("#tokens .reading") == QUERIES + DOCUMENTS
        assert tab.page.locator("#legend .if-prompt").is_hidden()
        assert tab.page.locator("#heat td.best .score").count() == 1
