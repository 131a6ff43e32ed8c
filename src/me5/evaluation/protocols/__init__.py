"""One protocol per task type, as mteb 2 has them: which texts are embedded, with which prompt, and what is computed."""

from collections.abc import Mapping

from me5.calibration.applied import Calibration
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.protocols import bitext, labels, pairs, ranking
from me5.evaluation.sentences import TYPE_SENTENCES
from me5.evaluation.task import (
    Bitext,
    Classification,
    Clustering,
    Outcome,
    PairClassification,
    Reranking,
    Retrieval,
    Similarity,
    Task,
)
from me5.progress import Advance
from me5.prompts import Side

# mteb's name of each task type.
TYPES: Mapping[type, str] = {
    Retrieval: "Retrieval",
    Reranking: "Reranking",
    Bitext: "BitextMining",
    Similarity: "STS",
    PairClassification: "PairClassification",
    Classification: "Classification",
    Clustering: "Clustering",
}
# In these the two sides differ; in all others every text carries the same prompt.
TWO_SIDED = {"Retrieval", "Reranking"}


def texts_of(task: Task) -> int:
    """How many texts a task embeds, for progress."""
    if isinstance(task, Retrieval):
        return len(task.queries) + len(task.documents)
    if isinstance(task, Reranking):
        return len(task.queries) + len(set().union(*task.candidates.values()))
    if isinstance(task, Classification):
        return len(set().union(*labels.samples(task.train_labels))) + len(task.test)
    if isinstance(task, Clustering):
        return len(labels.drawn(len(task.texts)))
    return len(task.left) + len(task.right)


def sentence_of(task: Task) -> str:
    """What an instruct model is told for a task: its authors' sentence for this very set, else that of its type."""
    return task.subset.sentence or TYPE_SENTENCES[TYPES[type(task)]]


def prompts_of(task: Task, encoder: Encoder, sentence: str | None = None) -> list[Prompt]:
    """The prompts of a task: one for each side of a retrieval task, one for all texts of a symmetric one."""
    wanted = sentence or sentence_of(task)
    sides: tuple[Side, ...] = ("query", "document") if TYPES[type(task)] in TWO_SIDED else ("both",)
    return [encoder.prompt(side, wanted) for side in sides]


def evaluate(
    task: Task, encoder: Encoder, *, prompts: list[Prompt] | None = None, calibration: Calibration | None = None,
    advance: Advance | None = None,
) -> Outcome:  # fmt: skip
    """Judge an encoder on a task, on retrieval its calibration too; `prompts` replace those of `prompts_of`."""
    said = prompts or prompts_of(task, encoder)
    if isinstance(task, Retrieval):
        return ranking.retrieval(task, encoder, *said, calibration=calibration, advance=advance)
    if isinstance(task, Reranking):
        return ranking.reranking(task, encoder, *said, advance=advance)
    if isinstance(task, Classification):
        return labels.classification(task, encoder, said[0], advance)
    if isinstance(task, Clustering):
        return labels.clustering(task, encoder, said[0], advance)
    left = encoder.embed(task.left, said[0], advance)
    right = encoder.embed(task.right, said[0], advance)
    if isinstance(task, Bitext):
        return bitext.outcome(task, left, right)
    if isinstance(task, Similarity):
        return pairs.similarity(task, left, right)
    return pairs.classification(task, left, right)
