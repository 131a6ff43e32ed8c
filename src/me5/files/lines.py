"""Lines of text from files of any size, each within a limit, so that no file fills the memory.

UTF-8 with or without a byte order mark, UTF-16 with one. A line ends with a line feed, or with a carriage return and a
line feed.
"""

import codecs
import io
from collections.abc import Iterator
from typing import IO, NamedTuple

from me5.files.compression import RATIO, Opened, opened
from me5.files.objects import File
from me5.files.place import FileError, Place, Refuse, fail, name_of
from me5.progress import Advance

# Bytes of a line, characters of a CSV record or of a text in Parquet. A text of this length takes some 40 times as much
# memory as tokens.
LONGEST = 1 << 24
TOO_LONG = f"the line has more than {LONGEST >> 20} MiB, the most that is read; split it into several"
NO_TEXT = "holds NUL characters, so it is not text, or UTF-16 without a byte order mark"
_CONVERT = "convert the file, for example with `iconv -f {} -t UTF-8`"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Lines between two moves of a progress bar.
_AT_ONCE = 1024


class Start(NamedTuple):
    """Where reading may begin within a file: so many records, bytes and lines lie before. No bytes: read and skip."""

    record: int = 0
    byte: int = 0
    line: int = 0


BEGINNING = Start()


def lines(
    path: File | None, *, refuse: Refuse = fail, advance: Advance | None = None, start: Start = BEGINNING
) -> Iterator[tuple[int, str]]:  # fmt: skip
    """(number from 1, line without its end) of a file, compressed or not; None is standard input.

    A line that is too long or no text goes to `refuse`, and is passed over if that returns. `advance` is called with
    the bytes of the file that were read since its last call. `start` is one of `starts`. Raises `FileError`.
    """
    name = name_of(path)
    number = done = 0
    with opened(path) as file:
        if start.byte:
            file.stream.seek(start.byte)
            numbered = enumerate(raw_lines(file.stream, name), start.line + 1)
        else:
            numbered = enumerate(_lines(file, name), 1)
        for number, raw in numbered:
            line, reason = _decoded(raw)
            if reason is None:
                yield number, line
            else:
                refuse(Place(name, number), reason)
            if advance is not None and number % _AT_ONCE == 0:
                advance(-done + (done := file.underneath.tell()), 0)
        if advance is not None:
            advance(file.underneath.tell() - done, 0)


def starts(path: File, every: int, *, blank: bool) -> tuple[list[Start], int]:
    """Where every so many lines of a file begin, and the number of its lines; `blank` ones count if they are wanted.

    Starts within a file that is compressed or in UTF-16 have no bytes. Raises `FileError`.
    """
    found, count, following = [Start()], 0, Start()
    with opened(path) as file:
        plain = file.most is None and encoding_of(file.stream.peek(2)) != "utf-16"  # type: ignore[attr-defined]
        for number, raw in enumerate(_lines(file, str(path)), 1):
            if not blank and _is_blank(raw):
                continue
            if following.record:
                found.append(following)
            count += 1
            following = Start()
            if count % every == 0:
                following = Start(count, file.stream.tell(), number) if plain else Start(count)
    return found, count


def raw_lines(file: IO[bytes], name: str, most: int | None = None) -> Iterator[bytes | None]:
    """Every line with its end. One longer than `LONGEST` is passed over without being held, and comes as None.

    Raises `FileError` where there are more than `most` bytes.
    """
    done = 0
    while line := file.readline(LONGEST + 1):
        done += len(line)
        if most is not None and done > most:
            raise FileError(
                name, f"unpacks to more than {most:,} bytes, {RATIO} times its size; if that is right, unpack it and "
                "read the unpacked file"
            )  # fmt: skip
        if len(line) <= LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield None


def encoding_of(raw: bytes) -> str:
    """The encoding of a text that begins with these bytes: UTF-16 by its byte order mark, else UTF-8."""
    return "utf-16" if raw.startswith(_UTF16) else "utf-8-sig"


def not_unicode(error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that are no text, and what to do."""
    byte, encoding = error.object[error.start], error.encoding.upper().removesuffix("-SIG")
    todo = _CONVERT.format("WINDOWS-1252") if encoding == "UTF-8" else "save the file again as UTF-8"
    return f"byte {error.start + 1:,} (0x{byte:02x}) is not valid {encoding}; {todo}"


def _lines(file: Opened, name: str) -> Iterator[bytes | None]:
    """The lines in UTF-8, without a byte order mark."""
    stream = file.stream
    if encoding_of(stream.peek(2)) == "utf-16":  # type: ignore[attr-defined]
        text = io.TextIOWrapper(stream, "utf-16", newline="\n")
        yield from raw_lines(_FromUtf16(text, name), name, file.most)  # type: ignore[arg-type]
        text.detach()  # which would close the file
        return
    for number, raw in enumerate(raw_lines(stream, name, file.most)):
        yield raw.removeprefix(codecs.BOM_UTF8) if number == 0 and raw is not None else raw


def _is_blank(raw: bytes | None) -> bool:
    """Whether a line has nothing but white space of any script, seen from its bytes as far as possible."""
    if raw is None:
        return False
    first = raw.lstrip()[:1]
    return not first or (not b" " < first < b"\x80" and _decoded(raw)[0].isspace())


def _decoded(raw: bytes | None) -> tuple[str, str | None]:
    """A line without its end, and why it cannot be used."""
    if raw is None:
        return "", TOO_LONG
    if b"\0" in raw:
        return "", f"the line {NO_TEXT}; {_CONVERT.format('UTF-16LE')}"
    try:
        return (raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")).decode(), None
    except UnicodeDecodeError as error:
        return "", not_unicode(error)


class _FromUtf16:
    """The lines of a text as UTF-8."""

    def __init__(self, text: io.TextIOWrapper, name: str) -> None:
        self._text, self._name, self._line = text, name, 0

    def readline(self, size: int) -> bytes:
        self._line += 1
        try:
            return self._text.readline(size).encode()
        except UnicodeDecodeError as error:
            raise FileError(
                Place(self._name, self._line), f"this line or one after it is not valid UTF-16 ({error.reason}); save "
                "the file again as UTF-8"
            ) from error  # fmt: skip
