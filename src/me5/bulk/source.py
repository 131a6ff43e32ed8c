"""Where texts are and how to read them: a path or standard input, a format, and the names of the fields."""

import gzip
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from me5.errors import InputError

Format = Literal["text", "jsonl", "csv", "tsv", "parquet"]

_SUFFIXES: Mapping[str, Format] = {
    ".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Texts in a file, or on standard input (`path` None). Made by `source_of`; plain text has no fields."""

    path: Path | None
    format: Format
    fields: tuple[str, ...] = ()
    id_field: str | None = None

    @property
    def name(self) -> str:
        """What errors call it."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The fields to read: those of the text, then that of the id."""
        return self.fields if self.id_field is None else (*self.fields, self.id_field)

    @property
    def rereadable(self) -> bool:
        """Whether it can be read twice, unlike a pipe."""
        return self.path is not None and self.path.is_file()

    @property
    def packed(self) -> int | None:
        """The bytes of a compressed file, None for another."""
        return self.path.stat().st_size if self.path is not None and _gzipped(self.path) else None

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """The file as bytes, unpacked."""
        if self.path is None:
            return nullcontext(sys.stdin.buffer)
        return cast(IO[bytes], gzip.open(self.path, "rb")) if _gzipped(self.path) else self.path.open("rb")

    def where(self, at: int) -> str:
        """The place of a record in words."""
        return f"{self.name}, " + (f"row {at} (counted from 0)" if self.format == "parquet" else f"line {at}")

    def error(self, at: int, what: str) -> InputError:
        """An error that names the place of a record."""
        return InputError(f"{self.where(at)}: {what}")

    def option(self, name: str) -> str:
        """The option of the command line that chose a field."""
        return "--field" if name in self.fields else "--id-field"


def source_of(
    file: str, *, format: Format | None = None, fields: Sequence[str] = (), id_field: str | None = None  # noqa: A002
) -> Source:  # fmt: skip
    """The source that a command line names: a path, or `-` for standard input.

    `format` None goes by the suffix (`.gz` after it is unpacked), and is plain text for standard input; `fields`
    default to `text`. Raises `InputError` for what is not there, has no known format, or no fields to choose.
    """
    path = None if file == "-" else Path(file)
    if path is not None:
        _check_readable(path)
    chosen = format or _format_of(path)
    if chosen == "parquet" and (path is None or _gzipped(path) or not path.is_file()):
        raise InputError(f"Parquet can only be read from a plain file, got {file}; save or unpack it first")
    if chosen != "text":
        return Source(path, chosen, tuple(fields) or ("text",), id_field)
    if fields or id_field is not None:
        raise InputError(
            f"{file} is read as plain text, one text per line, and has no fields: leave "
            f"{'--field' if fields else '--id-field'} out, or name the format with --format jsonl, csv, tsv or parquet"
        )
    return Source(path, chosen)


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, expected a file; embed its files one at a time")


def _format_of(path: Path | None) -> Format:
    if path is None:
        return "text"
    inner = path.with_suffix("") if _gzipped(path) else path
    if (found := _SUFFIXES.get(inner.suffix.lower())) is not None:
        return found
    raise InputError(
        f"cannot tell the format of {path} from its name; expected one of {', '.join(_SUFFIXES)} (all but .parquet "
        "also with .gz after it), or name it with --format"
    )


def _gzipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"
