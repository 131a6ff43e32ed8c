"""Email: a message (`.eml`) or each one of an mbox, with who wrote it when; what is attached is named, not read."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.search.documents import NOWHERE, Complain, Document, NoTextError, Section
from me5.search.readers import charset, html
from me5.search.readers.outline import SOFT_HYPHEN
from me5.search.readers.plain import MOST

# The line before each message of an mbox. Not every program puts a `>` before a line of a text that begins so.
_FROM = re.compile(rb"From \S.{0,200}\d:\d\d")
_QUOTED_FROM = re.compile(rb">+From ")
_TOO_LARGE = f"has more than {MOST:,} bytes with what is attached, the most that is read; save it without that"
# Of so many receivers all are named, of more the first.
_NAMED = 10
_LOCKED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_ARMOUR = re.compile(
    r"^-----BEGIN PGP (MESSAGE|SIGNATURE)-----$.*?(?:^-----END PGP \1-----$|\Z)", re.DOTALL | re.MULTILINE
)
# A plain text that says so much less than the page beside it only tells to look at that.
_LEAST = 0.25
_FLOWED = re.compile(r"(?<!^--) \n(?!>|-- \n)", re.MULTILINE)
# The second line of "On Monday at 9:30 Ann Example <ann@example.org>\nwrote:".
_SHORT = 30


def read(path: Path, complain: Complain) -> Iterator[Document]:
    """The messages; those of an mbox have their number, from 1. One that is locked is told, and its head indexed."""
    if path.suffix.lower() == ".eml":
        with path.open("rb") as file:
            raw = file.read(MOST + 1)
        if len(raw) > MOST:
            raise InputError(_TOO_LARGE)
        yield _document(raw, None, complain)
        return
    for number, raw in enumerate(_messages(path), 1):
        if len(raw) > MOST:
            complain(number, _TOO_LARGE)
            continue
        try:
            document = _document(raw, number, complain)
        except Exception as error:  # whatever a damaged message makes the parser raise: the others go on
            complain(number, f"cannot be read: {error or type(error).__name__}")
        else:
            yield document


def count(path: Path) -> int:
    """About how many messages a file holds, for progress."""
    with path.open("rb") as file:
        return max(sum(line.startswith(b"From ") for line in iter(lambda: file.readline(MOST), b"")), 1)


def _messages(path: Path) -> Iterator[bytes]:
    """The bytes of each message of an mbox; of one that is too large, somewhat more than is read."""
    kept: list[bytes] | None = None
    size, blank = 0, True
    with path.open("rb") as file:
        while line := file.readline(MOST):
            if blank and _FROM.match(line):
                if kept is not None:
                    yield b"".join(kept)
                kept, size = [], 0
            elif kept is None:
                if line.strip():
                    raise InputError(
                        "cannot be read as mbox: it begins with no line such as `From ann@example.org Mon Jan 5 "
                        "09:30:00 2026`; a single message is called `.eml`"
                    )
            elif size <= MOST:
                kept.append(line[1:] if _QUOTED_FROM.match(line) else line)
                size += len(line)
            blank = not line.strip()
    if kept is not None:
        yield b"".join(kept)


@dataclass
class _Parts:
    """What a message is made of."""

    texts: list[str] = field(default_factory=list)
    attached: list[str] = field(default_factory=list)
    locked: bool = False


def _document(raw: bytes, at: int | None, complain: Complain) -> Document:
    message = message_from_bytes(raw)
    parts = _Parts()
    _collect(message, parts)
    if parts.locked:
        complain(
            NOWHERE if at is None else at, "its text is encrypted, or wrapped in a signature; only its subject, sender "
            "and date are indexed. Save it as your mail program shows it"
        )  # fmt: skip
    head = _head(message, parts.attached)
    own, quoted = _parted("\n\n".join(filter(None, (text.strip("\n") for text in parts.texts))))
    text = "\n".join((*(f"{name}: {value}" for name, value in head.items()), *([""] if head else []), own))
    sections = [Section("", 0, len(text))]
    if quoted:
        sections.append(Section("quoted", len(text) + 1, len(text) + 1 + len(quoted)))
        text = f"{text}\n{quoted}"
    return Document(text, _header(message, "Subject"), at, tuple(sections), _metadata(message, head, parts.attached))


def _collect(part: Message, parts: _Parts) -> None:
    """What is shown of a part of a message, and of those within it."""
    kind = part.get_content_type()
    if kind in _LOCKED:
        parts.locked = True
    elif kind == "message/rfc822":
        for inner in _inside(part):
            parts.texts.append("\n".join(f"{name}: {value}" for name, value in _head(inner, [], subject=True).items()))
            _collect(inner, parts)
    elif kind == "multipart/alternative":
        parts_of = [_Parts() for _ in _inside(part)]
        for inner, found in zip(_inside(part), parts_of, strict=True):
            _collect(inner, found)
        chosen = _chosen(parts_of)
        parts.texts += chosen.texts if chosen else []
        parts.locked |= any(found.locked for found in parts_of)
        parts.attached += [name for found in parts_of for name in found.attached]
    elif part.is_multipart():
        for inner in _inside(part):
            _collect(inner, parts)
    elif _is_shown(part):
        _add_text(_text(part), parts)
    elif name := _decoded(part.get_filename("")) or ("" if part.get("Content-ID") else kind):
        parts.attached.append(" ".join(name.split()))


def _add_text(text: str, parts: _Parts) -> None:
    """A text without what only a program can read of it."""
    parts.locked |= "-----BEGIN PGP MESSAGE-----" in text
    parts.texts.append(_ARMOUR.sub("", text))


def _inside(part: Message) -> list[Message]:
    payload: Any = part.get_payload()
    return [inner for inner in payload if isinstance(inner, Message)] if isinstance(payload, list) else []


def _chosen(found: list[_Parts]) -> _Parts | None:
    """The plainest of several forms of a text, unless it says far less than the last, which is the richest."""
    told = [one for one in found if "".join(one.texts).strip()]
    if not told:
        return None
    plain, rich = ("".join(one.texts) for one in (told[0], told[-1]))
    return told[0] if len(plain.split()) >= _LEAST * len(rich.split()) else told[-1]


def _is_shown(part: Message) -> bool:
    return (
        part.get_content_maintype() in ("text", "multipart")  # one without the parts that it states is its text
        and part.get_content_subtype() != "calendar"
        and part.get_content_disposition() != "attachment"
    )


def _text(part: Message) -> str:
    payload: Any = part.get_payload(decode=True)
    raw, label = payload if isinstance(payload, bytes) else b"", part.get_content_charset()
    if part.get_content_subtype() == "html":
        with contextlib.suppress(NoTextError):
            return html.page(charset.labelled(raw, label) if label else charset.decode(raw)).text
        return ""
    text = charset.labelled(raw, label).replace("\r\n", "\n").replace("\r", "\n").replace(SOFT_HYPHEN, "")
    if str(part.get_param("format", "")).lower() == "flowed":
        text = _FLOWED.sub("" if str(part.get_param("delsp", "")).lower() == "yes" else " ", text)
    return text


def _head(message: Message, attached: list[str], *, subject: bool = False) -> dict[str, str]:
    """The lines above a message, by their names."""
    names = ("Subject",) * subject + ("From", "To", "Cc", "Date")
    lines = {name: _header(message, name) for name in names} | {"Attachments": ", ".join(attached)}
    return {name: value for name, value in lines.items() if value}


def _metadata(message: Message, head: dict[str, str], attached: list[str]) -> dict[str, Any]:
    """What filters may ask for; the date in ISO form."""
    told: dict[str, Any] = {name.lower(): value for name, value in head.items() if name != "Attachments"}
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        told["date"] = parsedate_to_datetime(head.get("Date", "")).isoformat()
    if attached:
        told["attachments"] = attached
    if identity := _header(message, "Message-ID"):
        told["message_id"] = identity
    return told


def _header(message: Message, name: str) -> str:
    """A header as text; of many receivers the first are named, and the others counted."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    text = " ".join(_decoded(raw).split())
    receivers = text.split(", ") if name in ("To", "Cc") else []
    if len(receivers) > _NAMED:
        return f"{', '.join(receivers[:_NAMED])} and {len(receivers) - _NAMED:,} more"
    return text


def _decoded(value: str | None) -> str:
    """A header's words, in whatever charset each of them is, or in none that it states."""
    value = charset.labelled((value or "").encode("utf-8", "surrogateescape"), None)
    return "".join(
        charset.labelled(part, label) if isinstance(part, bytes) else part for part, label in decode_header(value)
    )


def _parted(text: str) -> tuple[str, str]:
    """A text, and the message that it answers, where that is quoted below it."""
    lines = text.split("\n")
    at = len(lines)
    while at and (not lines[at - 1].strip() or lines[at - 1].lstrip().startswith(">")):
        at -= 1
    if not any(line.strip() for line in lines[at:]):
        return text, ""
    end = at
    if at and lines[at - 1].rstrip().endswith(":"):
        at -= 1
        if at and len(lines[at]) < _SHORT and lines[at - 1].strip():
            at -= 1
    marks = [re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line) for line in lines[end:]]
    return "\n".join(lines[:at]).rstrip("\n"), "\n".join((*lines[at:end], *marks)).strip("\n")
