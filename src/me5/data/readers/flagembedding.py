"""FlagEmbedding's JSONL: {"query", "pos": […], "neg": […], "pos_scores"?, "neg_scores"?, "prompt"?, "type"?}.

Rows of the types `symmetric_class` and `symmetric_clustering`, and files whose name ends in `no_in_batch_neg`, ask that
other rows' documents are no negatives, which examples cannot say: they are refused unless the options allow it.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from me5.data.contract import Example
from me5.data.readers.reading import Reading, listed
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.compression import bare_name
from me5.files.records import Row

NAME = "flagembedding"
_TYPES = ("normal", "only_1neg", "symmetric_sts")
_ALONE = ("symmetric_class", "symmetric_clustering")
_WAY_OUT = "read it all the same with --in-batch, as a source with its own small weight, or as classes of its own"


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether the first record looks like this format."""
    return "query" in first and "pos" in first


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some files."""
    for path in paths:
        if Path(bare_name(path)).stem.endswith("no_in_batch_neg") and not reading.options.in_batch:
            raise InputError(f"{path} asks for training without in-batch negatives, by its name; {_WAY_OUT}")
        yield from reading.convert(reading.records(path), partial(_examples, reading, reading.source_of(path)))


def _examples(reading: Reading, source: str, row: Row) -> Iterator[Example]:
    kind = row.get("type") or "normal"
    if kind in _ALONE and not reading.options.in_batch:
        raise InputError(f"the type {kind} asks for training without in-batch negatives; {_WAY_OUT}")
    if kind not in _TYPES + _ALONE:
        raise InputError(f"unknown type {kind!r}; expected {', '.join(_TYPES + _ALONE)}")
    query = reading.query(row.get("query"), instruction=row.get("prompt"))
    if not (positives := listed(row, "pos")):
        raise InputError("'pos' is an empty list: a query without a positive")
    yield from reading.examples(query, positives, source=source, scores=row.get("pos_scores"))
    negatives = listed(row, "neg", needed=False)
    yield from reading.examples(query, negatives, "negative", source=source, scores=row.get("neg_scores"))
