"""Embedding inside pipelines of Ray Data: a class for `map_batches`, with what a bulk job does to a text."""

from typing import Any

import numpy as np

from me5.bulk.embedding import Entry, Rows, Tally, TextEmbedder
from me5.bulk.model import Model
from me5.bulk.read import Record, Unusable
from me5.bulk.table import Numbers, vector_columns
from me5.errors import InputError, described
from me5.prompts import Side


class Embed:
    """A callable that adds to an Arrow table the column `vector`, with int8 and binary `scale`, and `error`.

    A text that cannot be embedded gets a null vector and the reason in `error`, null elsewhere. `model` None is the
    bundled one. Equal texts of a batch are embedded once.
    """

    def __init__(
        self, model: Model | str | None = None, *, column: str = "text", side: Side = "document",
        task: str | None = None, vectors: Numbers = "f32",
    ) -> None:  # fmt: skip
        embedder = (model if isinstance(model, Model) else Model(model)).load()
        embedder.prompts.prefix(side, task)  # a task that does not fit is refused before any batch
        self._texts = TextEmbedder(embedder, side, task)
        self._column, self._numbers = column, vectors
        self._nothing = Rows([], np.empty((0, embedder.dim), np.float32), np.empty(0, np.bool_), {})

    def __call__(self, batch: Any) -> Any:
        """The same table with the new columns."""
        import pyarrow as pa

        if self._column not in batch.column_names:
            known = ", ".join(batch.column_names)
            raise InputError(f"there is no column {self._column!r} in the batch; it has {known}")
        entries = [_entry(number, value) for number, value in enumerate(batch[self._column].to_pylist())]
        blocks = list(self._texts.rows(entries, len(entries), Tally())) or [self._nothing]
        parts: dict[str, list[Any]] = {}
        for rows in blocks:
            columns = vector_columns(rows.vectors, self._numbers, rows.missing)
            reasons = [rows.reasons.get(place) for place in range(len(rows.entries))]
            for name, values in (columns | {"error": pa.array(reasons, pa.string())}).items():
                parts.setdefault(name, []).append(values)
        for name, several in parts.items():
            batch = batch.append_column(name, pa.chunked_array(several))
        return batch


def _entry(number: int, value: object) -> Entry:
    if isinstance(value, str):
        return Record(number, number, number, value)
    return Unusable(number, InputError(f"is {described(value)}, expected a text"))
