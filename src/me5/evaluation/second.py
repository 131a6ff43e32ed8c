"""A second stage: a cross-encoder orders the best documents of each query anew; what is below them keeps its order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from me5.errors import InputError
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.exact import Ranking
from me5.evaluation.protocols import TYPES
from me5.evaluation.protocols.ranking import best_first, outcome, rank, rank_candidates
from me5.evaluation.task import Outcome, Reranking, Retrieval, Subset, Task
from me5.progress import Advance
from me5.reranker import Reranker

DEPTH = 50


@dataclass(frozen=True)
class SecondStage:
    """A cross-encoder that reads the best `depth` documents of an encoder's ranking.

    `first` keeps the encoder's rankings by set, for the next cross-encoder that is judged behind the same one.
    """

    reranker: Reranker
    depth: int = DEPTH
    first: dict[Subset, list[Ranking]] = field(default_factory=dict)

    def name(self, encoder: str) -> str:
        """What both together are called in results."""
        return f"{encoder} + {self.reranker.checkpoint.name}"

    def fingerprint(self, encoder: Encoder) -> str:
        """A fingerprint of everything that decides their order."""
        return f"{encoder.fingerprint}+{self.reranker.fingerprint(self.reranker.precision)}-{self.depth}"

    def pairs(self, task: Task) -> int:
        """How many pairs are read at most, for progress. Raises `InputError` for a set without documents to rank."""
        check_ranked(task)
        assert isinstance(task, Retrieval | Reranking)
        return len(task.queries) * min(self.depth, len(task.documents))

    def evaluate(
        self, task: Task, encoder: Encoder, prompts: Sequence[Prompt], advance: Advance | None = None
    ) -> Outcome:
        """The figures of both together."""
        check_ranked(task)
        assert isinstance(task, Retrieval | Reranking)
        if task.subset not in self.first:
            asking, answering = prompts
            if isinstance(task, Retrieval):
                ranked = rank(task, encoder, asking, answering, advance=advance).rankings
            else:
                ranked = rank_candidates(task, encoder, asking, answering, advance=advance)
            self.first[task.subset] = ranked
        return outcome(task, self._reordered(task, self.first[task.subset], advance), cosines=False)

    def _reordered(
        self, task: Retrieval | Reranking, rankings: Sequence[Ranking], advance: Advance | None
    ) -> list[Ranking]:
        """One pass over the corpus: the texts that are read are held in memory."""
        orders = [best_first(ranking) for ranking in rankings]
        texts = task.documents.texts({name for order in orders for name in order[: self.depth]})
        queries = list(task.queries.values())
        asked = [(at, name) for at, order in enumerate(orders) for name in order[: self.depth]]
        pairs = ((queries[at], texts[name]) for at, name in asked)
        logits = (float(logit) for block in self.reranker.stream(pairs, advance=advance) for logit in block)
        found: list[Ranking] = [{} for _ in orders]
        for (at, name), logit in zip(asked, logits, strict=True):
            found[at][name] = logit
        for order, ranking in zip(orders, found, strict=True):
            lowest = min(ranking.values(), default=0.0)
            ranking |= {name: lowest - place for place, name in enumerate(order[self.depth :], 1)}
        return found


def check_ranked(task: Task) -> None:
    """Raise `InputError` for a set without documents to rank."""
    if not isinstance(task, Retrieval | Reranking):
        raise InputError(
            f"{task.subset} is a set for {TYPES[type(task)]}, and a cross-encoder orders documents; name sets for "
            "retrieval or reranking alone"
        )
