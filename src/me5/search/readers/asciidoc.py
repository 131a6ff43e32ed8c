"""AsciiDoc: the text that its page would show, cut at its headings, line by line; nothing is included or fetched."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.search.documents import Document, NoTextError
from me5.search.readers import html
from me5.search.readers.outline import Outline
from me5.search.readers.plain import decode, load

_HEADING = re.compile(r"(?P<marks>={1,6}|#{1,6})[ \t]+(?P<title>\S.*)")
# The older form: a line of one character under a line of about the same length.
_UNDERLINES = "=-~^+"
_UNDERLINE = re.compile(r"([=\-~^+])\1+\s*$")
_ATTRIBUTE = re.compile(r":(?P<name>!?[\w][\w-]{0,60}!?):(?:[ \t]+(?P<value>.*))?$")
_BLOCK_ATTRIBUTES = re.compile(r"\[(?:[\w.#%,\"'*(].*)?\]\s*$|\[\[[^\[\]]+\]\]\s*$")
_BLOCK_TITLE = re.compile(r"\.(?=[^\s.])(?P<title>.*)")
_VERBATIM = re.compile(r"(-{4,}|\.{4,}|\+{4,}|/{4,}|`{3,})")
_COMMENT_LINE = re.compile(r"//(?!/)")
_AROUND = re.compile(r"(={4,}|\*{4,}|_{4,}|--|'{3,}|<<<|\+)\s*$")
_TABLE = re.compile(r"[|,:!]={3,}\s*$")
_CELL = re.compile(r"(?:(?<=\s)|^)(?:\d{1,3}(?:\.\d{1,3})?[+*]|\.\d{1,3}\+)?(?:[<^>](?:\.[<^>])?)?[adehlmsv]?(?<!\\)\|")
_LIST = re.compile(r"[ \t]*(?:[*.-]{1,6}|<\d{1,3}>|<\.>|\d{1,3}\.)[ \t]+(?:\[[ xX*]\][ \t]+)?(?P<text>\S.*)")
_TERM = re.compile(r"(?P<term>\S.{0,300}?)(?:::{1,3}|;;)(?:[ \t]+(?P<text>\S.*))?\s*$")
_CONDITION = re.compile(r"(?:ifdef|ifndef|ifeval|endif)::[^\[\]]{0,200}\[(?P<text>.*)\]\s*$")
_BLOCK_MACRO = re.compile(r"(?P<name>[a-z]\w{1,30})::(?P<target>[^\s\[\]]{0,500})\[(?P<text>[^\[\]]{0,1000})\]\s*$")
_UNSEEN_MACROS = ("include", "toc", "video", "audio", "anchor")
_CALLOUT = re.compile(r"\s*(?://|#|;;|<!--)?\s*<(?:\d{1,3}|\.)>(?:-->)?\s*$")

_REFERENCE = re.compile(r"<<(?P<target>[^<>,]{1,200})(?:,(?P<text>[^<>]{1,300}))?>>")
_MACRO = re.compile(
    r"(?P<name>https?|ftp|irc|link|xref|mailto|image|kbd|btn|menu|footnote|footnoteref|stem|latexmath|asciimath|pass"
    r"|icon|anchor|indexterm2?|[a-z]{3,20}):(?P<target>[^\s\[\]]{0,500})\[(?P<text>[^\[\]]{0,1000})\]"
)
_INDEX_TERM = re.compile(r"\(\(\([^()]{1,300}\)\)\)")
_SHOWN_TERM = re.compile(r"\(\(([^()]{1,300})\)\)")
_ANCHOR = re.compile(r"\[\[[^\[\]]{1,200}\]\]|\[#[\w-]{1,100}\](?![#*_`])")
_NAMED = re.compile(r"\{(?P<name>\w[\w-]{0,60})\}")
_ROLE = re.compile(r"\[[\w.#%, -]{1,100}\](?=[#*_`])")
_QUOTES = re.compile(r"([\"'])`([^`]{1,500})`\1")
_UNCONSTRAINED = re.compile(r"(\*\*|__|``|##|\+\+)(?=\S)(.{1,500}?)(?<=\S)\1")
_CONSTRAINED = re.compile(r"(?<![\w\\*_`#+])([*_`#+])(?=[^\s*_`#+]|[*_](?!\1))(.{1,1000}?)(?<=\S)\1(?!\w)")
_RAISED = re.compile(r"([\^~])(?=\S)([^\s^~]{1,100})\1")
_ESCAPED = re.compile(r"\\(?=[*_`#+\[{<:^~'\"(])")
_GIVEN = {
    "nbsp": " ", "empty": "", "blank": "", "sp": " ", "plus": "+", "amp": "&", "lt": "<", "gt": ">", "apos": "'",
    "quot": '"', "vbar": "|", "asterisk": "*", "caret": "^", "tilde": "~", "startsb": "[", "endsb": "]",
    "backtick": "`", "two-colons": "::", "two-semicolons": ";;", "deg": "°", "zwsp": "", "wj": "", "lsquo": "‘",
    "rsquo": "’",
    "ldquo": "“", "rdquo": "”", "brvbar": "¦", "backslash": "\\", "cpp": "C++", "litdd": "--",
}  # fmt: skip


def read(path: Path) -> Iterator[Document]:
    """The file as one document, called by its first heading."""
    yield document(decode(load(path)))


def document(text: str) -> Document:
    """AsciiDoc as a document."""
    return _Lines(text.split("\n")).over()


class _Lines:
    """Where the walk through the lines is: the paragraph so far, what is defined, whether in a table."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._outline = Outline()
        self._names = dict(_GIVEN)
        self._paragraph: list[str] = []
        self._in_table = False

    def over(self) -> Document:
        at = 0
        while at < len(self._lines):
            at += self._heading(at) or self._verbatim(at) or self._line(self._lines[at].rstrip())
        self._flush()
        return self._outline.document()

    def _heading(self, at: int) -> int:
        """Read a heading. Returns its number of lines, 0 where there is none."""
        line, below = self._lines[at].rstrip(), "".join(self._lines[at + 1 : at + 2])
        marked = _HEADING.match(line)
        under = None if marked or self._paragraph or self._in_table else _UNDERLINE.match(below)
        if marked:
            level, title, count = len(marked["marks"]), marked["title"], 1
        elif under and abs(len(below.rstrip()) - len(line)) <= 1 and re.match(r"\w", line):
            level, title, count = _UNDERLINES.index(under[1]) + 1, line, 2
        else:
            return 0
        self._flush()
        title = self._shown(title)
        self._outline.title = self._outline.title or title
        self._outline.heading(level, title)
        return count

    def _verbatim(self, at: int) -> int:
        """Read a block of code, or pass over one of comments. Returns its number of lines, 0 where there is none."""
        line = self._lines[at].rstrip()
        fence = _VERBATIM.match(line)
        if fence is None or (line != fence[1] and "`" not in fence[1]):
            return 0
        self._flush()
        rest = [one.rstrip() for one in self._lines[at + 1 :]]
        count = rest.index(fence[1]) if fence[1] in rest else len(rest)
        body = rest[:count]
        if line[0] == "+":  # HTML as it is
            with contextlib.suppress(NoTextError, InputError):
                body = html.page("\n".join(body)).text.split("\n")
        for one in body if line[0] != "/" else ():
            self._outline.write(f"{_CALLOUT.sub('', one)}\n")
        return count + 2

    def _line(self, line: str) -> int:
        if not line:
            self._flush()
        elif _TABLE.match(line):
            self._flush()
            self._in_table = not self._in_table
        elif self._in_table and not _COMMENT_LINE.match(line):
            cells = (self._shown(cell.strip()) for cell in _CELL.split(line.removeprefix("|")))
            self._write("\t".join(cells).strip("\t"))
        elif _BLOCK_ATTRIBUTES.match(line) or _AROUND.match(line):
            self._flush()
        elif not self._told(line):
            self._text(line)
        return 1

    def _told(self, line: str) -> bool:
        """Read a line that is no text; False where it is one."""
        if (attribute := _ATTRIBUTE.match(line)) is not None:
            self._names[attribute["name"].lower()] = self._shown(attribute["value"] or "")
        elif (condition := _CONDITION.match(line)) is not None:
            if condition["text"] and not line.startswith("ifeval"):
                self._line(condition["text"].rstrip())
        elif (macro := _BLOCK_MACRO.match(line)) is not None:
            if macro["name"] not in _UNSEEN_MACROS:
                self._flush()
                self._write(self._shown(_first(macro["text"])))
        elif (title := _BLOCK_TITLE.match(line)) is not None and not self._paragraph:
            self._write(self._shown(title["title"]))
        else:
            return bool(_COMMENT_LINE.match(line))
        return True

    def _text(self, line: str) -> None:
        if (item := _LIST.match(line)) is not None:
            self._flush()
            line = item["text"]
        if (term := _TERM.match(line)) is not None:
            self._flush()
            self._write(self._shown(term["term"].strip()))
            line = term["text"] or ""
        elif line[0] == " " and not self._paragraph and item is None:  # as it is written
            self._write(line)
            return
        self._paragraph += [line.strip().removesuffix(" +")] if line else []
        if line.endswith(" +"):
            self._flush()

    def _flush(self) -> None:
        """The end of a paragraph."""
        if self._paragraph:
            self._write(self._shown(" ".join(self._paragraph)))
            self._paragraph = []

    def _write(self, text: str) -> None:
        self._outline.write(text)
        self._outline.end_line()

    def _shown(self, text: str) -> str:
        """A run of text without its markup."""
        text = _NAMED.sub(lambda name: self._names.get(name["name"].lower(), name[0]), text)
        text = _REFERENCE.sub(lambda link: link["text"] or link["target"], text)
        text = _SHOWN_TERM.sub(r"\1", _INDEX_TERM.sub("", _ANCHOR.sub("", text)))
        text = _QUOTES.sub(lambda quote: f"“{quote[2]}”" if quote[1] == '"' else f"‘{quote[2]}’", text)
        text = _ROLE.sub("", _MACRO.sub(_macro, text))
        for pattern in (_UNCONSTRAINED, _CONSTRAINED, _CONSTRAINED):  # one within another
            text = pattern.sub(r"\2", text)
        return _ESCAPED.sub("", _RAISED.sub(r"\2", text))


def _macro(macro: re.Match[str]) -> str:
    """What is shown of `name:target[text]`."""
    name, target, text = macro["name"], macro["target"], macro["text"]
    if name in ("http", "https", "ftp", "irc", "link", "xref", "mailto"):
        place = target if name in ("link", "xref", "mailto") else f"{name}:{target}"
        return _first(text).rstrip("^") or place
    if name == "menu":
        return f"{target} > {text}"
    if name in ("image", "icon"):
        return _first(text)
    if name in ("footnote", "footnoteref"):
        return f" ({text})"
    if name in ("anchor", "indexterm"):
        return ""
    if name in ("kbd", "btn", "stem", "latexmath", "asciimath", "pass", "indexterm2"):
        return text
    return f"{target}({text})" if text.isdecimal() and target else macro[0]  # pages of a manual: linkgit:git-log[1]


def _first(text: str) -> str:
    """The text among the attributes of a link or picture."""
    text = text.strip()
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    return re.sub(r",\s*[\w%]+\s*(?:=.*)?\Z", "", text, count=1, flags=re.DOTALL) if "=" in text else text
