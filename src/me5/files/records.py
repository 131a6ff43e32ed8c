"""Records of JSONL, CSV, TSV and Parquet, one at a time, each with its place."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from me5.errors import InputError, counted, described
from me5.files import parquet
from me5.files.compression import SUFFIXES, bare_name, is_packed
from me5.files.csv import CsvError, csv_records
from me5.files.lines import BEGINNING, Start, lines
from me5.files.objects import File
from me5.files.place import FileError, Place, Refuse, fail, name_of
from me5.progress import Advance

Format = Literal["jsonl", "csv", "tsv", "parquet"]
Row = dict[str, Any]
FORMATS: Mapping[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
}  # fmt: skip
PACKED = f"all but .parquet also with {', '.join(SUFFIXES)} after it"
# What may stand between the columns of a CSV file, in the order in which its header is tried.
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


class Record(NamedTuple):
    """One record: where it stands, and its values by column."""

    place: Place
    values: Row

    def text(self, key: str) -> str:
        """A value that must be a string. Raises `FileError` where it is none."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise FileError(self.place, f"{no_string(key, value)}; fix or drop the record, or name another field")
        return value

    def id(self, *keys: str) -> str:
        """The id under the first of `keys` that there is. Raises `FileError` where there is none."""
        try:
            return id_of(self.values, *keys)
        except InputError as error:
            raise FileError(self.place, str(error)) from error


@dataclass(frozen=True)
class Records:
    """A file of records and how to read it; iterating reads it from the start.

    `path` None is standard input. `format` None goes by the name. `wanted` maps the columns that every record must have
    to what a user names them with, for errors; with `only` no others are read. What cannot be used goes to `refuse`.
    `advance` is called with the bytes of the file that were read since its last call. `start` is where reading begins,
    in CSV always the first record.
    """

    path: File | None
    format: Format | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)
    only: bool = False
    refuse: Refuse = fail
    advance: Advance | None = None
    start: Start = BEGINNING

    def __iter__(self) -> Iterator[Record]:
        """Every record in order. Raises `FileError` for a file that cannot be read; one without records has none."""
        form = self.check()
        if form == "jsonl":
            return self._jsonl()
        if form == "parquet":
            return self._parquet()
        return self._csv("\t" if form == "tsv" else None)

    def check(self) -> Format:
        """The format. Raises `FileError` where it is not known, or cannot be read from such a file."""
        form = self.format or (None if self.path is None else format_of(self.path))
        if form is None:
            raise FileError(self.name, f"is not a file of records: expected {', '.join(FORMATS)} ({PACKED})")
        if form == "parquet" and (self.path is None or is_packed(self.path) or self.path.is_fifo()):
            raise InputError(f"Parquet can only be read from a plain file, got {self.name}; save or unpack it first")
        return form

    @property
    def name(self) -> str:
        """What errors call the file."""
        return name_of(self.path)

    def _jsonl(self) -> Iterator[Record]:
        name, wanted = self.name, self.wanted.keys()
        for at, line in lines(self.path, refuse=self.refuse, advance=self.advance, start=self.start):
            if not line or line.isspace():
                continue
            place = Place(name, at)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.refuse(place, f"invalid JSON ({error}); expected one JSON object per line. Fix or delete the line")
                continue
            if not isinstance(row, dict):
                shown = "null" if row is None else described(row)
                self.refuse(place, f'{shown}, expected a JSON object such as {{"text": "…"}}; wrap the value')
            elif not wanted <= row.keys():
                missing = next(name for name in self.wanted if name not in row)
                self.refuse(
                    place, f"no field {missing!r}, its fields are {listed(list(row))}; add it, or name another with "
                    f"{self.wanted[missing]}"
                )  # fmt: skip
            else:
                yield Record(place, row)

    def _csv(self, delimiter: str | None) -> Iterator[Record]:
        # A line that is no text ends the reading: what follows it could belong to its record. Programs of old end lines
        # with a carriage return alone.
        text = (part + "\n" for _, line in lines(self.path, advance=self.advance) for part in line.split("\r"))
        first = next(text, "")
        delimiter = delimiter or self._delimiter(first)
        rows = ((at, cells) for at, cells in csv_records(chain([first], text), delimiter) if cells)
        try:
            _, header = next(rows, (1, None))
            if header is None:
                return
            self._check_columns(header)
            name = self.name
            kept = {name: column for column, name in enumerate(header) if not self.only or name in self.wanted}
            for at, cells in rows:
                place = Place(name, at)
                if len(cells) == len(header):
                    yield Record(place, {name: cells[column] for name, column in kept.items()})
                    continue
                self.refuse(
                    place, f"a row of {counted(len(cells), 'column')}, the header has {len(header)}; quote fields "
                    f"that hold a {_DELIMITERS[delimiter]} or a line break, or repair the row"
                )  # fmt: skip
        except CsvError as error:
            raise FileError(
                Place(self.name, error.line), f"the record that starts here cannot be read ({error}); look for a quote "
                "that is not closed or not doubled"
            ) from error  # fmt: skip

    def _delimiter(self, header: str) -> str:
        """The first delimiter by which the header has the columns that are wanted."""
        for delimiter in _DELIMITERS if self.wanted else ",":
            try:
                _, names = next(csv_records([header], delimiter))
            except CsvError:
                continue
            if set(self.wanted) <= set(names):
                return delimiter
        return max(_DELIMITERS, key=header.count) if self.wanted else ","

    def _parquet(self) -> Iterator[Record]:
        assert self.path is not None
        self._check_columns(parquet.columns(self.path))
        name, kept = self.name, list(self.wanted) if self.only else None
        first = self.start.record
        for at, values in enumerate(parquet.rows(self.path, kept, advance=self.advance, start=first), first):
            place = Place(name, at, "row")
            if (long := parquet.too_long(values)) is not None:
                self.refuse(place, long)
            else:
                yield Record(place, values)

    def _check_columns(self, names: Sequence[str]) -> None:
        counts = Counter(names)
        for name in self.wanted or names:
            if counts[name] != 1:
                found = f"{counts[name]} columns {name!r}" if counts[name] else f"no column {name!r}"
                way_out = f"Name the right one with {self.wanted[name]}" if self.wanted else "Rename one of them"
                raise FileError(self.name, f"has {found}; its columns are {listed(names)}. {way_out}")


def format_of(path: File) -> Format | None:
    """How a file of records is read, by its name; None for another."""
    return FORMATS.get(Path(bare_name(path)).suffix.lower())


def records(path: Path, advance: Advance | None = None) -> Iterator[Record]:
    """Every record of a file, all columns. Raises `FileError` at the first that cannot be used."""
    return iter(Records(path, advance=advance))


def id_of(values: Mapping[str, Any], *keys: str) -> str:
    """The id of a record, under the first of `keys` that it has; numbers count as their digits, as in mteb."""
    value = next((values[key] for key in keys if values.get(key) is not None), None)
    if isinstance(value, bool) or not isinstance(value, str | int):
        wanted = " or ".join(f'"{key}"' for key in keys)
        raise InputError(f"expected an id under {wanted}, got {value!r:.60}; it has {', '.join(list(values)[:8])}")
    return str(value)


def no_string(name: str, value: object) -> str:
    """What is wrong with a field that must be a string."""
    return f"field {name!r} is {'null' if value is None else described(value)}, expected a string"


def listed(names: Sequence[str]) -> str:
    """Names of fields in an error's text."""
    shown = ", ".join(repr(name) for name in names[:12]) or "none"
    return f"{shown}, …" if len(names) > 12 else shown
