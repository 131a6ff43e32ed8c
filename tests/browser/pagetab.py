"""The try-it page in a tab of a browser, with the moves that the tests make, and the texts that they try."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

EXAMPLES = ["Model card", "Search across languages", "Match translations", "עברית", "Same meaning?", "Too long to read"]
# Each in its own way a trap: markup, quoting of four languages, surrogate pairs, joined emoji, combining marks, letters
# that a tokenizer's normalizer takes apart, mixed directions, bidirectional controls, line breaks.
NASTY = [
    "<img src=x onerror=alert(1)> <b>bold</b> &amp; {{7*7}} ${HOME} `id` $(id)",
    "quotes ' \" ''' \"\"\" \\ \\n %s {0} ! # @file",
    "𝄞 👩‍👩‍👧‍👦 🇩🇪 e\u0301 ﬁ ㍍ ½",
    "مرحبا (hello) שלום 123 \u202eabc\u202c\u200b",
    "first line\n\n\tsecond line  with  spaces \n",
]

# What Chromium itself writes to the console: when a reply is an error, and where a page comes over plain HTTP.
OWN_WORDS = ("Failed to load resource", "The Cross-Origin-Opener-Policy header has been ignored")
PASTE = """(text) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(event);
}"""
# Nothing is awaited any more: neither a pause after typing nor an answer.
SETTLED = "() => document.getElementById('results').getAttribute('aria-busy') === 'false'"


@dataclass
class Tab:
    """The page in a tab, what it asked for, and what it complained about."""

    page: Any
    site: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, fragment: str = "") -> "Tab":
        """Load the page, and wait until its texts are scored."""
        self.page.goto(self.site + fragment)
        return self.scored()

    def scored(self) -> "Tab":
        """Wait until the results answer what is in the boxes."""
        self.page.wait_for_function(SETTLED)
        return self

    def go(self) -> "Tab":
        """Ask at once, by key, instead of a moment after the last change."""
        self.page.keyboard.press("Control+Enter")
        return self.scored()

    def example(self, name: str) -> "Tab":
        """Click an example."""
        self.page.locator("#examples button", has_text=name).click()
        return self.scored()

    def write(self, queries: list[str], documents: list[str]) -> "Tab":
        """Put texts into the boxes, as many as there are."""
        for name, texts in (("queries", queries), ("documents", documents)):
            boxes = self.page.locator(f"#{name} textarea")
            while boxes.count() < len(texts):
                self.page.locator(f"[data-add={name}]").click()
            while boxes.count() > len(texts):
                self.page.locator(f"#{name} .remove").last.click()
            for index, text in enumerate(texts):
                boxes.nth(index).fill(text)
        return self.go()

    def paste(self, text: str) -> "Tab":
        """Paste into the box that has the focus."""
        self.page.evaluate(PASTE, text)
        return self.scored()

    def texts(self, selector: str) -> list[str]:
        """What elements show, each element's text."""
        return self.page.locator(selector).all_text_contents()

    def ask(self, **more: Any) -> dict[str, Any]:
        """What the server itself answers to the texts in the boxes."""
        texts = {
            name: [text for box in self.page.locator(f"#{name} textarea").all() if (text := box.input_value()).strip()]
            for name in ("queries", "documents")
        }
        reply = httpx.post(self.site + "v1/score", json={**texts, "details": True, **more})
        reply.raise_for_status()
        return reply.json()

    def program(self, name: str) -> str:
        """The code under a tab."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        return self.page.locator("#snippet").text_content()


@contextlib.contextmanager
def watched(page: Any, site: str) -> Iterator[Tab]:
    """The page in an open tab; fails when it complained, or asked anyone but `site` for anything."""
    tab = Tab(page, site)
    listeners = {
        "request": lambda request: tab.requests.append(request.url),
        "pageerror": lambda error: tab.complaints.append(str(error)),
        "dialog": lambda dialog: (tab.complaints.append(dialog.message), dialog.dismiss()),
        "console": lambda message: message.type in ("error", "warning") and tab.complaints.append(message.text),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    try:
        yield tab
        assert [text for text in tab.complaints if not text.startswith(OWN_WORDS)] == []
        assert [url for url in tab.requests if not url.startswith((site, "data:"))] == []
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)


@contextlib.contextmanager
def new_tab(chromium: Any, site: str, **options: Any) -> Iterator[Tab]:
    """A tab of a context of its own, which knows nothing of others: `permissions` and what else Playwright takes."""
    context = chromium.new_context(**options)
    context.set_default_timeout(60_000)
    try:
        with watched(context.new_page(), site) as tab:
            yield tab
    finally:
        context.close()
