"""Lines and CSV records within a limit, so that no file, however small it is when packed, fills the memory."""

import csv
from collections.abc import Iterable, Iterator
from typing import IO

from me5.errors import InputError

# Bytes of a line, characters of a CSV record. A text of this length takes some 40 times as much memory as tokens.
LONGEST = 1 << 24
TOO_LONG = f"the line has more than {LONGEST >> 20} MiB, the most that is read; split it into several"
# Text seldom packs to less than a fiftieth; gzip can reach 1,030. Files that unpack to little may do what they like.
_RATIO = 200
_ALWAYS_UNPACKED = 1 << 30


class RecordError(csv.Error):
    """A record of CSV that cannot be read; `line` is where it starts, from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def lines(file: IO[bytes], name: str, packed: int | None = None) -> Iterator[bytes | None]:
    """Every line with its end. One longer than `LONGEST` is passed over without being held, and comes as None.

    `packed` is the size of a compressed file. Raises `InputError` with the `name` where it unpacks to over 200 times
    that.
    """
    most = None if packed is None else max(packed * _RATIO, _ALWAYS_UNPACKED)
    done = 0
    while line := file.readline(LONGEST + 1):
        done += len(line)
        if most is not None and done > most:
            raise InputError(
                f"{name} unpacks to more than {most:,} bytes, {_RATIO} times its size; if that is right, unpack it and "
                "read the unpacked file"
            )
        if len(line) <= LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield None


def csv_records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line from 1 where it starts, cells) of each record of CSV; blank lines are records without cells.

    A quote that never closes is an error and not one very long field. Raises `RecordError`.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    size = 0

    def counted() -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            if size > LONGEST:
                raise csv.Error(f"it has more than {LONGEST:,} characters, the most that is read")
            yield line

    reader = csv.reader(counted(), delimiter=delimiter, strict=True)
    at = 1
    try:
        for cells in reader:
            yield at, cells
            at, size = reader.line_num + 1, 0
    except csv.Error as error:
        raise RecordError(at, str(error)) from error
