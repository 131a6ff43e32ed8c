"""Classification by a linear probe on few examples, and clustering by k-means: vectors against labels."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics.cluster import adjusted_mutual_info_score, v_measure_score

from me5.evaluation.encoders.base import Encoder, Float32, Prompt
from me5.evaluation.protocols import shown
from me5.evaluation.task import Classification, Clustering, Label, Outcome
from me5.progress import Advance

# mteb's probe: a logistic regression on 8 examples of each label, ten times over.
EXPERIMENTS, PER_LABEL, SEED = 10, 8, 42
# mteb's clustering: 4 % of the texts are embedded, then 16,384 of them drawn with repetition, ten times over. Of small
# sets, its tasks set a number instead; 2,048 is the usual one, so fewer texts than that are all embedded.
FRACTION, FEWEST, DRAWN, KMEANS_BATCH = 0.04, 2048, 16_384, 512


def samples(labels: Sequence[Label]) -> list[list[int]]:
    """The training examples of each experiment: the first 8 of every label in an order shuffled anew each time.

    Seeded and shuffled as mteb does, so that its figures come out: each experiment reseeds, and shuffles the order that
    the one before left.
    """
    order = list(range(len(labels)))
    drawn = []
    for _ in range(EXPERIMENTS):
        np.random.RandomState(SEED).shuffle(order)
        seen: Counter[Label] = Counter()
        chosen = []
        for index in order:
            if seen[labels[index]] < PER_LABEL:
                chosen.append(index)
                seen[labels[index]] += 1
        drawn.append(chosen)
    return drawn


def classification(task: Classification, encoder: Encoder, prompt: Prompt, advance: Advance | None = None) -> Outcome:
    """Mean figures of ten probes. A test text's sample is the share of probes that labelled it rightly."""
    chosen_by = samples(task.train_labels)
    needed = sorted(set().union(*chosen_by))
    vectors = dict(zip(needed, encoder.embed([task.train[index] for index in needed], prompt, advance), strict=True))
    test = encoder.embed(task.test, prompt, advance)
    figures, answers = [], []
    for chosen in chosen_by:
        probe = LogisticRegression(max_iter=100, random_state=SEED)
        probe.fit(np.stack([vectors[index] for index in chosen]), [task.train_labels[index] for index in chosen])
        found = probe.predict(test).tolist()
        answers.append(found)
        figures.append(
            {
                "accuracy": float(accuracy_score(task.test_labels, found)),
                "f1": float(f1_score(task.test_labels, found, average="macro")),
                "f1_weighted": float(f1_score(task.test_labels, found, average="weighted")),
            }
        )
    means = {name: float(np.mean([of_one[name] for of_one in figures])) for name in figures[0]}
    given = list(zip(*answers, strict=True))  # of each text, the answer of each probe
    values = {
        str(row): sum(answer == label for answer in given[row]) / EXPERIMENTS
        for row, label in enumerate(task.test_labels)
    }
    failures = [
        shown.failure(
            task.test[int(row)],
            [
                {"text": f"{label} ({count} of {EXPERIMENTS} probes)"}
                for label, count in Counter(given[int(row)]).most_common(2)
            ],
            [{"text": str(task.test_labels[int(row)])}],
        )
        for row in shown.worst(values)
    ]
    return Outcome(means, "accuracy", values, shown={"failures": failures})


def drawn(count: int) -> list[int]:
    """The texts that are embedded, drawn as mteb draws them."""
    return _draw(count, random.Random(SEED))


def _draw(count: int, rng: random.Random) -> list[int]:
    return rng.sample(range(count), k=min(count, max(int(FRACTION * count), FEWEST)))


def clustering(task: Clustering, encoder: Encoder, prompt: Prompt, advance: Advance | None = None) -> Outcome:
    """V-measure and adjusted mutual information, means over ten draws at each level of labels.

    The draws are the samples: their spread tells of chance in drawing, not of other texts.
    """
    rng = random.Random(SEED)
    chosen = _draw(len(task.texts), rng)
    vectors = encoder.embed([task.texts[index] for index in chosen], prompt, advance)
    labels = [task.labels[index] for index in chosen]
    found: dict[str, dict[str, float]] = {"v_measure": {}, "ami": {}}
    for level in range(max(map(len, labels))):
        has_one = np.array([len(of_text) > level for of_text in labels])
        truth = np.array([str(of_text[level]) for of_text in labels if len(of_text) > level])
        for draw, values in enumerate(_clusterings(vectors[has_one], truth, rng)):
            for name, value in values.items():
                found[name][f"level {level}, draw {draw}"] = value
    scores = {}
    for name, values in found.items():
        scores[name] = float(np.mean(list(values.values())))
        scores[f"{name}_std"] = float(np.std(list(values.values())))
    return Outcome(scores, "v_measure", found["v_measure"])


def _clusterings(vectors: Float32, labels: npt.NDArray[np.str_], rng: random.Random) -> list[dict[str, float]]:
    # One object for all draws, as in mteb; fitted anew each time.
    kmeans = MiniBatchKMeans(
        n_clusters=len(np.unique(labels)), batch_size=KMEANS_BATCH, init="k-means++", n_init=1, random_state=SEED
    )
    results = []
    for _ in range(EXPERIMENTS):
        indices = rng.choices(range(len(vectors)), k=DRAWN)
        found = kmeans.fit_predict(vectors[indices])
        truth = labels[indices]
        results.append(
            {"v_measure": float(v_measure_score(truth, found)), "ami": float(adjusted_mutual_info_score(truth, found))}
        )
    return results
