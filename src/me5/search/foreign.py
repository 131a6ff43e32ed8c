"""Rows of tables that me5 did not make: Parquet files and LanceDB tables, with the version that they are of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any

import lancedb

from me5.errors import InputError
from me5.files import parquet
from me5.search.failures import FAILURES, reason
from me5.search.files import Stamp, content_hash


@dataclass(frozen=True)
class ForeignTable:
    """A table to be read: its name, how many rows it has, and its columns. `version` changes with its content."""

    name: str
    version: str
    stamp: Stamp
    count: int
    columns: list[str]
    rows: Iterator[dict[str, Any]]


def opened(source: str, table: str | None, storage_options: Mapping[str, str] | None = None) -> ForeignTable:
    """A Parquet file, or a table of a LanceDB database in a folder or at a URL. Raises `InputError`."""
    path = Path(source)
    if "://" not in source and path.is_file():
        if table is not None:
            raise InputError(f"{source} is a file, and has no tables to choose {table!r} from")
        return ForeignTable(
            path.name, content_hash(source), Stamp.of(path.stat()), parquet.count(path),
            parquet.columns(path), parquet.rows(path),
        )  # fmt: skip
    if "://" not in source and not path.is_dir():
        raise InputError(f"{source} does not exist; expected a Parquet file, or a folder with a LanceDB database")
    try:
        return _of_lancedb(source, table, storage_options)
    except FAILURES as error:
        raise InputError(f"{source} cannot be read as a LanceDB database: {reason(error)}") from error


def _of_lancedb(source: str, table: str | None, storage_options: Mapping[str, str] | None) -> ForeignTable:
    connection = lancedb.connect(source, storage_options=dict(storage_options) if storage_options else None)
    names = list(connection.list_tables().tables or ())
    if table is None and len(names) == 1:
        (table,) = names
    if table not in names:
        what = "name one of its tables" if table is None else f"it has no table {table!r}"
        raise InputError(f"{source}: {what}: {', '.join(sorted(names)) or 'there are none'}")
    found = connection.open_table(table)
    batches = found.search().to_batches()
    rows = (row for batch in batches for row in batch.to_pylist())
    return ForeignTable(
        str(table), f"{found.uri if hasattr(found, 'uri') else source}@{found.version}",
        Stamp(int(found.version), time_ns()), int(found.count_rows()), list(found.schema.names), rows,
    )  # fmt: skip
