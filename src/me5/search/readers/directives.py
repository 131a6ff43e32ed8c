"""What sites write in Markdown beyond CommonMark, taken out line by line so that their text stays.

Admonitions, tabs and blocks of MkDocs and its extensions, fenced directives of MyST, Docusaurus, VuePress and Pandoc,
templates of Jinja, Liquid and Hugo, attribute lists, footnotes, wiki links, callouts, JSX. Every pattern is bounded, so
that no line takes time with the square of its length.
"""

import re
from collections.abc import Iterator

_FENCE = re.compile(r"\s*(?P<marks>`{3,}|~{3,}|:{3,})(?P<info>.*)")
# MyST: these hold Markdown, all others code.
_PROSE = frozenset(
    """
    admonition attention caution danger dropdown error hint important note seealso tip warning card grid grid-item
    grid-item-card tab-set tab-item topic sidebar margin versionadded versionchanged deprecated epigraph
    """.split()  # noqa: SIM905
)
_MYST = re.compile(r"\s*\{(?P<name>[\w:-]+)\}\s*(?P<title>.*)")
_COLON = re.compile(r"\s*(?P<name>[\w.:-]*)\s*(?P<title>.*)")
_BLOCK = re.compile(r"(?P<indent> *)(?:!!!|\?\?\?\+?) ?[\w -]*(?:\"(?P<title>[^\"]*)\")?[\w -]*$")
_TAB = re.compile(r"(?P<indent> *)===[!+]? ?\"(?P<title>[^\"]*)\"\s*$")
_SLASHES = re.compile(r"\s*/{3,}(?P<name>[ \w-]*)(?:\|(?P<title>.*))?$")
_OPTION = re.compile(r"(?:\s{4,}|\t)[\w-]+:|:[\w-]+:")
_INCLUDE = re.compile(r"\s*(?:-{1,20}8<-|\{!.*!\}|\{\*.*\*\}\s*$|\{:[^{}]*\}\s*$|\[\[?_?TOC_?\]\]?\s*$)", re.IGNORECASE)
_CALLOUT = re.compile(r"(?P<quote>[\s>]*>\s*)\[![\w-]{1,40}\][+-]? ?")
_FOOTNOTE = re.compile(r"\s{0,3}\[\^[^\]\s]{1,100}\]:\s*")
_SCRIPT = re.compile(r"(?:import|export)\s")

_TEMPLATE = re.compile(r"\{\{[^{}]{0,500}\}\}|\{%[^{}]{0,500}%\}|\{/\*.{0,500}?\*/\}")
_SPAN = re.compile(r"\[(?P<text>[^\[\]]{1,500})\](?=\{[^{}]{1,300}\})")
_ATTRIBUTES = re.compile(
    r"\{:?\s{0,9}(?:(?:[#.][\w:-]{1,100}|[\w-]{1,100}=(?:\"[^\"{}]{0,200}\"|'[^'{}]{0,200}'|[^\s{}\"']{1,200}))(?:\s{1,9}|(?=\})))+\}"
)
_ICON = re.compile(r":(?:material|fontawesome|octicons|simple|bootstrap|twemoji)-[\w-]{1,80}:")
_REFERENCE = re.compile(r"\[\^[^\]\s]{1,100}\]")
_WIKI = re.compile(r"!?\[\[(?P<page>[^\[\]|]{1,300})(?:\|(?P<label>[^\[\]]{1,300}))?\]\]")
_TASK = re.compile(r"\[[ xX]\] ")
ROLE = re.compile(r"\{[a-z][\w:+-]{0,40}\}$")


def without_inline(text: str) -> str:
    """A run of text without the markup that CommonMark does not know."""
    if "[" in text:
        text = _WIKI.sub(lambda link: link["label"] or link["page"], _TASK.sub("", text, 1) if text[0] == "[" else text)
        text = _REFERENCE.sub("", text)
    if "{" in text:
        text = _ATTRIBUTES.sub("", _SPAN.sub(r"\g<text>", _TEMPLATE.sub("", text)))
    return _ICON.sub("", text) if ":" in text else text


