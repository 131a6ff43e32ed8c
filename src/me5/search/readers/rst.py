"""reStructuredText: the text that its page would show, cut at its headings, as docutils parses it.

What Sphinx and its extensions add is unknown to docutils: such directives are read by what they hold, such roles by
what they show. Nothing that a file refers to is read.
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from me5.search.documents import Document
from me5.search.readers.outline import Outline
from me5.search.readers.plain import decode, load

_DIRECTIVE = re.compile(
    r"^[ \t]*(?:[-*•][ \t]+)*\.\.[ \t]+(?:\|[^|\n]{1,100}\|[ \t]+)?([\w:.+-]{1,100}?)[ \t]?::", re.MULTILINE
)
_ROLE = re.compile(r":([A-Za-z][\w:.+-]{0,60}):`|`:([A-Za-z][\w:.+-]{0,60}):")
_TARGET = re.compile(r"(?s)(.+?)\s*<[^<>]*>\Z")
_SPACE = re.compile(r"\s+")
_REFERENCE = re.compile(r"`?(.*?)`?_{0,2}\Z", re.DOTALL)
# Directives that hold code or data, and those that show nothing, or a list of other pages.
_CODE = frozenset(
    """
    code code-block sourcecode prompt parsed-literal doctest testcode testoutput testsetup testcleanup productionlist
    ipython console highlight-code graphviz digraph graph mermaid uml plantuml plot jupyter-execute literal math
    """.split()  # noqa: SIM905
)
_UNSEEN = frozenset(
    """
    toctree include literalinclude index highlight currentmodule py:currentmodule default-domain tabularcolumns
    contents sectnum meta raw autosummary sectionauthor codeauthor
    """.split()  # noqa: SIM905
)
# Directives whose argument tells Sphinx something.
_TOLD = ("only", "ifconfig", "grid", "tab-set")
# What docutils knows and Sphinx gives further options.
_EXTENDED = _CODE | _UNSEEN
_SETTINGS = {
    "_disable_config": True, "file_insertion_enabled": False, "raw_enabled": False, "report_level": 5, "halt_level": 5,
    "doctitle_xform": False, "docinfo_xform": False, "syntax_highlight": "none", "line_length_limit": 1 << 30,
    "input_encoding": "unicode", "smart_quotes": False,
}  # fmt: skip


def read(path: Path) -> Iterator[Document]:
    """The file as one document, called by its first heading."""
    # Here, in the readers' own process: it takes 0.1 s.
    from docutils import core

    text = decode(load(path))
    _acquaint(text)
    tree = core.publish_doctree(text, settings_overrides={**_SETTINGS, "warning_stream": io.StringIO()})
    yield _Walk().over(tree)


def _acquaint(text: str) -> None:
    """Make docutils know the directives and roles of a text that it does not."""
    from docutils.parsers.rst import directives, roles
    from docutils.parsers.rst.languages import en

    for name in {found[1].lower() for found in _DIRECTIVE.finditer(text)}:
        if name in _EXTENDED or name not in en.directives:
            directives.register_directive(name, _any_directive())
    for name in {(found[1] or found[2]).lower() for found in _ROLE.finditer(text)}:
        if name not in en.roles:
            roles.register_local_role(name, _any_role)


@cache
def _any_directive() -> type[Any]:
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives

    class Whatever(Directive):  # type: ignore[misc]  # docutils ships no types
        """A directive with whatever argument, options and content."""

        has_content, optional_arguments, final_argument_whitespace = True, 1, True
        option_spec: ClassVar = defaultdict(lambda: directives.unchanged, {"class": directives.unchanged})

        def run(self) -> list[Any]:
            name, argument = self.name.lower(), self.arguments[0] if self.arguments else ""
            box = nodes.container()
            if name in _UNSEEN:
                return []
            if caption := self.options.get("caption"):
                box += nodes.paragraph("", caption)
            if name in _CODE:
                # The argument is the name of a language, or the first lines.
                first = [argument] if name == "math" or len(argument.split()) > 1 else []
                box += nodes.literal_block("", "\n".join((*first, *self.content)))
                return [box]
            if argument and name not in _TOLD:
                words, told = self.state.inline_text(argument, self.lineno)
                box += nodes.paragraph("", "", *words, *told)
            self.state.nested_parse(self.content, self.content_offset, box, match_titles=1)
            return [box]

    return Whatever


def _any_role(name: str, raw: str, text: str, *_: Any, **__: Any) -> tuple[list[Any], list[Any]]:  # noqa: ARG001
    """What Sphinx shows of a reference: its own words, else the name, of which `~` leaves the last part."""
    from docutils import nodes, utils

    shown = utils.unescape(text)
    if (titled := _TARGET.match(shown)) is not None:
        shown = titled[1]
    elif shown.startswith("~"):
        shown = shown.rpartition(".")[2].removeprefix("~")
    return [nodes.inline(raw, shown.removeprefix("!"))], []


class _Walk:
    """Writes a tree of docutils into an outline."""

    def __init__(self) -> None:
        from docutils import nodes

        self._nodes = nodes
        self._unseen = (
            nodes.comment, nodes.substitution_definition, nodes.target, nodes.pending, nodes.raw, nodes.label,
            nodes.colspec, nodes.decoration,
        )  # fmt: skip

    def over(self, tree: Any) -> Document:
        """The document, called by its first heading."""
        first = next(iter(tree.findall(self._nodes.section)), None)
        self._outline = Outline("" if first is None else " ".join(self._text(first[0]).split()))
        self._block(tree, 0)
        return self._outline.document()

    def _block(self, node: Any, level: int) -> None:
        nodes = self._nodes
        for child in node.children:
            if self._is_unseen(child):
                continue
            if isinstance(child, nodes.section):
                self._block(child, level + 1)
            elif isinstance(child, nodes.title) and isinstance(node, nodes.section):
                self._outline.heading(level, self._text(child))
            elif isinstance(child, nodes.row):
                self._line("\t".join(" ".join(self._text(cell).split()) for cell in child.children))
            elif isinstance(child, nodes.system_message):
                # What cannot be parsed is kept as it is written.
                self._block(nodes.container("", *child.findall(nodes.literal_block)), level)
            elif isinstance(child, nodes.TextElement | nodes.image):
                self._line(child.astext() if isinstance(child, nodes.FixedTextElement) else self._text(child).strip())
            else:
                self._block(child, level)

    def _is_unseen(self, node: Any) -> bool:
        # `:orphan:`, a field without a value, tells Sphinx something.
        told = isinstance(node, self._nodes.field) and not node[-1].children
        return told or isinstance(node, self._unseen)

    def _line(self, text: str) -> None:
        self._outline.write(text)
        self._outline.end_line()

    def _text(self, node: Any) -> str:
        """The text within an element; blocks in it, such as the paragraphs of a cell, have a space between them."""
        nodes = self._nodes
        if isinstance(node, nodes.Text):
            return _SPACE.sub(" ", node)
        if isinstance(node, (*self._unseen, nodes.footnote_reference, nodes.citation_reference, nodes.system_message)):
            return ""
        if isinstance(node, nodes.image):
            return str(node.get("alt", ""))
        text = "".join(map(self._text, node.children))
        if isinstance(node, nodes.problematic):  # a reference to what another file, or Sphinx, defines
            return _REFERENCE.sub(r"\1", text, 1).strip("|")
        return f"{text} " if isinstance(node, nodes.Body) and not isinstance(node, nodes.Inline) else text
