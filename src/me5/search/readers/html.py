"""HTML: the text a reader of the page sees, without navigation, cut at its headings. Offsets count its characters."""

import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from me5.errors import InputError
from me5.search.documents import Document, Section

_UNSEEN = ["script", "style", "noscript", "template", "svg", "nav", "footer", "form", "iframe", "button"]
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "td",
        "th",
        "tr",
        "ul",
    ]
)
_HEADING = re.compile(r"h[1-6]")
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?([A-Za-z0-9_:.-]+)""", re.IGNORECASE)


def read(path: Path) -> Iterator[Document]:
    """The page as one document, with the language that it states."""
    tree = LexborHTMLParser(_decode(path.read_bytes()))
    if tree.body is None:
        raise InputError("holds no page")
    titled = tree.css_first("title")
    title = " ".join(titled.text().split()) if titled is not None else ""
    stated = tree.root.attributes.get("lang") if tree.root is not None else None
    tree.body.strip_tags(_UNSEEN)
    text, sections = _Walk(title).over(tree.body)
    yield Document(text, title, sections=sections, language=(stated or "").split("-")[0].lower())


def _decode(raw: bytes) -> str:
    """By byte order mark, else what the page states in its first 1,024 bytes (as browsers look), else UTF-8."""
    stated = _CHARSET.search(raw[:1024])
    encoding = (
        "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else stated[1].decode("ascii") if stated else "utf-8-sig"
    )
    try:
        return raw.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"cannot be decoded as {encoding}: {error}; state its charset, or convert it") from error


class _Walk:
    """Collects the text under a node, and where its headings stand."""

    def __init__(self, title: str) -> None:
        self._document = title
        self._parts: list[str] = []
        self._length = 0
        self._path: list[tuple[int, str]] = []
        self._start = 0
        self._sections: list[Section] = []

    def over(self, body: LexborNode) -> tuple[str, tuple[Section, ...]]:
        self._visit(body)
        self._close()
        return "".join(self._parts), tuple(self._sections)

    def _visit(self, root: LexborNode) -> None:
        # By hand and not by recursion: pages are nested deeper than Python's stack.
        stack: list[tuple[LexborNode, bool]] = [(root, True)]
        while stack:
            node, entering = stack.pop()
            if node.is_text_node:
                self._write(node.text_content or "")
                continue
            tag = node.tag or ""
            if tag in _BLOCKS:
                self._break()
            if not entering:
                continue
            if _HEADING.fullmatch(tag):
                self._head(int(tag[1]), " ".join(node.text().split()))
                continue
            stack.append((node, False))
            stack += [(child, True) for child in reversed(list(node.iter(include_text=True)))]

    def _head(self, level: int, title: str) -> None:
        self._close()
        self._path = [*(above for above in self._path if above[0] < level), (level, title)]
        self._write(title)
        self._break()
        self._start = self._length

    def _close(self) -> None:
        titles = [title for _, title in self._path if title and title != self._document]
        self._sections.append(Section(": ".join(titles), self._start, self._length))

    def _write(self, text: str) -> None:
        """White space is one space, and none at the start of a line."""
        words = re.sub(r"\s+", " ", text)
        if not self._parts or self._parts[-1].endswith(("\n", " ")):
            words = words.removeprefix(" ")
        if words:
            self._parts.append(words)
            self._length += len(words)

    def _break(self) -> None:
        if self._parts and not self._parts[-1].endswith("\n"):
            self._parts.append("\n")
            self._length += 1
