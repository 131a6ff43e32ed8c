"""Bitext mining: the nearest neighbour of every sentence among those of the other language."""

from collections import Counter

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from me5.evaluation.encoders.base import Float32
from me5.evaluation.exact import best_other, nearest
from me5.evaluation.protocols import shown
from me5.evaluation.task import Bitext, Outcome


def outcome(task: Bitext, left: Float32, right: Float32) -> Outcome:
    """The figures of mteb, and `accuracy_both`, the mean of both directions, which is the usual Tatoeba figure.

    `f1` is mteb's: each gold sentence is a class of its own, so that it falls below accuracy where several sentences
    choose the same. It is the mean over sentences of the F1 of their class: these are the samples.
    """
    gold = np.arange(len(left)) if task.gold is None else np.asarray(task.gold, np.int64)
    forth, back = nearest(left, right)
    scores = {
        "f1": float(f1_score(gold, forth, average="weighted", zero_division=0)),
        "precision": float(precision_score(gold, forth, average="weighted", zero_division=0)),
        "recall": float(recall_score(gold, forth, average="weighted", zero_division=0)),
        "accuracy": float(accuracy_score(gold, forth)),
    }
    if task.gold is None:
        scores["accuracy_both"] = float(((forth == gold).mean() + (back == gold).mean()) / 2)
    chosen, meant, hit = (Counter(values.tolist()) for values in (forth, gold, gold[forth == gold]))
    f1 = {place: 2 * hit[place] / (chosen[place] + meant[place]) for place in meant}
    samples = {str(row): f1[place] for row, place in enumerate(gold.tolist())}
    own = np.einsum("nd,nd->n", left, right[gold])
    other, places = best_other(left, right, gold)
    failures = [
        shown.failure(
            task.left[row],
            [shown.text(task.right[places[row]], other[row])],
            [shown.text(task.right[gold[row]], own[row])],
        )
        for row in shown.lowest(own - other, np.flatnonzero(forth != gold))
    ]
    finite = other[np.isfinite(other)]  # a lone sentence has no other
    return Outcome(scores, "f1", samples, shown={"failures": failures, "histogram": shown.histogram(own, finite)})
