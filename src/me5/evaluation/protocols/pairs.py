"""Similarity against human scores, and pair classification: both by the similarity of two texts, row by row."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ConstantInputWarning, pearsonr, rankdata, spearmanr
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import (
    paired_cosine_distances,
    paired_euclidean_distances,
    paired_manhattan_distances,
)

from me5.evaluation.encoders.base import Float32
from me5.evaluation.protocols import shown
from me5.evaluation.task import Outcome, PairClassification, Similarity

Values = npt.NDArray[np.floating[Any]]


def _measures(left: Float32, right: Float32) -> dict[str, Values]:
    """Every likeness that mteb looks at, higher for more alike. Of unit vectors all but Manhattan order alike."""
    return {
        "cosine": 1 - paired_cosine_distances(left, right),
        "manhattan": -paired_manhattan_distances(left, right),
        "euclidean": -paired_euclidean_distances(left, right),
    }


def similarity(task: Similarity, left: Float32, right: Float32) -> Outcome:
    """Spearman's and Pearson's correlation with the scores; 0 for a model that tells nothing apart."""
    measures = _measures(left, right)
    gold = np.asarray(task.scores, float)
    scores: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        for name, values in measures.items():
            scores[f"{name}_spearman"] = float(np.nan_to_num(spearmanr(values, gold)[0]))
            scores[f"{name}_pearson"] = float(np.nan_to_num(pearsonr(values, gold)[0])) if len(gold) > 1 else 0.0
    scores["spearman"], scores["pearson"] = scores["cosine_spearman"], scores["cosine_pearson"]
    cosines = measures["cosine"]
    paired = {"cosine": [round(float(value), 7) for value in cosines], "gold": [float(value) for value in gold]}
    apart = -np.abs(rankdata(cosines) - rankdata(gold))
    failures = [
        shown.failure(
            task.left[row],
            [shown.text(task.right[row], cosines[row])],
            [{"text": f"{task.scores[row]:g}, where scores go from {gold.min():g} to {gold.max():g}"}],
        )
        for row in shown.lowest(apart, np.arange(len(gold)))
    ]
    return Outcome(scores, "cosine_spearman", paired=paired, shown={"failures": failures})


def classification(task: PairClassification, left: Float32, right: Float32) -> Outcome:
    """For each likeness its average precision, and accuracy and F1 at the best threshold; the highest counts."""
    measures = {**_measures(left, right), "dot": np.einsum("nd,nd->n", left, right)}
    measures["similarity"] = measures["cosine"]
    labels = np.asarray(task.labels, np.int64)
    scores: dict[str, float] = {}
    for name, values in measures.items():
        figures = at_best_threshold(values, labels) | {"ap": float(average_precision_score(labels, values))}
        scores |= {f"{name}_{figure}": value for figure, value in figures.items()}
    for figure in ("accuracy", "f1", "precision", "recall", "ap"):
        scores[f"max_{figure}"] = max(scores[f"{name}_{figure}"] for name in measures)
    cosines = measures["cosine"]
    paired = {
        **{name: [round(float(value), 7) for value in measures[name]] for name in ("cosine", "manhattan")},
        "gold": labels.tolist(),
    }
    same, other = cosines[labels == 1], cosines[labels == 0]
    return Outcome(
        scores, "max_ap", paired=paired,
        shown={"failures": _failures(task, cosines, labels), "histogram": shown.histogram(same, other)},
    )  # fmt: skip


def _failures(task: PairClassification, cosines: Values, labels: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """The pairs that belong together and look least so, and the others that look most so, by turns."""
    missed = shown.lowest(cosines, np.flatnonzero(labels == 1))
    mistaken = shown.lowest(-cosines, np.flatnonzero(labels == 0))
    rows = [row for both in zip(missed, mistaken, strict=False) for row in both][: shown.FAILURES]
    verdict = {1: "the same", 0: "not the same"}
    return [
        shown.failure(
            task.left[row], [shown.text(task.right[row], cosines[row])], [{"text": verdict[int(labels[row])]}]
        )
        for row in rows
    ]


def at_best_threshold(values: Sequence[float] | Values, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Mteb's figures at the threshold that is best for each: between two different scores, never within equal ones."""
    order = np.argsort(-np.asarray(values), kind="stable")
    ordered, truth = np.asarray(values)[order], labels[order]
    cuts = np.flatnonzero(ordered[:-1] != ordered[1:])
    found = {"accuracy": 0.0, "f1": 0.0, "precision": 0.0, "recall": 0.0}
    if not len(cuts):
        return found
    right = np.cumsum(truth)[cuts]
    taken = cuts + 1
    found["accuracy"] = float(((right + (labels == 0).sum() - (taken - right)) / len(labels)).max())
    precision, recall = right / taken, right / labels.sum()
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros(len(cuts)), where=right > 0)
    best = int(f1.argmax())
    if f1[best] > 0:
        found |= {"f1": float(f1[best]), "precision": float(precision[best]), "recall": float(recall[best])}
    return found
