"""Stores of an older me5: what their tables lack is added, and files get the names that they have today."""

from functools import partial
from typing import Any

import pyarrow as pa

from me5.search.conditions import quoted
from me5.search.schema import FILES, WORDS, WORDS_OF_ID, words_of
from me5.search.store import Store

# Passages whose words are added at a time.
_AT_A_TIME = 10_000


def relocate(store: Store, path: str, name: str) -> None:
    """Call files by their root where an older me5 called them by their absolute paths."""
    where = f"source = {quoted(path)} OR starts_with(source, {quoted(path + '/')})"
    values = {"source": f"concat({quoted(name)}, substr(source, {len(path) + 1}))"}
    for table in (store.passages, store.files):
        if table.count_rows(where):
            store.committed(partial(table.update, where=where, values_sql=values))


def upgrade(store: Store) -> None:
    """Add the columns that the tables lack, before something is written."""
    _add_column(store, store.files, FILES.field("problems"))
    _add_column(store, store.passages, WORDS)


def add_words(store: Store) -> None:
    """Add the words to passages that an older me5 stored without them."""
    _add_column(store, store.passages, WORDS)
    while rows := store.without_words(_AT_A_TIME):
        columns = {
            "id": [row["id"] for row in rows],
            "words": [words_of(row["title"], row["text"]) for row in rows],
        }
        table = pa.table(columns, schema=WORDS_OF_ID)
        store.committed(partial(store.passages.merge_insert("id").when_matched_update_all().execute, table))


def _add_column(store: Store, table: Any, column: pa.Field) -> None:
    def write() -> None:
        if column.name not in table.schema.names:  # another writer may have been faster
            table.add_columns(column)

    store.committed(write)
