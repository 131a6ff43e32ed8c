"""Abstention and calibration as rows, for the page and for Markdown."""

from collections.abc import Sequence

from me5.evaluation.results import Result

ABOUT = (
    "Abstention: what leaving out the least certain queries gains, by mteb's nAUC (1: all that is possible, 0: none), "
    "where certainty is the highest score, the spread of the scores, or the lead of the first one"
)
OF_CALIBRATION = (
    ", or the probability of a calibration; then the calibration error over the first ten documents, of cosines taken "
    "for probabilities and of probabilities (0: correct)"
)
_CONFIDENCES = {"max": "highest", "std": "spread", "diff1": "lead"}
_OWN = {"cosine_error": "error of cosines", "calibration_error": "calibration error"}


def rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) of a task: a row for each set and model; no rows where nothing was measured."""
    main = results[0].outcome.main
    names = {f"nauc_{main}_{kind}": title for kind, title in _CONFIDENCES.items()}
    if of_calibration(results):
        names |= {f"nauc_{main}_probability": "probability", **_OWN}
    found = []
    for result in results:
        scores = result.outcome.scores
        if any(name in scores for name in names):
            cells = [f"{scores[name]:.3f}" if name in scores else "–" for name in names]
            found.append([result.subset.name, result.model, *cells])
    return ["set", "model", *names.values()], found


def of_calibration(results: Sequence[Result]) -> bool:
    """Whether a calibration was judged."""
    return any("calibration_error" in result.outcome.scores for result in results)


def about(results: Sequence[Result]) -> str:
    """What the rows mean."""
    return ABOUT + (OF_CALIBRATION if of_calibration(results) else "") + "."
