"""The task sentences of training, per kind of pair, and how often each is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WEB = "Given a web search query, retrieve relevant passages that answer the query"
WIKIPEDIA = "Given a question, retrieve Wikipedia passages that answer the question"
BITEXT = "Retrieve parallel sentences."
SIMILAR = "Retrieve semantically similar text."
QUESTIONS = "Given a question, retrieve questions that are semantically equivalent to the given question"
VARIED = (
    "Given a question, retrieve passages that answer the question",
    "Retrieve passages that answer the question",
    "Given a title, retrieve the text that belongs to it",
    "Find the document that answers the query",
    "Given a search query, retrieve relevant documents",
)
# Kind: (share of the batches with a prompt, whether both sides carry it, tasks with weights).
# Half of the symmetric batches stay bare: a prompt costs 12 to 20 tokens a side, and bare text is used as well.
PLAN: dict[str, tuple[float, bool, tuple[tuple[str, float], ...]]] = {
    "parallel": (0.45, True, ((BITEXT, 0.6), (SIMILAR, 0.4))),
    "ui": (0.4, True, ((BITEXT, 0.5), (SIMILAR, 0.5))),
    "term": (0.4, True, ((BITEXT, 0.6), (SIMILAR, 0.4))),
    "paraphrase": (0.8, True, ((SIMILAR, 0.8), (QUESTIONS, 0.2))),
    "title-body": (0.85, False, ((WEB, 0.6), (WIKIPEDIA, 0.15), *((task, 0.05) for task in VARIED))),
    "qa": (0.9, False, ((WEB, 0.45), (WIKIPEDIA, 0.35), *((task, 0.04) for task in VARIED))),
}
ALL_TASKS = (WEB, WIKIPEDIA, BITEXT, SIMILAR, QUESTIONS, *VARIED)
SYMMETRIC = frozenset({"parallel", "ui", "term", "paraphrase"})


def instruct(task: str) -> str:
    """Return the text that goes before a query; an empty task gives none."""
    return f"Instruct: {task}\nQuery: " if task else ""


def choose(kind: str, rng: np.random.Generator) -> tuple[str, bool]:
    """Draw the task of a batch ("" for none) and whether the positives carry it too."""
    share, both, tasks = PLAN[kind]
    if rng.random() >= share:
        return "", False
    weights = [weight for _, weight in tasks]
    return tasks[int(rng.choice(len(tasks), p=[w / sum(weights) for w in weights]))][0], both
