"""A store migrated to another model: the passages embedded anew, beside the old ones that are searched meanwhile.

The new passages are a table of their own, so that a run that was killed goes on where it was, and one commit decides
which table is read. Files may be indexed meanwhile: what was added is embedded too, and what was removed goes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from me5.embedder import Embedder
from me5.errors import InputError
from me5.progress import Advance, track
from me5.search import recall
from me5.search.conditions import any_of
from me5.search.planning import Pace
from me5.search.recall import Recall
from me5.search.schema import Row
from me5.search.settings import StoreSettings
from me5.search.splitting import Splitter, written
from me5.search.store import Store
from me5.search.upgrading import add_words

_ROW = tuple(Row.__dataclass_fields__)
# Ids that one condition lists.
_LISTED = 500


@dataclass
class Migration:
    """What a migration did. `truncated` passages are longer than the new model reads, and lost their ends.

    `kept` were there already, from a run that was interrupted. `recall` is that of the index over the new vectors.
    """

    model: str
    precision: str
    passages: int = 0
    kept: int = 0
    tokens: int = 0
    truncated: int = 0
    seconds: float = 0.0
    recall: Recall | None = None


def migrate(store: Store, embedder: Embedder, *, pays_from: int, show: bool = False) -> tuple[Store, Migration]:
    """Migrate a store to a model, and return it as it is then, with what was done.

    Raises `InputError` for the model that it has, for one that reads too little, and beside the migration to another.
    """
    started = perf_counter()
    wanted = _wanted(store.settings, embedder)
    under_way = store.successor()
    if under_way is not None and not _same(under_way.settings, wanted):
        raise InputError(
            f"{store.uri} is being migrated to {under_way.settings.model} ({under_way.settings.precision}), got "
            f"{wanted.model} ({wanted.precision}); finish that one, or give it up (`me5 index migrate --give-up`)"
        )
    new = store.successor(wanted)
    assert new is not None
    done = Migration(wanted.model, wanted.precision)
    add_words(store)
    done.kept = new.count()
    with track(store.count() - done.kept, show=show, description="Embedding", unit="texts") as advance:
        _fill(store, new, embedder, done, advance)
        new.index_words()
        if recall.pays(new, pays_from):
            done.recall = recall.train(new, embedder)
        _fill(store, new, embedder, done, advance)  # what was indexed while the indexes were built
        new.take_over()
        _fill(store, new, embedder, done, advance)  # and what a writer had just begun
    settle(new)
    new.tidy()
    done.seconds = perf_counter() - started
    return new, done


def settle(store: Store) -> None:
    """Drop what a migration has left behind. Files whose passages are not all there are read again by the next run."""
    if not store.drop_older():
        return
    there, known = store.versions(), store.known_files()
    lost = [name for name, file in known.items() if there.get(name, Counter())[file.version] != file.passages]
    for at in range(0, len(lost), _LISTED):
        store.forget(lost[at : at + _LISTED])


def _wanted(old: StoreSettings, embedder: Embedder) -> StoreSettings:
    """How the store is to be made."""
    wanted = StoreSettings.of(embedder, embedder.precision, passage_tokens=old.passage_tokens)
    if _same(old, wanted):
        raise InputError(f"this store was made with {wanted.model} at {wanted.precision}; there is nothing to change")
    Splitter(embedder, old.passage_tokens)  # refuses a model that reads less than the passages have
    return wanted


def _same(one: StoreSettings, other: StoreSettings) -> bool:
    return (one.fingerprint, one.prompts, one.dim, one.precision) == (
        other.fingerprint, other.prompts, other.dim, other.precision,
    )  # fmt: skip


def _fill(old: Store, new: Store, embedder: Embedder, done: Migration, advance: Advance) -> None:
    """Make the new passages the same as the old ones: embed what is missing, drop what is gone."""
    source = old.snapshot()
    wanted, there = source.ids(), new.snapshot().ids()
    gone = sorted(there.keys() - wanted.keys())
    for at in range(0, len(gone), _LISTED):
        new.delete_passages(str(any_of("id", gone[at : at + _LISTED])))
    missing = [at for name, at in wanted.items() if name not in there]
    pace, first = Pace(), 0
    while first < len(missing):
        clock = perf_counter()
        rows = list(source.take(missing[first : first + pace.size], _ROW).values())
        first += pace.size
        done.passages += new.add([Row(**{name: row[name] for name in _ROW}) for row in rows], _embedded(
            rows, embedder, new.settings.passage_tokens, done,
        ))  # fmt: skip
        advance(len(rows), 0)
        pace.took(perf_counter() - clock)


def _embedded(rows: Sequence[dict[str, Any]], embedder: Embedder, passage_tokens: int, done: Migration) -> Any:
    """Vectors of passages (rows, dim); a text that is there several times is read once."""
    longest = Splitter(embedder, passage_tokens).longest_title
    texts = {row["key"]: written(row["title"], row["text"], longest) for row in rows}
    prepared = embedder.prepare(list(texts.values()), "document", truncation="end")
    done.tokens += sum(prepared.report.tokens)
    done.truncated += len(prepared.report.truncated)
    vectors = dict(zip(texts, embedder.run(prepared), strict=True))
    return np.stack([vectors[row["key"]] for row in rows])