def without(lines: list[str], *, components: bool = False) -> list[str]:
    """Lines of Markdown without directives; their titles stay as paragraphs, their bodies lose their indentation.

    `components` says that lines of JavaScript may stand among the text, as in MDX.
    """
    return list(_Lines(components).over(lines))


class _Lines:
    """Where the walk through the lines is: in which blocks of indented text, fences of prose, and code."""

    def __init__(self, components: bool) -> None:
        self._components = components
        self._indents: list[int] = []  # of the blocks whose bodies are indented, as they stand in the file
        self._prose: list[str] = []  # the marks of fences that hold Markdown
        self._code = ""
        self._options = False  # the line before opened a directive
        self._script = False

    def over(self, lines: list[str]) -> Iterator[str]:
        for raw in lines:
            line = self._dedented(raw)
            if self._code:
                if self._closes(line, self._code):
                    self._code = ""
                    yield line
                elif not _INCLUDE.match(line):
                    yield line
            elif not self._passed_over(line):
                yield from self._outside(line)

    def _dedented(self, line: str) -> str:
        if not line.strip():
            return line
        indent = len(line) - len(line.lstrip(" "))
        if line.startswith("\t") and self._indents:
            line = line.expandtabs(4)
            indent = len(line) - len(line.lstrip(" "))
        while self._indents and not self._code and indent < self._indents[-1] + 4:
            self._indents.pop()
        drop = min(4 * len(self._indents), indent)
        return line[drop:]

    def _passed_over(self, line: str) -> bool:
        """Includes, options of directives, and JavaScript."""
        if self._script or (self._components and _SCRIPT.match(line)):
            self._script = bool(line.strip())
            return True
        if self._options and (_OPTION.match(line) or (line[:1].isspace() and line.strip()[:1] == "-")):
            return True
        self._options = False
        return bool(_INCLUDE.match(line))

    def _outside(self, line: str) -> Iterator[str]:
        if (fence := _FENCE.match(line)) is not None:
            yield from self._fence(line, fence["marks"], fence["info"])
        elif (block := _BLOCK.match(line) or _TAB.match(line)) is not None:
            self._indents.append(len(block["indent"]) + 4 * len(self._indents))
            yield from ("", block["indent"] + (block["title"] or ""), "")
        elif (slashes := _SLASHES.match(line)) is not None:
            self._options = bool(slashes["name"].strip())
            yield from ("", (slashes["title"] or "").strip(), "")
        else:
            yield _FOOTNOTE.sub("", _CALLOUT.sub(r"\g<quote>", line, 1), 1)

    def _fence(self, line: str, marks: str, info: str) -> Iterator[str]:
        if self._prose and self._closes(line, self._prose[-1]):
            self._prose.pop()
            yield ""
            return
        myst = _MYST.match(info)
        if marks[0] == ":":
            self._options = True
            yield from ("", _title_of(info), "")
        elif myst is not None and myst["name"] in _PROSE:
            self._prose.append(marks)
            self._options = True
            yield from ("", myst["title"], "")
        else:
            self._code = marks
            yield line

    @staticmethod
    def _closes(line: str, marks: str) -> bool:
        bare = line.strip()
        return bare.startswith(marks) and not bare.strip(marks[0])


def _title_of(info: str) -> str:
    """What a `:::` line shows: the title of a box, or the name of an object whose documentation stands there."""
    if (myst := _MYST.match(info)) is not None:
        return myst["title"]
    name, title = ((found := _COLON.match(info)) and (found["name"], found["title"])) or ("", "")
    title = re.sub(r"\{[^{}]{0,300}\}", "", title).strip().removesuffix(":" * 3)
    return " ".join(filter(None, (name if "." in name else "", title.removeprefix("[").removesuffix("]").strip())))
