"""A cut that keeps a risk: at most so large a share of what a question is shown is irrelevant, with a guarantee.

Learn then test (Angelopoulos, Bates, Candès, Jordan, Lei 2021): one half of the questions says in which order cosines
are tried, the other half tests them in that order, from the most promising one down, until one fails. Each test asks
whether the share of irrelevant pairs among those from this cosine on, in the mean over the questions that have any, is
below `risk`, by betting against it (Waudby-Smith, Ramdas 2024), which is exact for any number of questions.

So, with probability `confidence` over the draw of the questions: of what a question is shown, at most the share `risk`
is irrelevant, in the mean over questions that are drawn as these were and are shown something.
"""

import numpy as np

from me5.calibration.applied import Cut
from me5.calibration.curve import Floats
from me5.calibration.scored import Bools, Scored

CONFIDENCE = 0.9
RISKS = (0.5, 0.2, 0.1)
# Cosines that are tried: where the first half finds so large a share of its relevant pairs, in steps of this. A cut
# that finds less than one step is of no use.
STEP = 0.05
_SEED = 0


def cut(pairs: Scored, risk: float, confidence: float = CONFIDENCE, seed: int = _SEED) -> Cut:
    """The lowest cosine that passes, None where none does."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(pairs.questions)
    first = np.zeros(pairs.questions, bool)
    first[order[: pairs.questions // 2]] = True
    cosines, relevant = pairs.of(first)
    if not relevant.any():
        return Cut(risk, confidence, None)
    shares = np.arange(1 - STEP, -STEP / 2, -STEP).clip(0)
    tried = np.unique(np.quantile(cosines[relevant], shares, method="lower"))[::-1]
    start = int(np.argmin([_p_value(_shares(pairs, first, at), risk, confidence, rng) for at in tried]))
    passed = None
    for at in tried[start:].tolist():
        if _p_value(_shares(pairs, ~first, at), risk, confidence, rng) > 1 - confidence:
            break
        passed = at
    return Cut(risk, confidence, passed)


def _shares(pairs: Scored, questions: Bools, at: float) -> Floats:
    """The share of irrelevant pairs among those from a cosine on, of every question that has any."""
    rows = questions[pairs.question] & (pairs.cosine >= at)
    shown, wrong = (
        np.bincount(pairs.question[rows & kind], minlength=pairs.questions)
        for kind in (np.ones(len(pairs), bool), ~pairs.relevant)
    )
    found: Floats = wrong[shown > 0] / shown[shown > 0]
    return found


def _p_value(values: Floats, mean: float, confidence: float, rng: np.random.Generator) -> float:
    """The p value of: values from 0 to 1, drawn independently, have the mean `mean` or more."""
    if not len(values):
        return 1.0
    values = rng.permutation(values)
    count = np.arange(1, len(values) + 1)
    means = (0.5 + np.cumsum(values)) / (count + 1)
    spread = (0.25 + np.cumsum((values - means) ** 2)) / (count + 1)
    # A bet looks at earlier values only; up to this size the capital stays positive.
    wanted = np.sqrt(2 * np.log(1 / (1 - confidence)) / (len(values) * np.r_[0.25, spread[:-1]]))
    capital = np.cumsum(np.log1p(-np.minimum(wanted, 0.9 / (1 - mean)) * (values - mean)))
    return float(min(1.0, np.exp(-capital.max())))
