"""Connections to the LanceDB database that is a store."""

from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import lancedb
from lancedb.background_loop import LOOP

from me5.search.failures import FAILURES

T = TypeVar("T")
# The version of Lance's format for new tables. In 2.2, LanceDB's default, a column with one value in all rows takes
# five times as long to read as one with two; a search by vectors over 200,000 passages took 7.9 ms instead of 7.0.
_FORMAT = {"new_table_data_storage_version": "2.1"}
# A connection whose tables follow what is written, and an asynchronous one whose tables stay as they were opened.
Connections = tuple[Any, Any]


def connected(uri: str, storage_options: Mapping[str, str] | None) -> Connections:
    """Both connections to a database, with caches in common."""
    options, session = dict(storage_options) if storage_options else None, lancedb.Session()
    making = {**(options or {}), **_FORMAT}
    # 0: every read sees what other processes have written; None: a table stays at the version it was opened at.
    always = lancedb.connect(uri, read_consistency_interval=timedelta(0), storage_options=making, session=session)
    never = lancedb.connect_async(uri, read_consistency_interval=None, storage_options=options, session=session)
    return always, wait(never)


def wait(work: Coroutine[Any, Any, T]) -> T:
    """The result of what an asynchronous table does, on LanceDB's own thread."""
    result: T = LOOP.run(work)  # type: ignore[no-untyped-call]
    return result


def tables_of(connection: Any) -> set[str]:
    """The names of the tables of a database."""
    return set(connection.list_tables().tables or ())


def make(connection: Any, name: str, schema: Any) -> None:
    """Make a table, unless another writer has just made it."""
    try:
        connection.create_table(name, schema=schema)
    except FAILURES:
        if name not in tables_of(connection):
            raise
