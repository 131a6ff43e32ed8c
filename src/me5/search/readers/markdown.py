"""Markdown: the text that its page would show, cut at its headings. Offsets count characters of that text.

Its markup is turned into HTML and read as such, so that entities, escapes, links and HTML within it are read in one
place. What sites write beyond CommonMark is taken out before: see `directives`.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from me5.search.documents import Document
from me5.search.readers import directives, html
from me5.search.readers.plain import decode, load
from me5.search.readers.tables import plain

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LONGEST_FRONT_MATTER = 1 << 16
# Lists and quotes within each other; the parser leaves out what is deeper, at 20 by default.
_DEEPEST = 100
_KEY = re.compile(r"[\w.-]+[ \t]*:(?:[ \t]|$)")
# Keys of front matter that tell a site's builder what to do; the values of all others are searched.
_TECHNICAL = frozenset(
    """
    title lang language layout permalink slug url weight draft hide template toc icon status date updated lastmod
    sidebar sidebar_position sidebar_label id render_macros render_with_liquid jupyter kernelspec output format engine
    published order nav_order parent has_children hide_title hide_table_of_contents search comments theme class image
    """.split()  # noqa: SIM905
)
_DUNDERS = frozenset(
    """
    init main name file all call new del str repr len iter next enter exit getattr setattr getitem setitem contains eq
    hash dict slots doc version import class module path cached post_init aenter aexit future pycache debug
    """.split()  # noqa: SIM905
)
_TAG = re.compile(r"<(?P<close>/?)(?P<name>[A-Za-z][\w.-]{0,60})(?P<rest>(?:\s[^<>]{0,2000})?/?)>")
# Elements that need no closing tag. Others that have none are text about HTML, or placeholders such as <name>; left as
# they are, <script> or <title> would hide the rest of the file.
_UNCLOSED = frozenset(
    """
    area base br col embed hr img input link meta param source track wbr
    body colgroup dd dt head html li optgroup option p rp rt tbody td tfoot th thead tr
    """.split()  # noqa: SIM905
)


def read(path: Path) -> Iterator[Document]:
    """The file as one document; its title is that of the front matter, else its first heading of level 1."""
    yield document(decode(load(path)), components=path.suffix.lower() == ".mdx")


def document(text: str, *, components: bool = False) -> Document:
    """Markdown as a document. `components` reads MDX, which begins with lines of JavaScript."""
    from markdown_it import MarkdownIt  # 25 ms with yaml, which searches do without

    front, body = _front_matter(text)
    lines = directives.without(body.split("\n"), components=components)
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    tokens = parser.parse("\n".join(lines))
    _clean(tokens, _closed(tokens))
    title = front.get("title")
    title = " ".join(title.split()) if isinstance(title, str) else _first_heading(tokens, parser)
    shown = html.page(parser.renderer.render(tokens, parser.options, {}), title, "\n".join(_told(front)))
    language = front.get("lang", front.get("language"))
    return Document(
        shown.text,
        title,
        sections=shown.sections,
        metadata={name: plain(value) for name, value in front.items() if name != "title"},
        language=language if isinstance(language, str) else shown.language,
    )


def fenced(code: str) -> str:
    """Code as a block of Markdown, whatever marks it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"^\s*(`+)", code, re.MULTILINE)), default=0))
    return f"{fence}\n{code}\n{fence}"


def _front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """The table at the head of a file and the rest. What only looks like one, between two rules, is text."""
    import yaml

    found = _FRONT_MATTER.match(text, 0, _LONGEST_FRONT_MATTER)
    if found is None or not _KEY.search(found["yaml"]):
        return {}, text
    try:
        # An alias could stand for any number of copies.
        table = yaml.safe_load(found["yaml"]) if not re.search(r"[\s\[,][*&]\w", found["yaml"]) else None
    except (yaml.YAMLError, ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        table = _by_line(found["yaml"])
    return ({str(key): value for key, value in table.items()}, text[found.end() :]) if table else ({}, text)


def _by_line(front: str) -> dict[str, str]:
    """Front matter that is not valid YAML, such as `title: Part one: the end`; nothing where lines are not keys."""
    lines = [line for line in front.splitlines() if line.strip() and line[0] not in " \t#-"]
    if not all(_KEY.match(line) for line in lines):
        return {}
    pairs = (line.split(":", 1) for line in lines)
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def _told(front: Mapping[str, Any]) -> Iterator[str]:
    """The values of front matter that a reader may look for, a line per key."""
    for name, value in front.items():
        if name.lower() not in _TECHNICAL and (words := ", ".join(_words(value))):
            yield words


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield " ".join(value.split())
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _words(inner)


def _closed(tokens: "list[Token]") -> set[str]:
    """The names of all closing tags."""
    written = [token for outer in tokens for token in (outer, *(outer.children or ()))]
    html_only = (token.content for token in written if token.type in ("html_block", "html_inline"))
    return {tag["name"].lower() for content in html_only for tag in _TAG.finditer(content) if tag["close"]}


def _clean(tokens: "list[Token]", closed: set[str]) -> None:
    """Take out of text tokens what is no text, and make text of tags that are none."""
    for token, after in zip(tokens, [*tokens[1:], None], strict=False):
        if token.type in ("html_block", "html_inline"):
            token.content = _TAG.sub(lambda tag: _literal(tag, closed), token.content)
        elif token.type == "text":
            token.content = directives.without_inline(token.content)
            if after is not None and after.type == "code_inline":  # {ref}`name` in MyST
                token.content = directives.ROLE.sub("", token.content)
        elif token.type in ("heading_open", "heading_close") and token.level > 0:
            token.tag = "p"  # in a list or quote
        elif token.children:
            _without_badges(token.children)
            _keep_dunders(token.children)
            _clean(token.children, closed)


def _literal(tag: re.Match[str], closed: set[str]) -> str:
    name = tag["name"].lower()
    if name in _UNCLOSED or name in closed:
        return tag[0]
    return "" if tag["rest"] else f"&lt;{tag['close']}{tag['name']}&gt;"


def _without_badges(children: "list[Token]") -> None:
    """Pictures become their description, but in links, where they are buttons and badges."""
    depth = 0
    for token in children:
        depth += token.nesting if token.type in ("link_open", "link_close") else 0
        if token.type == "image":
            token.type, token.tag = "text", ""
            token.content = "" if depth else token.content
            token.children = None


def _keep_dunders(children: "list[Token]") -> None:
    """`__init__` is a name and not "init" in bold."""
    for opened, inner, closed in zip(children, children[1:], children[2:], strict=False):
        marked = opened.type == "strong_open" and opened.markup == "__" and closed.type == "strong_close"
        if marked and inner.content in _DUNDERS:
            for token in (opened, closed):
                token.type, token.tag, token.nesting, token.content = "text", "", 0, "__"


def _first_heading(tokens: "list[Token]", parser: "MarkdownIt") -> str:
    """The first heading of level 1 that is no part of a quote or list, as text."""
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h1" and token.level == 0:
            shown = parser.renderer.render([inline], parser.options, {})
            return " ".join(html.page(shown).text.split())
    return ""
