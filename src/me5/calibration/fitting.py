"""Labelled pairs → a curve; and the probabilities of pairs whose questions a curve has not seen."""

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from me5.calibration.curve import Curve, Floats, Method
from me5.calibration.scored import Bools, Scored
from me5.errors import CalibrationError

# With fewer pairs a curve of two numbers is nearer to the truth than one of any shape; with more, a logistic one is
# wrong wherever the truth is not logistic.
ISOTONIC_FROM, ISOTONIC_EACH = 200, 30
FOLDS = 5
_SEED = 0
_DIGITS = 6


def method_for(relevant: Bools) -> Method:
    """The method that so many pairs of each kind allow."""
    right = int(relevant.sum())
    enough = len(relevant) >= ISOTONIC_FROM and min(right, len(relevant) - right) >= ISOTONIC_EACH
    return "isotonic" if enough else "logistic"


def fit(cosines: Floats, relevant: Bools, method: Method) -> Curve:
    """The curve of some pairs. Raises `CalibrationError` where relevant pairs have no higher cosines than others."""
    return _isotonic(cosines, relevant) if method == "isotonic" else _logistic(cosines, relevant)


def held_out(pairs: Scored, method: Method) -> Floats:
    """A probability for each pair, by a curve of the pairs of other questions: five folds over questions."""
    folds = np.random.default_rng(_SEED).permutation(pairs.questions) % FOLDS
    found = np.empty(len(pairs))
    for fold in range(FOLDS):
        asked = folds == fold
        cosines, relevant = pairs.of(~asked)
        # A fold may lack what the whole has enough of; then the other pairs say the same for all of its pairs.
        known = 0 < relevant.sum() < len(relevant)
        rows = asked[pairs.question]
        found[rows] = _or_flat(cosines, relevant, method)(pairs.cosine[rows]) if known else pairs.share
    return found


def _or_flat(cosines: Floats, relevant: Bools, method: Method) -> Curve:
    try:
        return fit(cosines, relevant, method)
    except CalibrationError:
        share = float(relevant.mean())
        return Curve("isotonic", cosines=(0.0,), probabilities=(share,))


def _logistic(cosines: Floats, relevant: Bools) -> Curve:
    """Platt's: targets just short of 1 and 0, by Laplace's rule, keep pairs that a cosine separates from a cliff."""
    center, width = float(cosines.mean()), float(cosines.std()) or 1.0
    right = int(relevant.sum())
    target = np.where(relevant, (right + 1) / (right + 2), 1 / (len(relevant) - right + 2))
    column = np.tile((cosines - center) / width, 2)[:, None]
    labels, weights = np.repeat([1, 0], len(cosines)), np.concatenate([target, 1 - target])
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(column, labels, sample_weight=weights)
    slope, intercept = float(model.coef_[0, 0]) / width, float(model.intercept_[0])
    if not slope > 0:
        raise CalibrationError(
            "relevant pairs have no higher cosines than irrelevant ones: there is nothing to calibrate"
        )
    return Curve("logistic", slope=slope, middle=center - intercept / slope)


def _isotonic(cosines: Floats, relevant: Bools) -> Curve:
    """Isotonic regression, with one pair more of the other kind at each end: no finite number of pairs says never."""
    xs = np.concatenate([cosines, [cosines.min(), cosines.max()]])
    ys = np.concatenate([relevant.astype(float), [1.0, 0.0]])
    model = IsotonicRegression(out_of_bounds="clip").fit(xs, ys)
    places, heights = np.round(model.X_thresholds_, _DIGITS), model.y_thresholds_
    kept = np.r_[True, np.diff(places) > 0]
    if heights[kept][0] == heights[kept][-1]:
        raise CalibrationError(
            "relevant pairs have no higher cosines than irrelevant ones: there is nothing to calibrate"
        )
    return Curve("isotonic", cosines=tuple(places[kept].tolist()), probabilities=tuple(heights[kept].tolist()))
