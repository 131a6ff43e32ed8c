"""Sources → records: plain text (one per line), JSONL, CSV, TSV and Parquet, one record at a time.

Nothing is skipped: what cannot be used is an `InputError` that names the file, the line, what came and what to do.
A blank line of plain text is an empty text, so that line n of the file is always row n of the result.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from me5.bulk.source import Source
from me5.errors import InputError
from me5.files.lines import TOO_LONG, RecordError, csv_records, lines

_UTF8_BOM = b"\xef\xbb\xbf"
_PARQUET_ROWS = 1024

# A row as its format gives it: its place, and the values of `Source.wanted` (of plain text: the line).
_Row = tuple[int, Sequence[object]]


class Record(NamedTuple):
    """One text. `at` is its line, from 1 (in Parquet its row, from 0); `id` without an id field its number, from 0."""

    at: int
    id: int | str
    text: str


def records(source: Source) -> Iterator[Record]:
    """Every record in order. Raises `InputError` at the first that cannot be used, or when there is none."""
    rows = {"text": _text, "jsonl": _jsonl, "parquet": _parquet}.get(source.format, _csv)
    kind: type | None = None
    number = -1
    for number, (at, values) in enumerate(rows(source)):
        text = _join(source, at, values)
        if source.id_field is None:
            yield Record(at, number, text)
            continue
        identity = _identity(source, at, values[-1])
        if kind not in (None, type(identity)):
            raise source.error(
                at, f"the id in {source.id_field!r} is {_told(identity)}, unlike those before it; make all of them "
                "strings or all of them integers"
            )  # fmt: skip
        kind = type(identity)
        yield Record(at, identity, text)
    if number < 0:
        raise InputError(f"{source.name} is empty: it holds no texts to embed")


def check(source: Source) -> int | None:
    """Read everything once, so that a bad row is found before hours of work, and count the records.

    None for what can be read only once, such as standard input.
    """
    return sum(1 for _ in records(source)) if source.rereadable else None


def _text(source: Source) -> Iterator[_Row]:
    for at, line in _lines(source):
        yield at, (line[:-2] if line.endswith("\r\n") else line.removesuffix("\n"),)


def _jsonl(source: Source) -> Iterator[_Row]:
    for at, line in _lines(source):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = f"invalid JSON ({error})" if line.strip() else "a blank line"
            raise source.error(at, f"{what}; expected one JSON object per line. Fix or delete the line") from error
        if not isinstance(row, dict):
            raise source.error(at, f'{_told(row)}, expected a JSON object such as {{"text": "…"}}; wrap the value')
        for name in source.wanted:
            if name not in row:
                raise source.error(
                    at, f"no field {name!r}, its fields are {_listed(list(row))}; add it, or name another with "
                    f"{source.option(name)}"
                )  # fmt: skip
        yield at, [row[name] for name in source.wanted]


def _csv(source: Source) -> Iterator[_Row]:
    delimiter, separator = ("\t", "tab") if source.format == "tsv" else (",", "comma")
    rows = csv_records((line for _, line in _lines(source)), delimiter)
    try:
        if (first := next(rows, None)) is None:
            return
        _, header = first
        _check_columns(source, header)
        picked = [header.index(name) for name in source.wanted]
        for at, cells in rows:
            if len(cells) != len(header):
                raise source.error(
                    at, f"a row of {len(cells)} columns, the header has {len(header)}; quote fields that hold a "
                    f"{separator} or a line break, or repair the row"
                )  # fmt: skip
            yield at, [cells[column] for column in picked]
    except RecordError as error:
        raise source.error(
            error.line, f"the record that starts here cannot be read as {source.format.upper()} ({error}); look for a "
            "quote that is not closed or not doubled"
        ) from error  # fmt: skip


def _parquet(source: Source) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    at = 0
    try:
        with pq.ParquetFile(source.path) as file:
            _check_columns(source, file.schema_arrow.names)
            _check_types(source, file.schema_arrow)
            for batch in file.iter_batches(_PARQUET_ROWS, columns=list(dict.fromkeys(source.wanted))):
                columns = [batch.column(name) for name in source.wanted]
                for row in range(batch.num_rows):
                    yield at, [column[row].as_py() for column in columns]
                    at += 1
    except UnicodeDecodeError as error:
        raise source.error(at, f"not valid UTF-8 ({error.reason}); write the column again as strings") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{source.name} cannot be read as Parquet: {error}") from error


def _lines(source: Source) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end). Only a line feed ends a line; a byte order mark is left out."""
    at = 0
    try:
        with source.open() as file:
            for at, raw in enumerate(lines(file, source.name, source.packed), 1):
                if raw is None:
                    raise source.error(at, TOO_LONG)
                yield at, (raw.removeprefix(_UTF8_BOM) if at == 1 else raw).decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        encoding = "UTF-16" if at == 1 and error.start == 0 and byte >= 0xFE else "WINDOWS-1252"
        raise source.error(
            at, f"byte {error.start + 1} (0x{byte:02x}) is not valid UTF-8; convert the file, for example with "
            f"`iconv -f {encoding} -t UTF-8`"
        ) from error  # fmt: skip
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source.name} cannot be read: {error}") from error


def _join(source: Source, at: int, values: Sequence[object]) -> str:
    """The text of a record; several fields are joined as E5 joins title and text."""
    if not source.fields:
        return str(values[0])
    texts: list[str] = []
    for name, value in zip(source.fields, values, strict=False):
        if not isinstance(value, str):
            raise source.error(
                at, f"field {name!r} is {_told(value)}, expected a string; fix or drop the row, or name another field "
                "with --field"
            )  # fmt: skip
        texts.append(value)
    return texts[0] if len(texts) == 1 else " ".join(texts).strip()


def _identity(source: Source, at: int, value: object) -> int | str:
    if isinstance(value, str) and _is_unicode(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63:
        return value
    raise source.error(
        at, f"the id in {source.id_field!r} is {_told(value)}, expected a string of valid Unicode or an integer of 64 "
        "bits; fix it, or leave --id-field out to number the texts"
    )  # fmt: skip


def _check_columns(source: Source, columns: Sequence[str]) -> None:
    counts = Counter(columns)
    for name in source.wanted:
        if counts[name] != 1:
            found = f"{counts[name]} columns {name!r}" if counts[name] else f"no column {name!r}"
            raise InputError(
                f"{source.name} has {found}; its columns are {_listed(columns)}. Name the right one with "
                f"{source.option(name)}"
            )


def _check_types(source: Source, schema: Any) -> None:
    import pyarrow.types as kinds

    for name in source.wanted:
        kind = schema.field(name).type
        plain = kind.value_type if kinds.is_dictionary(kind) else kind
        if kinds.is_string(plain) or kinds.is_large_string(plain) or kinds.is_string_view(plain):
            continue
        may_be_integer = name not in source.fields
        if not (may_be_integer and kinds.is_integer(plain)):
            raise InputError(
                f"column {name!r} of {source.name} holds {kind}, expected strings{' or integers' * may_be_integer}; "
                f"convert it, or name another with {source.option(name)}"
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _told(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    shown = repr(value)
    return f"{names.get(type(value), type(value).__name__)} ({shown if len(shown) <= 40 else shown[:37] + '...'})"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12]) or "none"
    return f"{shown}, …" if len(names) > 12 else shown
