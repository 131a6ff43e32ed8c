"""Tasks as values: what a model is judged on, one dataclass per protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Subset:
    """Which figures these are: a task, one of its subsets (mteb's `hf_subset`) and its languages."""

    task: str
    name: str
    languages: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.task}/{self.name}"


@dataclass(frozen=True)
class Retrieval:
    """Find the relevant documents of each query.

    `documents` maps id -> title and text as one. `relevant` maps query id -> document id -> grade; 0 is judged, and not
    relevant. `unjudged` counts the queries left out because nothing is relevant to them.
    """

    subset: Subset
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    unjudged: int = 0


@dataclass(frozen=True)
class Bitext:
    """Find the translation of each `left` sentence among all of `right`; row n belongs to row n."""

    subset: Subset
    left: Sequence[str]
    right: Sequence[str]


@dataclass(frozen=True)
class Similarity:
    """Similarity of two texts against human scores."""

    subset: Subset
    left: Sequence[str]
    right: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True)
class Classification:
    """A linear probe on frozen vectors: texts to learn from, and texts to be judged on, each with its label."""

    subset: Subset
    train: Sequence[str]
    train_labels: Sequence[str]
    test: Sequence[str]
    test_labels: Sequence[str]


Task = Retrieval | Bitext | Similarity | Classification


@dataclass(frozen=True)
class Outcome:
    """What one protocol measured on one subset.

    `scores` are mteb's figures under mteb's names, `main` names the one that counts. `samples` maps example -> the main
    figure of that example alone, where the main figure is their mean; empty where it is not.
    """

    scores: Mapping[str, float]
    main: str
    samples: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The figure that counts."""
        return self.scores[self.main]
