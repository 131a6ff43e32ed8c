"""A dataset folder, as `contract` describes it: opened, verified, read as typed values."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from me5.data.contract import FORMAT, ID_DIGITS, SCHEMAS, TABLES, Document, Query, Relation, Table
from me5.errors import InputError
from me5.progress import Advance

ID_TYPE = f"S{ID_DIGITS // 2}"
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
# Rows that are read together.
_ROWS = 8192
Mask = npt.NDArray[np.bool_]
TextTable = Literal["documents", "queries"]
TEXT_TABLES: tuple[TextTable, ...] = get_args(TextTable)
_Value = TypeVar("_Value", Document, Query, Relation)


class Dataset:
    """A dataset folder, read a batch at a time. `open` verifies manifest and schemas; `checking.check` every row."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], files: Mapping[Table, Sequence[Path]]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.files = files

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Raises `InputError` where the folder is not a dataset, or not the one that its manifest tells of."""
        manifest = _manifest(folder)
        listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
        files = {table: _files(folder, table) for table in TABLES}
        there = {path.relative_to(folder).as_posix() for paths in files.values() for path in paths}
        if there != set(listed):
            odd = ", ".join(sorted(there ^ set(listed)))
            raise InputError(f"{folder} and its dataset.json differ in the files {odd}; make the dataset again")
        for table, paths in files.items():
            for path in paths:
                _verify(path, SCHEMAS[table], int(listed[path.relative_to(folder).as_posix()]["rows"]))
        return cls(folder, manifest, files)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by table, and relations by kind."""
        counts: Mapping[str, int] = self.manifest["counts"]
        return counts

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """What was done to make it, in order."""
        steps: Sequence[Mapping[str, Any]] = self.manifest["steps"]
        return steps

    @property
    def fingerprint(self) -> str:
        """One hash over the files' hashes: 64 hex digits; equal for equal data."""
        hashes = {name: entry["sha256"] for name, entry in self.manifest["files"].items()}
        return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()

    def table_fingerprint(self, table: Table) -> str:
        """One hash over the files of one table: 64 hex digits."""
        lines = [
            f"{name} {entry['sha256']}"
            for name, entry in sorted(self.manifest["files"].items())
            if name == f"{table}.parquet" or name.startswith(f"{table}/")
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def documents(self, *, start: int = 0, advance: Advance | None = None) -> Iterator[Document]:
        """The documents from row `start` on. `advance` is called with the number of rows read, now and then.

        Raises `InputError` naming file and row where one breaks the rules, as `queries` and `relations` do.
        """
        return (value for _, _, value in self.located("documents", Document, start=start, advance=advance))

    def queries(self, *, start: int = 0, advance: Advance | None = None) -> Iterator[Query]:
        """The queries from row `start` on."""
        return (value for _, _, value in self.located("queries", Query, start=start, advance=advance))

    def texts(self, table: TextTable, *, start: int = 0, advance: Advance | None = None) -> Iterator[Document | Query]:
        """The documents or the queries from row `start` on."""
        if table == "documents":
            yield from self.documents(start=start, advance=advance)
        else:
            yield from self.queries(start=start, advance=advance)

    def relations(self, *, advance: Advance | None = None) -> Iterator[Relation]:
        """All relations; those of one query stand together."""
        return (value for _, _, value in self.located("relations", Relation, advance=advance))

    def items(
        self,
        *,
        documents: Mask | None = None,
        queries: Mask | None = None,
        relations: Iterable[Relation] | None = None,
        advance: Advance | None = None,
    ) -> Iterator[Document | Query | Relation]:
        """All documents, queries and relations, as `write_dataset` takes them.

        Of documents and queries only the rows in the masks, bool (rows,), and in place of the relations the given ones.
        """
        yield from _kept(self.documents(advance=advance), documents)
        yield from _kept(self.queries(advance=advance), queries)
        yield from self.relations(advance=advance) if relations is None else relations

    def ids(self, table: TextTable) -> npt.NDArray[np.bytes_]:
        """The ids of a table by row, 12 bytes each, (rows,); `id_digits` writes one out."""
        return _joined([packed_ids(ids) for (ids,) in self.columns(table, "id")], ID_TYPE)

    def languages(self, table: TextTable) -> npt.NDArray[np.str_]:
        """The languages of a table by row, (rows,)."""
        return _joined([np.array(langs, np.str_) for (langs,) in self.columns(table, "lang")], np.str_)

    def columns(self, table: Table, *names: str) -> Iterator[list[list[Any]]]:
        """Some columns of a table as lists, a block of rows at a time, unchecked: where values would cost too much."""
        for path in self.files[table]:
            with explained(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS, columns=list(names)):
                    yield [batch.column(name).to_pylist() for name in names]

    def located(
        self, table: Table, make: type[_Value], *, start: int = 0, advance: Advance | None = None
    ) -> Iterator[tuple[Path, int, _Value]]:
        """The values of a table from row `start` on, each with its file and its row in that file, counted from 1."""
        for path in self.files[table]:
            with explained(path), pq.ParquetFile(path) as file:
                if start >= file.metadata.num_rows:
                    start -= file.metadata.num_rows
                    continue
                number = 0
                for batch in file.iter_batches(_ROWS):
                    skipped = min(start, batch.num_rows)
                    number, start = number + skipped, start - skipped
                    for row in batch.slice(skipped).to_pylist():
                        number += 1
                        yield path, number, _value(make, row, path, number)
                    if advance is not None:
                        advance(batch.num_rows - skipped, 0)


def packed_ids(ids: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Ids of 24 hex digits as 12 bytes each, (ids,); what is no id becomes one that no content has, all zeros."""
    return np.array([bytes.fromhex(name) if _ID.fullmatch(name) else b"" for name in ids], ID_TYPE)


def id_digits(packed: bytes) -> str:
    """The 24 hex digits of an id; numpy drops the zero bytes at its end."""
    return packed.ljust(ID_DIGITS // 2, b"\0").hex()


def _kept(values: Iterator[_Value], mask: Mask | None) -> Iterator[_Value]:
    return values if mask is None else compress(values, mask)


def _joined(blocks: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate(blocks) if blocks else np.empty(0, dtype)


def _value(make: type[_Value], row: dict[str, Any], path: Path, number: int) -> _Value:
    name = row.pop("id", None)
    try:
        value = make(**row)
        if not isinstance(value, Relation) and name != value.id:
            raise InputError(f"the id {name!r} is not that of its content, {value.id!r}")
    except InputError as error:
        raise InputError(f"{path}, row {number}: {error}") from error
    return value


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a broken file into an `InputError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / "dataset.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} is not a dataset: it has no dataset.json; make one with `me5 data read`") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(manifest, dict) or not {"format", "counts", "files", "steps"} <= set(manifest):
        raise InputError(f"{path} is not a manifest of a dataset: expected format, counts, files and steps")
    if manifest["format"] != FORMAT:
        raise InputError(f"{path} has format {manifest['format']!r}; this version of me5 reads format {FORMAT}")
    return manifest


def _files(folder: Path, table: Table) -> list[Path]:
    one, shards = folder / f"{table}.parquet", folder / table
    if one.exists() and shards.is_dir():
        raise InputError(f"{folder} has both {one.name} and a folder {table}; remove one of them")
    return [one] if one.exists() else sorted(shards.glob("*.parquet"))


def _verify(path: Path, schema: pa.Schema, rows: int) -> None:
    with explained(path), pq.ParquetFile(path) as file:
        found, counted = file.schema_arrow, file.metadata.num_rows
    if not found.remove_metadata().equals(schema):
        raise InputError(f"{path} has the columns {_columns(found)}; expected {_columns(schema)}")
    if counted != rows:
        raise InputError(f"{path} has {counted} rows, dataset.json says {rows}; make the dataset again")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name}: {column.type}" for column in schema)
