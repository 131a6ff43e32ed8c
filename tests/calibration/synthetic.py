"""Pairs whose probabilities are known, because this is where they come from."""

import numpy as np

from me5.calibration.bound import Sides, Vectors
from me5.calibration.pairs import Set

VECTORS = Vectors("made-up", "f" * 32, "f32", 64)
SIDES = Sides("query: ", "passage: ")


def truth(cosines):
    """The true probability of a cosine: from 0 at 0.75 to 1 at 0.95, by no logistic curve."""
    return np.clip((np.asarray(cosines) - 0.75) / 0.2, 0, 1) ** 2


def labelled(questions, each=10, *, seed=0, probability=truth, name="synthetic"):
    """`each` pairs of every question; cosines of a question lie together, as they do in life."""
    rng = np.random.default_rng(seed)
    question = np.repeat(np.arange(questions), each)
    cosine = np.clip(0.8 + 0.03 * rng.normal(size=questions)[question] + 0.05 * rng.normal(size=len(question)), -1, 1)
    return Set(name, (), question, cosine, rng.random(len(question)) < probability(cosine))
