"""Where texts are and how to read them: a path or standard input, a format, and the names of the fields."""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from me5.errors import InputError
from me5.files.compression import bare_name
from me5.files.lines import BEGINNING, Start
from me5.files.objects import File, file_of
from me5.files.place import FileError, Place, Refuse, fail, name_of
from me5.files.records import FORMATS, PACKED, Records, format_of

Format = Literal["text", "jsonl", "csv", "tsv", "parquet"]


@dataclass(frozen=True)
class Source:
    """Texts in a file, or on standard input (`path` None). Made by `source_of`; plain text has no fields.

    `keep` are further fields that a record brings along.
    """

    path: File | None
    format: Format
    fields: tuple[str, ...] = ()
    id_field: str | None = None
    keep: tuple[str, ...] = ()
    id_option: str = "--id-field"

    @property
    def name(self) -> str:
        """What errors call it."""
        return name_of(self.path)

    @property
    def options(self) -> Mapping[str, str]:
        """The fields to read, and the option of the command line that chose each."""
        identity = {} if self.id_field is None else {self.id_field: self.id_option}
        return dict.fromkeys(self.keep, "--keep") | identity | dict.fromkeys(self.fields, "--field")

    def records(self, refuse: Refuse = fail, start: Start = BEGINNING) -> Records:
        """The records of a source that is not plain text, as `Records` reads them."""
        assert self.format != "text"
        return Records(self.path, self.format, self.options, only=True, refuse=refuse, start=start)

    @property
    def rereadable(self) -> bool:
        """Whether it can be read twice, unlike a pipe."""
        return self.path is not None and self.path.is_file()

    def error(self, at: int, what: str) -> InputError:
        """An error that names the place of a record."""
        return FileError(Place(self.name, at, "row" if self.format == "parquet" else "line"), what)


def source_of(
    file: str,
    *,
    format: Format | None = None,  # noqa: A002
    fields: Sequence[str] = (),
    id_field: str | None = None,
    keep: Sequence[str] = (),
    id_option: str = "--id-field",
) -> Source:
    """The source that a command line names: a path, or `-` for standard input.

    `format` None goes by the suffix, that of a compression aside, and is plain text for standard input; `fields`
    default to `text`; `id_option` is the option that chose `id_field`. Raises `InputError` for what is not there, has
    no known format, or no fields to choose.
    """
    path = None if file == "-" else file_of(file)
    if path is not None:
        _check_readable(path)
    source = Source(path, format or _format_of(path), tuple(fields) or ("text",), id_field, tuple(keep), id_option)
    if source.format != "text":
        source.records().check()
        return source
    if fields or id_field is not None or keep:
        option = "--field" if fields else "--keep" if keep else id_option
        raise InputError(
            f"{file} is read as plain text, one text per line, and has no fields: leave {option} out, or name the "
            "format with --format jsonl, csv, tsv or parquet"
        )
    return Source(path, "text")


def _check_readable(path: File) -> None:
    try:
        mode = path.stat().st_mode if isinstance(path, Path) else 0
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, expected a file; embed its files one at a time")


def _format_of(path: File | None) -> Format:
    if path is None or Path(bare_name(path)).suffix.lower() == ".txt":
        return "text"
    if (found := format_of(path)) is not None:
        return found
    raise InputError(
        f"cannot tell the format of {path} from its name; expected one of .txt, {', '.join(FORMATS)} ({PACKED}), or "
        "name it with --format"
    )
