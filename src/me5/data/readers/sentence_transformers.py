"""sentence-transformers' tables, where the order of columns counts: anchor, positive[, negative, …] or two and a label.

A label is a column called label, labels, score or scores. 1 and 0 are positive and negative; of other values the option
`positive_from` says from which on a pair is positive, and the value stays as the relation's label. Every other column
is a text: the first is the query, the second the positive, all others negatives, whatever they are called.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

from me5.data.contract import Example, Kind
from me5.data.readers.reading import Reading
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import Row

NAME = "sentence-transformers"
_LABELS = ("label", "labels", "score", "scores")
# Names by which its documentation calls the first two columns; others need the format to be named.
_PAIRS = (
    {"anchor", "positive"}, {"sentence1", "sentence2"}, {"sentence_A", "sentence_B"}, {"english", "non_english"},
    {"premise", "hypothesis"}, {"question", "answer"}, {"query", "answer"}, {"text1", "text2"}, {"query", "passage"},
)  # fmt: skip


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether the first record looks like this format."""
    return set(list(first)[:2]) in _PAIRS and all(
        name.startswith("negative") or name in _LABELS for name in list(first)[2:]
    )


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some files."""
    for path in paths:
        yield from reading.convert(reading.records(path), partial(_examples, reading, reading.source_of(path)))


def _examples(reading: Reading, source: str, row: Row) -> Iterator[Example]:
    columns = reading.options.columns or tuple(row)
    if missing := [name for name in columns if name not in row]:
        raise InputError(f"no column {missing[0]!r}; there are {', '.join(row)}")
    labels = [name for name in columns if name in _LABELS]
    texts = [name for name in columns if name not in _LABELS]
    for name in texts:
        if not isinstance(row[name], str):
            raise InputError(
                f"the column {name!r} holds {type(row[name]).__name__} ({row[name]!r:.40}), and every column counts "
                f"as a text; choose columns with --columns {','.join(texts[:2])}"
            )
    if len(texts) < 2 or len(labels) > 1 or (labels and len(texts) > 2):
        raise InputError(
            f"columns {', '.join(columns)}; expected anchor, positive[, negative, …] or two texts and a label"
        )
    query, (second, *others) = reading.query(row[texts[0]]), [row[name] for name in texts[1:]]
    if labels:
        label, kind = _judged(row[labels[0]], reading.options.positive_from)
        for example in reading.examples(query, [second], kind, source=source):
            yield Example(query, example.document, kind, label, None, None, source, example.licence)
        return
    yield from reading.examples(query, [second], source=source)
    yield from reading.examples(query, others, "negative", source=source)


def _judged(value: object, positive_from: float | None) -> tuple[float, Kind]:
    try:
        label = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"expected a number as label, got {value!r:.60}") from error
    if not isfinite(label):
        raise InputError(f"expected a finite number as label, got {value!r:.60}")
    if positive_from is not None:
        return label, "positive" if label >= positive_from else "negative"
    if label not in (0, 1):
        raise InputError(
            f"the label {label:g} is neither 0 nor 1; say from which on pairs are positive: --positive-from"
        )
    return label, "positive" if label == 1 else "negative"
