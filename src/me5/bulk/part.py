"""One attempt at a part: reader thread → embedder → writer thread, joined by short queues; then the commit."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice, repeat
from pathlib import Path
from typing import IO, Any

from me5.bulk import dataset, inputs, table
from me5.bulk.commit import Commit, commit
from me5.bulk.embedding import Entry, Rows, Tally, TextEmbedder
from me5.bulk.folders import attempt_id
from me5.bulk.job import Job
from me5.bulk.plan import Part, Piece
from me5.bulk.read import Record, entries
from me5.errors import InputError, counted
from me5.files.atomic import explained, scratch
from me5.files.place import FileError
from me5.flow import ahead
from me5.progress import Advance

DATA, ERRORS = "data", "errors"
# Records that the reader is ahead of the embedder, at most twice.
_READ = 1024


class OutputError(InputError):
    """The job's folder cannot be written to: no other part would fare better."""


class Reader:
    """The records of pieces. The piece that follows the last one continues in the open file."""

    def __init__(self, job: Job) -> None:
        self._settings = job.settings
        self._kind = {None: None, "int64": int, "string": str}[job.manifest.columns.get("id")]
        self._next: tuple[str, int] | None = None
        self._open: Iterator[Entry] = iter(())

    def entries(self, part: Part) -> Iterator[tuple[str, Entry]]:
        """Every record of a part with its file. Raises `ChangedError` where an input is no longer the planned one."""
        for piece in part.pieces:
            inputs.check_unchanged(piece.file, piece.version)
            read = 0
            for entry in self._of(piece):
                yield piece.file, entry
                read += 1
            inputs.check_unchanged(piece.file, piece.version)
            if read != piece.records:
                raise FileError(
                    piece.file, f"has {counted(piece.records - read, 'record')} fewer than planned; restore it"
                )
            self._next = piece.file, piece.start.record + piece.records

    def _of(self, piece: Piece) -> Iterator[Entry]:
        if self._next != (piece.file, piece.start.record):
            self._open = entries(self._settings.source(piece.file), piece.start, self._kind)
        self._next = None
        return islice(self._open, piece.records)


def attempt(job: Job, part: Part, reader: Reader, embedder: TextEmbedder, advance: Advance | None = None) -> Commit:
    """Embed a part into files of its own, and commit them; of several attempts the first one to get here counts.

    Raises `OutputError`, `ChangedError`, `EngineError`, or `FileError` for an input that cannot be read.
    """
    started, clock = time.time(), time.perf_counter()
    name = f"{job.part_name(part.number)}.{attempt_id()}"
    data, errors = f"{DATA}/{name}.{job.settings.output}", f"{ERRORS}/{name}.parquet"
    tally, writer = Tally(), _Writer(job)
    write = _write_lance if job.settings.output == "lance" else _write
    fragment = write(job, data, _blocks(part, reader, embedder, tally, advance), writer)
    if writer.errors:
        _write_errors(job, errors, part, writer.errors)
    done = Commit(
        part=part.number, data=data, errors=errors if writer.errors else None, fragment=fragment,
        texts=writer.rows, refused=writer.refused, nulled=writer.nulled, bytes=_checked_size(job, data, part.rows),
        started=started, ended=time.time(), seconds=time.perf_counter() - clock, host=socket.gethostname(),
        memory=peak_memory(), **asdict(tally),
    )  # fmt: skip
    commit(job, done)
    return done


def peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    # Not ru_maxrss, which Linux starts at what the parent held.
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class _Writer:
    """Blocks of rows → a Parquet file; collects the errors of the rows."""

    def __init__(self, job: Job) -> None:
        self._settings = job.settings
        self.schema = job.manifest.arrow_schema()
        self.rows = self.refused = self.nulled = 0
        # file, row, id, reason
        self.errors: list[tuple[str, int, str | None, str]] = []

    def table(self, block: tuple[list[str], Rows]) -> Any:
        """Rows as a table of the job's columns."""
        import pyarrow as pa

        files, rows = block
        records = [entry if isinstance(entry, Record) else None for entry in rows.entries]
        reasons = {place: [reason] for place, reason in rows.reasons.items()}
        columns = table.vector_columns(rows.vectors, self._settings.vectors, rows.missing)
        columns |= {"file": pa.array(files), "row": pa.array([entry.number for entry in rows.entries], pa.int64())}
        for field in self.schema:
            if field.name not in columns:
                values = [None if record is None else self._value(record, field.name) for record in records]
                columns[field.name], wrong = table.column(values, field.type)
                self.nulled += len(wrong)
                for place, what in wrong.items():
                    reasons.setdefault(place, []).append(f"the value of {field.name!r} is {what}, and became null")
        for place, several in sorted(reasons.items()):
            entry, record = rows.entries[place], records[place]
            identity = str(record.id) if record is not None and self._settings.id_field is not None else None
            self.errors += [(files[place], entry.number, identity, reason) for reason in several]
        self.rows += len(files)
        self.refused += len(rows.reasons)
        return pa.table([columns[field.name] for field in self.schema], schema=self.schema)

    def _value(self, record: Record, name: str) -> Any:
        if name == "text":
            return record.text
        return record.id if name == "id" else record.values.get(name)


def _blocks(
    part: Part, reader: Reader, embedder: TextEmbedder, tally: Tally, advance: Advance | None
) -> Iterator[tuple[list[str], Rows]]:
    """The rows of a part in order, with the file of each, while another thread reads the next records."""
    source = reader.entries(part)
    files: list[str] = []

    def records() -> Iterator[Entry]:
        for _, block in ahead(lambda _: list(islice(source, _READ)), repeat(None), 1):
            if not block:
                return
            for file, entry in block:
                files.append(file)
                yield entry

    for rows in embedder.rows(records(), part.rows, tally, advance):
        count = len(rows.entries)
        yield files[:count], rows
        del files[:count]


def _write(job: Job, name: str, blocks: Iterator[tuple[list[str], Rows]], writer: _Writer) -> None:
    """Write a file while the next block is embedded."""
    with _output(), job.folder.writing(name) as file:
        _write_rows(file, blocks, writer)


def _write_lance(job: Job, name: str, blocks: Iterator[tuple[list[str], Rows]], writer: _Writer) -> Any:
    """The same as a Lance file; Lance pulls rows where we push them, so they wait in a file on the local disk."""
    with _output(), scratch("me5-bulk") as folder, explained(str(folder)):
        rows = folder / "rows.parquet"
        with rows.open("wb") as file:
            _write_rows(file, blocks, writer)
        return dataset.add(job.folder, name, rows)


def _write_rows(file: IO[bytes], blocks: Iterator[tuple[list[str], Rows]], writer: _Writer) -> None:
    with table.parquet_writer(file, writer.schema, ["file"]) as parquet:
        for _ in ahead(lambda block: parquet.write_table(writer.table(block)), blocks, 1):
            pass


def _write_errors(job: Job, name: str, part: Part, errors: list[tuple[str, int, str | None, str]]) -> None:
    import pyarrow as pa

    files, rows, ids, reasons = map(list, zip(*errors, strict=True))
    columns = {
        "part": pa.array([part.number] * len(errors), pa.int64()), "file": pa.array(files, pa.string()),
        "row": pa.array(rows, pa.int64()), "id": pa.array(ids, pa.string()), "reason": pa.array(reasons, pa.string()),
    }  # fmt: skip
    content = pa.table(columns)
    with _output(), job.folder.writing(name) as file, table.parquet_writer(file, content.schema, ["file"]) as parquet:
        parquet.write_table(content)


def _checked_size(job: Job, name: str, rows: int) -> int:
    """The bytes of a file that was written, once it is seen to have all rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _output(), job.folder.reading(name) as file:
            lance = job.settings.output == "lance"
            found = dataset.rows_in(job.folder, name) if lance else pq.read_metadata(file).num_rows
            size = file.seek(0, os.SEEK_END)
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"{job.folder.url}/{name} cannot be read back: {error}; check the disk") from error
    if found != rows:
        raise OutputError(f"{job.folder.url}/{name} was written with {rows:,} rows and reads back with {found:,}")
    return size


@contextmanager
def _output() -> Iterator[None]:
    """Tell what is wrong with the output from what is wrong with an input."""
    try:
        yield
    except FileError:
        raise
    except InputError as error:
        raise OutputError(str(error)) from error
