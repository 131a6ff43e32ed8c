"""HTML: the text a reader of the page sees, without navigation, cut at its headings. Offsets count its characters."""

import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from me5.errors import InputError
from me5.search.documents import Document, NoTextError
from me5.search.readers import charset
from me5.search.readers.outline import Outline
from me5.search.readers.plain import load

_UNSEEN = frozenset({"script", "style", "template", "svg", "iframe", "head"})
_AROUND = frozenset({"nav", "footer"})
_BLOCKS = frozenset(
    """
    address article aside blockquote body br button caption center dd details dialog dir div dl dt fieldset figcaption
    figure footer form header hgroup hr label legend li main menu nav noscript ol optgroup option p pre search section
    select summary table tbody textarea tfoot thead tr ul
    """.split()  # noqa: SIM905 - as a list it would be 50 lines
)
_CELLS = frozenset({"td", "th"})
_AS_WRITTEN = frozenset({"pre", "textarea"})
_HEADING = re.compile(r"h[1-6]")
_SPACE = re.compile(r"\s+")
# Links to a heading from itself.
_ANCHORS = frozenset("¶ # § 🔗 ⚓".split())  # noqa: SIM905
# What stands in <noscript> beside a page that is there without scripts.
_LONGEST_REQUEST = 300


def read(path: Path) -> Iterator[Document]:
    """The page as one document, with the language that it states."""
    yield page(charset.decode(load(path)))


def page(source: str, title: str = "", lead: str = "") -> Document:
    """A page as a document, called `title` rather than as it calls itself, with `lead` before its own text."""
    tree = LexborHTMLParser(source)
    if tree.body is None:
        raise InputError("holds no page")
    titled = tree.css_first("head > title")
    title = title or (" ".join(titled.text().split()) if titled is not None else "")
    language = (tree.root.attributes.get("lang") if tree.root is not None else None) or ""
    document = _Walk(Outline(title, lead), _UNSEEN | _AROUND).over(tree.body).document(language=language)
    if not document.text.strip():  # a page that is all navigation, such as a table of contents
        document = _Walk(Outline(title, lead), _UNSEEN).over(tree.body).document(language=language)
    if not document.text.strip() and tree.css_first("script") is not None:
        raise NoTextError("holds no text: its scripts make it when a browser shows it; save the page from a browser")
    return document


class _Walk:
    """Writes what stands under a node into an outline."""

    def __init__(self, outline: Outline, unseen: frozenset[str]) -> None:
        self._outline = outline
        self._unseen = unseen
        self._as_written = 0
        self._heading: list[str] | None = None

    def over(self, body: LexborNode) -> Outline:
        # By hand and not by recursion: pages are nested deeper than Python's stack.
        stack: list[tuple[LexborNode, bool]] = [(body, True)]
        while stack:
            node, entering = stack.pop()
            if node.is_text_node:
                self._text(node)
                continue
            tag = node.tag or ""
            if entering and (tag in self._unseen or (tag == "noscript" and _asks_for_scripts(node))):
                continue
            self._element(tag, entering=entering)
            if entering:
                stack.append((node, False))
                stack += [(child, True) for child in reversed(list(node.iter(include_text=True)))]
        return self._outline

    def _element(self, tag: str, *, entering: bool) -> None:
        if tag in _AS_WRITTEN:
            self._as_written += 1 if entering else -1
        if _HEADING.fullmatch(tag):
            if entering and self._heading is None:
                self._heading = []
            elif not entering and self._heading is not None:
                self._outline.heading(int(tag[1]), "".join(self._heading))
                self._heading = None
        elif tag in _BLOCKS:
            self._end_line()
        elif tag in _CELLS and entering and self._heading is None:
            self._outline.cell()

    def _end_line(self) -> None:
        if self._heading is None:
            self._outline.end_line()
        else:
            self._heading.append(" ")

    def _text(self, node: LexborNode) -> None:
        """Outside of <pre> white space is one space, and none at the start of a line."""
        text = node.text_content or ""
        if self._heading is not None:
            parent = node.parent
            if not (text.strip() in _ANCHORS and parent is not None and parent.tag == "a"):
                self._heading.append(text)
        elif self._as_written:
            self._outline.write(text)
        else:
            words = _SPACE.sub(" ", text)
            self._outline.write(words.removeprefix(" ") if self._outline.after_space else words)


def _asks_for_scripts(noscript: LexborNode) -> bool:
    text = noscript.text()
    return len(text) < _LONGEST_REQUEST and "javascript" in text.lower()
