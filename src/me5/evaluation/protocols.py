"""One protocol per task type, as mteb 2 has them: which texts are embedded, with which prompt, and what is computed."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from scipy.stats import ConstantInputWarning, pearsonr, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from me5.evaluation.encoder import Encoder, Float32, Prompt
from me5.evaluation.exact import Ranking, search
from me5.evaluation.metrics import DEPTHS, MAIN, by_query
from me5.evaluation.task import Bitext, Classification, Outcome, Retrieval, Similarity, Task
from me5.progress import Advance

# Documents that are embedded and scored together: 16,384 vectors of 1,024 dimensions are 64 MB.
BLOCK_DOCUMENTS = 16_384
# The sentence of each task type where the caller gives none: those the published instruct models were evaluated with.
DEFAULT_TASKS = {Retrieval: "web-search", Bitext: "bitext", Similarity: "sts", Classification: "classification"}
# mteb's probe: a logistic regression on 8 examples of each label, ten times over.
EXPERIMENTS, PER_LABEL, SEED = 10, 8, 42


def texts_of(task: Task) -> int:
    """How many texts a task embeds, for progress."""
    if isinstance(task, Retrieval):
        return len(task.queries) + len(task.documents)
    if isinstance(task, Classification):
        return len(set().union(*samples(task.train_labels))) + len(task.test)
    return len(task.left) + len(task.right)


def prompts_of(task: Task, encoder: Encoder, sentence: str | None = None) -> list[Prompt]:
    """The prompts of a task: one for each side of a retrieval task, one for all texts of a symmetric one."""
    told = sentence or DEFAULT_TASKS[type(task)]
    sides = ("query", "document") if isinstance(task, Retrieval) else ("both",)
    return [encoder.prompt(side, told) for side in sides]  # type: ignore[arg-type]


def evaluate(task: Task, encoder: Encoder, *, sentence: str | None = None, advance: Advance | None = None) -> Outcome:
    """Judge an encoder on a task; `sentence` replaces the task type's own instruction."""
    prompts = prompts_of(task, encoder, sentence)
    if isinstance(task, Retrieval):
        return _retrieval(task, encoder, *prompts, advance=advance)
    if isinstance(task, Classification):
        return _classification(task, encoder, prompts[0], advance)
    left = encoder.embed(task.left, prompts[0], advance)
    right = encoder.embed(task.right, prompts[0], advance)
    if isinstance(task, Bitext):
        return bitext_outcome(left, right)
    return _similarity(left, right, task.scores)


def _retrieval(
    task: Retrieval, encoder: Encoder, asking: Prompt, answering: Prompt, *, advance: Advance | None
) -> Outcome:
    def blocks() -> Iterator[tuple[Sequence[str], Float32]]:
        documents = iter(task.documents.items())
        while block := list(islice(documents, BLOCK_DOCUMENTS)):
            ids, texts = zip(*block, strict=True)
            yield ids, encoder.embed(texts, answering, advance)

    queries = encoder.embed(list(task.queries.values()), asking, advance)
    return retrieval_outcome(task, search(queries, blocks(), max(DEPTHS)))


def retrieval_outcome(task: Retrieval, rankings: Sequence[Ranking]) -> Outcome:
    """The figures of one ranking per query, in the order of the queries: means over all of them."""
    values = by_query(task.relevant, dict(zip(task.queries, rankings, strict=True)))
    scores = {name: float(np.mean(list(of_query.values()))) for name, of_query in values.items()}
    return Outcome(scores, MAIN, values[MAIN])


def bitext_outcome(left: Float32, right: Float32) -> Outcome:
    """The nearest neighbour of every left vector among the right ones, row n being right for row n.

    `f1` is mteb's: each row is a class of its own, so that it falls below accuracy where several rows choose the same.
    `accuracy_both` is the mean of both directions, the usual Tatoeba figure.
    """
    cosines = left @ right.T
    gold = np.arange(len(left))
    forth, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    scores = {
        "f1": float(f1_score(gold, forth, average="weighted", zero_division=0)),
        "precision": float(precision_score(gold, forth, average="weighted", zero_division=0)),
        "recall": float(recall_score(gold, forth, average="weighted", zero_division=0)),
        "accuracy": float(accuracy_score(gold, forth)),
        "accuracy_both": float(((forth == gold).mean() + (back == gold).mean()) / 2),
    }
    return Outcome(scores, "f1")


def _similarity(left: Float32, right: Float32, scores: Sequence[float]) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConstantInputWarning
        )  # a model that tells nothing apart correlates with nothing
        cosines = (left * right).sum(axis=1)
        figures = {"cosine_spearman": spearmanr(cosines, scores)[0], "cosine_pearson": pearsonr(cosines, scores)[0]}
    return Outcome({name: float(np.nan_to_num(value)) for name, value in figures.items()}, "cosine_spearman")


def samples(labels: Sequence[str]) -> list[list[int]]:
    """The training examples of each experiment: the first 8 of every label in an order shuffled anew each time.

    Seeded and shuffled as mteb does, so that its figures come out: each experiment reseeds, and shuffles the order that
    the one before left.
    """
    order = list(range(len(labels)))
    drawn = []
    for _ in range(EXPERIMENTS):
        np.random.RandomState(SEED).shuffle(order)
        seen: Counter[str] = Counter()
        chosen = []
        for index in order:
            if seen[labels[index]] < PER_LABEL:
                chosen.append(index)
                seen[labels[index]] += 1
        drawn.append(chosen)
    return drawn


def _classification(task: Classification, encoder: Encoder, prompt: Prompt, advance: Advance | None) -> Outcome:
    drawn = samples(task.train_labels)
    needed = sorted(set().union(*drawn))
    vectors = dict(zip(needed, encoder.embed([task.train[index] for index in needed], prompt, advance), strict=True))
    test = encoder.embed(task.test, prompt, advance)
    figures = []
    for chosen in drawn:
        probe = LogisticRegression(max_iter=100, random_state=SEED)
        probe.fit(np.stack([vectors[index] for index in chosen]), [task.train_labels[index] for index in chosen])
        found = probe.predict(test)
        figures.append(
            {
                "accuracy": float(accuracy_score(task.test_labels, found)),
                "f1": float(f1_score(task.test_labels, found, average="macro")),
                "f1_weighted": float(f1_score(task.test_labels, found, average="weighted")),
            }
        )
    means = {name: float(np.mean([of_one[name] for of_one in figures])) for name in figures[0]}
    return Outcome(means, "accuracy")
