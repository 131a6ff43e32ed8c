"""Lines -> records of CSV, each within a limit."""

import csv
from collections.abc import Iterable, Iterator

from me5.files.lines import LONGEST


class CsvError(csv.Error):
    """A record of CSV that cannot be read; `line` is where it starts, from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def csv_records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line from 1 where it starts, cells) of each record of CSV; blank lines are records without cells.

    A quote that never closes is an error and not one very long field. Raises `CsvError`.
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
        raise CsvError(at, str(error).replace("\t", r"\t")) from error
