"""Bytes of a page → its text, by the rules of browsers (the WHATWG's "Encoding" and "determining the encoding")."""

import codecs
import re

from me5.errors import InputError

_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/]([^>]*)", re.IGNORECASE)
_CHARSET = re.compile(rb"""(?:^|[\s"'/;])charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)
_CONTENT_TYPE = re.compile(rb"""http-equiv\s*=\s*["']?\s*content-type""", re.IGNORECASE)
_CONTENT = re.compile(rb"""(?:^|[\s"'/])content\s*=""", re.IGNORECASE)
_XML = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9_:.-]+)""")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# What browsers read otherwise than Python's codec of that name does: the name as Python knows it → the codec to use.
_AS_BROWSERS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
}  # fmt: skip
# Labels that Python does not know.
_LABELS = {
    "x-sjis": "cp932", "windows-31j": "cp932", "x-gbk": "gb18030", "x-x-big5": "big5hkscs", "windows-949": "cp949",
    "windows-874": "cp874", "dos-874": "cp874", "x-mac-cyrillic": "mac-cyrillic", "x-mac-roman": "mac-roman",
    "x-cp1250": "cp1250", "x-cp1251": "cp1251", "x-cp1252": "cp1252", "x-user-defined": "cp1252", "unicode": "utf-8",
    "x-euc-jp": "euc_jp", "iso-8859-8-i": "iso8859-8", "koi8-ru": "koi8-u",
}  # fmt: skip
# All other encodings that browsers know; `unicode_escape`, `utf-7` and the like would turn text into something else.
_SAME = re.compile(
    r"utf-8|gb18030|big5hkscs|cp(866|874|932|949|125[0-8])|iso8859-\d+|koi8-[ru]|mac-(roman|cyrillic)|euc_jp|iso2022_jp"
)


def decode(raw: bytes) -> str:
    """By byte order mark, else what the page states in its first 1,024 bytes, else UTF-8."""
    encoding = next((codec for mark, codec in _MARKS.items() if raw.startswith(mark)), None) or _stated(raw[:1024])
    try:
        return raw.decode(encoding, "me5-c1" if encoding.startswith("cp125") else "strict")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot be decoded as {encoding}: {error}; state its charset, or convert it") from error


def labelled(raw: bytes, label: str | None) -> str:
    """By a label as mail has it; where that is missing, unknown or wrong as UTF-8, and else as windows-1252."""
    for encoding in dict.fromkeys((_codec(label or "") or "utf-8", "utf-8")):
        try:
            return raw.decode(encoding, "me5-c1" if encoding.startswith("cp125") else "strict")
        except UnicodeDecodeError:
            continue
    return raw.decode("cp1252", "me5-c1")


def _stated(head: bytes) -> str:
    head = _COMMENT.sub(b"", head)
    labels = [xml[1]] if (xml := _XML.match(head)) else []
    for meta in _META.finditer(head):
        attributes = meta[1]
        # `charset=` within `content` counts where the tag says that it is a content type.
        if _CONTENT.search(attributes) and not _CONTENT_TYPE.search(attributes):
            attributes = attributes[: _CONTENT.search(attributes).start()]  # type: ignore[union-attr]
        if found := _CHARSET.search(attributes):
            labels.append(found[1])
    return next((codec for label in labels if (codec := _codec(label.decode("ascii")))), "utf-8")


def _codec(label: str) -> str | None:
    """The codec for a label, None for what no browser knows."""
    label = label.lower()
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except LookupError:
        return None
    name = _AS_BROWSERS.get(name, name)
    return name if _SAME.fullmatch(name) else None


def _control(error: UnicodeError) -> tuple[str, int]:
    """The five bytes to which windows-1252 gives no character are control characters to browsers."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(error.object[error.start]), error.start + 1


codecs.register_error("me5-c1", _control)
