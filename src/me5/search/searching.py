"""A question's vector and words → hits from the store, and the best sentence of each."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Literal, get_args

from me5.errors import InputError, Me5Warning, caller
from me5.search import language
from me5.search.conditions import Condition
from me5.search.folding import Group, folded
from me5.search.fusion import CANDIDATES, WEIGHT, covered, fused
from me5.search.hits import COLUMNS, Hit
from me5.search.scale import ANYTHING, Cosines, Fit
from me5.search.snapshot import Snapshot
from me5.search.splitting import sentences
from me5.search.store import Store
from me5.vectors import Float32, paired_cosines

By = Literal["both", "vectors", "words"]
# What one search may ask for; LanceDB counts to 2^32.
MOST_HITS = 100_000
# Every term is looked up: 6,000 of them, in 200,000 passages, take half a second of processor time.
LONGEST_WORDS = 10_000
# Copies, and further passages of a document, take the places of hits: so many times as many rows are asked for, and
# where too few hits are left, so many times as many again, at most twice.
_SPARE, _ROUNDS = 4, 3
# The best passages of each side, by which is told whether words can match: at least so many of the nearest are in the
# question's language.
COMPARED, _NATIVE = 10, 3


@dataclass(frozen=True)
class Question:
    """What is asked of a store: see `Index.search`. Raises `InputError` for what cannot be asked."""

    text: str
    k: int = 10
    where: Condition | None = None
    by: By = "both"
    exact: bool = False
    weight: float | None = None
    group: Group | None = None
    fold: bool = True
    fit: Fit = ANYTHING

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError(f"a question is a string, got {type(self.text).__name__}")
        if not any(character.isprintable() and not character.isspace() for character in self.text):
            raise InputError(f"the question is empty ({self.text[:20]!r}): ask something")
        if self.by not in get_args(By):
            raise InputError(f"a search is by 'both', 'vectors' or 'words', got {self.by!r}")
        if self.by != "vectors" and len(self.text) > LONGEST_WORDS:
            raise InputError(
                f"the question has {len(self.text):,} characters; a search by words looks up at most "
                f"{LONGEST_WORDS:,}. Shorten it, or search by vectors alone"
            )
        if not 1 <= self.k <= MOST_HITS:
            raise InputError(f"k must be from 1 to {MOST_HITS:,}, got {self.k}")
        check_weight(self.weight, self.by)
        if self.by == "words" and self.fit.asked:
            raise InputError(
                "a search by words alone looks at no vectors, which probabilities are made of; search by both, or by "
                "vectors"
            )
        if self.group not in (None, "document"):
            raise InputError(f"group must be 'document' or None, got {self.group!r}")

    @property
    def share(self) -> float:
        """The weight of the vectors, the measured one unless another is given."""
        return WEIGHT if self.weight is None else self.weight


def check_weight(weight: float | None, by: str) -> None:
    """Raise `InputError` for a weight that is none, or that has nothing to weigh; None is for the measured one."""
    if weight is None:
        return
    if not 0 <= weight <= 1:
        raise InputError(f"the weight of the vectors must be from 0 to 1, got {weight}")
    if by != "both":
        raise InputError(f"a weight weighs vectors against words, and the search is by {by} alone; leave one out")


def find(
    store: Store,
    question: Question,
    vector: Float32 | None,
    *,
    cosines: Cosines | None = None,
    seconds: float | None = None,
) -> list[Hit]:
    """The hits for a question with this vector (dim,), which a search by words does without; best first.

    `cosines` is what says what theirs mean; without it, or by words, nobody does.

    Raises `InputError`, `CalibrationError` where nothing says which hits fit, and `TimeoutError` where the store takes
    longer than `seconds`.
    """
    deadline = None if seconds is None else monotonic() + seconds
    snapshot = store.snapshot()
    by = _with_words(snapshot, question.by)
    known = None if cosines is None or by == "words" else cosines
    scale = None if known is None else known.scale(snapshot, question.text, vector, question.fit)
    count, hits = question.k, list[Hit]()
    for _ in range(_ROUNDS):
        count *= _SPARE
        found = _ranked(snapshot, question, by, vector, count, deadline, all_cosines=scale is not None)
        fitting = found if scale is None else scale.of(found)
        hits = folded(fitting, question.k, fold=question.fold, group=question.group)
        # Among the nearest, whatever comes after one that does not fit does not fit either.
        ended = len(found) < count or (by == "vectors" and len(fitting) < len(found))
        if len(hits) >= question.k or ended:
            break
    return hits


def _with_words(snapshot: Snapshot, by: By) -> By:
    """What can be searched by: a store of an older me5 has no words until it is indexed again."""
    if by == "vectors" or snapshot.has_words:
        return by
    message = f"{snapshot.uri} has no index over its words yet; run `me5 index` over its files again (Index.finish)"
    if by == "words":
        raise InputError(f"{message}, or search by vectors")
    warnings.warn(f"{message}. Until then it is searched by vectors alone", Me5Warning, stacklevel=caller())
    return "vectors"


def _ranked(
    snapshot: Snapshot,
    question: Question,
    by: By,
    vector: Float32 | None,
    count: int,
    deadline: float | None,
    *,
    all_cosines: bool,
) -> list[Hit]:
    """The best passages, before copies are folded; where cosines are to be `told`, all have theirs."""
    if by == "words":
        rows = snapshot.matching(question.text, count, where=question.where, seconds=_left(deadline))
        return [Hit.of(row, float(row["_score"])) for row in rows]
    if vector is None:
        raise InputError(f"a search by {by} needs the vector of the question")
    if by == "vectors":
        return _by_vector(snapshot, question, vector, count, deadline)
    return _by_both(snapshot, question, vector, count, deadline, all_cosines=all_cosines)


def _left(deadline: float | None) -> float | None:
    """Seconds until a deadline; LanceDB wants some."""
    return None if deadline is None else max(deadline - monotonic(), 0.001)


def _by_vector(
    snapshot: Snapshot, question: Question, vector: Float32, count: int, deadline: float | None
) -> list[Hit]:
    rows = snapshot.nearest(vector, count, where=question.where, exact=question.exact, seconds=_left(deadline))
    return [Hit.of(row, _cosine(row), _cosine(row)) for row in rows]


def _by_both(
    snapshot: Snapshot, question: Question, vector: Float32, count: int, deadline: float | None, *, all_cosines: bool
) -> list[Hit]:
    candidates, where = max(count, CANDIDATES), question.where
    # Texts are read of those that are shown or looked at, not of all candidates: each column costs.
    near = snapshot.nearest(vector, candidates, where=where, exact=question.exact, columns=(), seconds=_left(deadline))
    matching = snapshot.matching(question.text, candidates, where=where, columns=(), seconds=_left(deadline))
    cosines = {row["_rowid"]: _cosine(row) for row in near}
    words = {row["_rowid"]: float(row["_score"]) for row in matching}
    nearest, best = list(cosines)[:COMPARED], list(words)[:COMPARED]
    rows = snapshot.take([*nearest, *best, *list(fused(cosines, words, question.share))[:count]])
    scores = fused(
        cosines,
        words,
        question.share,
        coverage=covered(question.text, (f"{rows[at]['title']} {rows[at]['text']}" for at in best)),
        # Where no words match it changes nothing, and its first time takes half a second.
        foreign=bool(words) and is_foreign(question.text, [rows[at] for at in nearest]),
    )
    first = list(scores)[:count]
    # What was found by its words alone is not among the nearest: its cosine is still to be computed.
    missing = [at for at in first if at not in cosines] if all_cosines else []
    heard = snapshot.take(missing, [*COLUMNS, "vector"])
    rows |= heard | snapshot.take(at for at in first if at not in rows and at not in heard)
    cosines |= {at: float(paired_cosines(vector, row["vector"])[0]) for at, row in heard.items()}
    return [Hit.of(rows[at], scores[at], cosines.get(at)) for at in first]


def is_foreign(question: str, near: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a question is in another language than most of the passages that are nearest to it."""
    asked = language.detect_question(question)
    native = sum(row["language"].partition("-")[0] == asked for row in near)
    return bool(asked) and native < min(_NATIVE, len(near))


def _cosine(row: Mapping[str, Any]) -> float:
    return 1 - float(row["_distance"])


def sentences_of(hits: Sequence[Hit]) -> list[str]:
    """Every sentence of every hit, in order: what `highlighted` wants the scores of."""
    return [hit.text[start:end] for hit in hits for start, end in sentences(hit.text)]


def highlighted(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """The hits with their best sentences, by a score for every sentence of `sentences_of`."""
    left: Iterator[float] = iter(scores)
    best = [max(((next(left), span) for span in sentences(hit.text)), default=(0.0, None))[1] for hit in hits]
    return [replace(hit, best=span) for hit, span in zip(hits, best, strict=True)]
