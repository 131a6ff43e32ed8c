"""Writing on the try-it page: rows, pasting, the keyboard alone, and nothing that is ever lost."""

from pagetab import new_tab


def values(tab, name):
    return [box.input_value() for box in tab.page.locator(f"#{name} textarea").all()]


def paste(tab, box, text):
    box.focus()
    tab.paste(text)


def test_enter_adds_a_text_and_shift_enter_a_line(tab):
    tab.open()
    box = tab.page.locator("#documents textarea").last
    box.fill("")
    box.type("one")
    tab.page.keyboard.press("Shift+Enter")
    tab.page.keyboard.type("two")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.type("three")
    tab.scored()
    assert values(tab, "documents")[1:] == ["one\ntwo", "three"]
    assert tab.texts("#tokens .reading")[3:] == ["one\ntwo", "three"]
    assert tab.page.locator("#heat thead th").count() == 3


def test_pasted_lines_become_texts_or_one_text(tab):
    tab.open().write(["a query"], [""])
    box = tab.page.locator("#documents textarea").first
    paste(tab, box, "eins\r\n\r\nzwei\ndrei\n")
    assert values(tab, "documents") == ["eins", "zwei", "drei"]
    assert tab.page.locator("#heat thead th").count() == 3
    tab.page.get_by_role("button", name="Keep as one text").click()
    tab.scored()
    assert values(tab, "documents") == ["eins\n\nzwei\ndrei\n"]
    assert tab.page.locator("#heat thead th").count() == 1


def test_a_removed_text_comes_back(tab):
    tab.open()
    before = values(tab, "documents")
    tab.page.get_by_role("button", name="Remove document 1").click()
    tab.scored()
    assert values(tab, "documents") == before[1:]
    tab.page.get_by_role("button", name="Undo").click()
    tab.scored()
    assert values(tab, "documents") == before


def test_an_example_does_not_cost_the_texts(tab):
    tab.open().write(["my own question"], ["my own text"])
    tab.example("Match translations")
    assert len(values(tab, "queries")) == 4
    tab.page.get_by_role("button", name="Back to my texts").click()
    tab.page.wait_for_function("() => document.querySelectorAll('#queries textarea').length === 1")
    tab.scored()
    assert values(tab, "queries") == ["my own question"]
    assert tab.page.locator("#task").input_value() == "web-search"


def test_texts_too_long_for_a_link_are_kept_all_the_same(tab):
    long = "one" + " " * 40_000 + "two"
    tab.open().write(["my own question"], [long])
    assert "#" not in tab.page.url
    tab.page.get_by_role("button", name="Copy link").click()
    tab.page.get_by_text("too long for a link").wait_for()
    tab.example("Match translations")
    tab.page.go_back()
    tab.page.wait_for_function("() => document.querySelectorAll('#queries textarea').length === 1")
    assert values(tab, "documents") == [long]
    tab.page.reload()
    tab.scored()
    assert values(tab, "documents") == [long]


def test_blank_rows_are_not_sent_and_have_no_number(tab):
    tab.open().write(["one", " ", "two"], ["a text"])
    assert tab.texts("#queries .badge") == ["1", "", "2"]
    assert tab.page.locator("#heat tbody tr").count() == 2
    tab.write([""], ["a text"])
    assert tab.page.locator("#status").text_content() == "Add a query to see scores."
    tab.write([" "], ["\n"])
    assert tab.page.locator("#status").text_content() == "Add a query and a document to see scores."


def test_half_typed_characters_are_not_scored(tab):
    tab.open()
    box = tab.page.locator("#queries textarea").first
    asked = len(tab.requests)
    box.evaluate("""box => {
        box.value = "nihon";
        box.dispatchEvent(new InputEvent("input", { bubbles: true, isComposing: true }));
        box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, isComposing: true }));
    }""")
    # From a change on, the results count as busy: they are not.
    assert tab.page.locator("#results").get_attribute("aria-busy") == "false"
    assert len(tab.requests) == asked
    assert tab.page.locator("#queries textarea").count() == 2
    box.evaluate("""box => {
        box.value = "日本";
        box.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
    }""")
    tab.scored()
    assert tab.texts("#tokens .reading")[0].endswith("日本")


def focused(tab):
    return tab.page.evaluate(
        "() => { const node = document.activeElement; "
        "return node.getAttribute('aria-label') || node.labels?.[0]?.textContent || node.textContent; }"
    )


def press_until(tab, name, key="Tab"):
    for _ in range(80):
        tab.page.keyboard.press(key)
        if name in focused(tab):
            return
    raise AssertionError(f"{name} cannot be reached with {key}")


def test_everything_by_keyboard_alone(tab):
    tab.open()
    press_until(tab, "Skip to the results")
    press_until(tab, "Same meaning?")
    tab.page.keyboard.press("Enter")
    tab.scored()
    press_until(tab, "Query 2")
    tab.page.keyboard.press("End")
    tab.page.keyboard.type(" or so")
    tab.page.keyboard.press("Control+Enter")
    tab.scored()
    assert values(tab, "queries")[1].endswith("or so")
    tab.page.keyboard.press("Enter")
    assert focused(tab) == "New query"
    tab.page.keyboard.press("ArrowUp")
    assert focused(tab) == "Query 2"
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Backspace")
    assert focused(tab) == "Query 2"
    press_until(tab, "What the queries are for")
    tab.page.keyboard.type("bit")
    tab.scored()
    assert tab.page.locator("#task").input_value() == "bitext"
    press_until(tab, "pieces and ids")
    tab.page.keyboard.press("Space")
    assert tab.page.locator("#tokens .piece").count() > 20
    press_until(tab, "Python")
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("End")
    assert focused(tab) == "curl"
    assert tab.page.locator("#snippet").text_content().startswith("curl ")
    tab.page.keyboard.press("ArrowRight")
    assert focused(tab) == "Python"
    # One tab stop for all tabs.
    tab.page.keyboard.press("Tab")
    assert focused(tab) == "Copy"


def test_copying_puts_the_program_on_the_clipboard(chromium, site):
    with new_tab(chromium, site, permissions=["clipboard-read", "clipboard-write"]) as tab:
        tab.open()
        program = tab.program("curl")
        tab.page.get_by_role("button", name="Copy", exact=True).click()
        tab.page.get_by_text("Copied.").wait_for()
        assert tab.page.evaluate("() => navigator.clipboard.readText()") == program
        tab.page.get_by_role("button", name="Copy link").click()
        tab.page.get_by_text("Link copied.").wait_for()
        assert tab.page.evaluate("() => navigator.clipboard.readText()") == tab.page.url
