"""Tasks as values: what a model is judged on, one dataclass per protocol."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Label = str | int


@dataclass(frozen=True)
class Subset:
    """Which figures these are: a task, one of its subsets (mteb's `hf_subset`), its split and its languages.

    `languages` are mteb's codes, such as `deu-Latn`. `sentence` is what instruct models are told for this very task,
    None where only its type says it.
    """

    task: str
    name: str
    languages: tuple[str, ...] = ("und",)
    split: str = "test"
    sentence: str | None = None

    def __str__(self) -> str:
        return f"{self.task}/{self.name}"


class Corpus:
    """Documents as (id, title and text as one), read anew at each pass, so that they need not fit in memory."""

    def __init__(self, source: Callable[[], Iterable[tuple[str, str]]], size: int) -> None:
        self._source = source
        self._size = size

    @classmethod
    def of(cls, documents: Mapping[str, str]) -> "Corpus":
        """Documents that are in memory already."""
        return cls(documents.items, len(documents))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._source())

    def __len__(self) -> int:
        return self._size

    def texts(self, wanted: Collection[str]) -> dict[str, str]:
        """The texts of a few documents, found in one pass."""
        chosen = set(wanted)
        return {name: text for name, text in self if name in chosen} if chosen else {}


@dataclass(frozen=True)
class Retrieval:
    """Find the relevant documents of each query.

    `relevant` maps query id -> document id -> grade; 0 is judged, and not relevant. `unjudged` counts the queries left
    out because nothing was judged for them.
    """

    subset: Subset
    documents: Corpus
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    unjudged: int = 0


@dataclass(frozen=True)
class Reranking:
    """Put the relevant ones of each query's own candidates first. `candidates` maps query id -> document ids."""

    subset: Subset
    documents: Corpus
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    candidates: Mapping[str, Sequence[str]]
    unjudged: int = 0


@dataclass(frozen=True)
class Bitext:
    """Find the translation of each `left` sentence among all of `right`: that of row n is `gold[n]`, or n itself."""

    subset: Subset
    left: Sequence[str]
    right: Sequence[str]
    gold: Sequence[int] | None = None


@dataclass(frozen=True)
class Similarity:
    """Similarity of two texts against human scores."""

    subset: Subset
    left: Sequence[str]
    right: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True)
class PairClassification:
    """Tell pairs that belong together (label 1) from others (0) by their similarity alone."""

    subset: Subset
    left: Sequence[str]
    right: Sequence[str]
    labels: Sequence[int]


@dataclass(frozen=True)
class Classification:
    """A linear probe on frozen vectors: texts to learn from, and texts to be judged on, each with its label."""

    subset: Subset
    train: Sequence[str]
    train_labels: Sequence[Label]
    test: Sequence[str]
    test_labels: Sequence[Label]


@dataclass(frozen=True)
class Clustering:
    """Clusters of vectors against labels; of several levels from coarse to fine, a text has one label each."""

    subset: Subset
    texts: Sequence[str]
    labels: Sequence[Sequence[Label]]


Task = Retrieval | Reranking | Bitext | Similarity | PairClassification | Classification | Clustering


@dataclass(frozen=True)
class Outcome:
    """What one protocol measured on one subset.

    `scores` are mteb's figures under mteb's names, `main` names the one that counts. `samples` maps example -> its own
    value, where the main figure is their mean. Where it is none, as with correlations, `paired` holds the columns that
    the figure is computed from (see `intervals.STATISTICS`). `shown` is what a report draws: histograms and failures.
    """

    scores: Mapping[str, float]
    main: str
    samples: Mapping[str, float] = field(default_factory=dict)
    paired: Mapping[str, Sequence[float]] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The figure that counts."""
        return self.scores[self.main]
