"""A calibration in Markdown: what the probability means, how good it is, where to cut, how sets differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from me5.calibration.applied import Calibration
from me5.calibration.background import ANY, PERCENTILES, Background
from me5.errors import counted

_SHOWN = (1.0, 50.0, 95.0, 99.0, 99.9, 100.0)
CUT_HEADINGS = ("risk", "from cosine", "probability there", "precision", "recall", "questions with an answer")
SET_HEADINGS = ("set", "questions", "pairs", "mean probability", "relevant", "error", "error of plain cosines")


def as_markdown(figures: Mapping[str, Any], calibration: Calibration | None, verdict: str, title: str) -> str:
    """The report; `calibration` None where none was made."""
    auc, error, brier, chance = (figures[name] for name in ("auc", "error", "brier", "chance"))
    lines = [f"# {title}", "", f"**{verdict}.**", ""]
    if calibration is not None:
        lines += [_meaning(calibration), "", *_binding(calibration), ""]
    lines += [
        f"{extent(figures)}. Figures are of questions that the curve has not seen; intervals are "
        "95 % bootstraps over questions.",
        "",
        "| figure | value | 95 % |",
        "|---|--:|---|",
        f"| AUC: how often a relevant pair has the higher cosine | {auc['value']:.3f} | {_ends(auc)} |",
        f"| expected calibration error | {error['value']:.3f} | {_ends(error)} |",
        f"| … of probabilities that are right, by chance | {chance[0]:.3f} | 95 % below {chance[1]:.3f} |",
        f"| Brier score | {brier['value']:.3f} | {_ends(brier)} |",
        "",
        *_thresholds(figures, calibration),
        *_cuts(figures, calibration),
        *_sets(figures),
    ]
    return "\n".join(lines).rstrip() + "\n"


def background_markdown(background: Background, title: str) -> str:
    """The table of a background."""
    places = [PERCENTILES.index(one) for one in _SHOWN]
    rows = [
        f"| {name} | " + " | ".join(f"{values[at]:.3f}" for at in places) + " |"
        for name, values in sorted(background.cosines.items(), key=lambda item: (item[0] != ANY, item[0]))
    ]
    return "\n".join([
        f"# {title}", "",
        f"Where {counted(background.made['pairs'], 'random pair')} of sentences and passages of this store lie, by the "
        "languages of both. This is not a probability: it shows what chance brings about, not what is relevant. A "
        "search looks at every passage, so that among N passages one above the percentile 100 - 100 / N is to be "
        "expected where nothing fits.", "",
        "| languages | " + " | ".join(f"{one:g} %" for one in _SHOWN) + " |", "|---|" + "--:|" * len(_SHOWN), *rows, "",
    ])  # fmt: skip


def extent(figures: Mapping[str, Any]) -> str:
    """How many pairs the figures are of."""
    pairs, questions = counted(figures["pairs"], "pair"), counted(figures["questions"], "question")
    return f"{pairs} of {questions}, {figures['relevant']:,} relevant"


def set_rows(figures: Mapping[str, Any]) -> list[list[str]]:
    """A row for each set: the mean probability of its pairs, the share that is relevant, the calibration error."""
    return [
        [
            one["name"], f"{one['questions']:,}", f"{one['pairs']:,}",
            *(f"{one[name]:.3f}" for name in ("predicted", "observed", "error")),
            f"{one['unplaced']:.3f}" if "unplaced" in one else "",
        ]
        for one in figures["sets"]
    ]  # fmt: skip


def threshold_rows(figures: Mapping[str, Any]) -> list[list[str]]:
    """A row for each threshold: probability, precision, recall with their intervals, questions with an answer."""
    return [
        [
            f"{one['probability']:.2f}", "" if one["precision"] is None else _figure(one["precision"]),
            _figure(one["recall"]), f"{100 * one['answered']:.0f} %",
        ]
        for one in figures["thresholds"]
    ]  # fmt: skip


def cut_rows(figures: Mapping[str, Any], calibration: Calibration) -> list[list[str]]:
    """A row for each cut: its risk, its cosine and probability, what it means for the pairs of the figures."""
    known = {one["risk"]: one for one in figures.get("cuts", ())}
    rows = []
    for cut in calibration.cuts:
        if cut.cosine is None:
            rows.append([f"{cut.risk:g}", "none", "", "", "", ""])
            continue
        one, probability = known[cut.risk], float(calibration.of_placed(cut.cosine))
        precision = "" if one["precision"] is None else f"{one['precision']:.2f}"
        shown = [precision, f"{one['recall']:.2f}", f"{100 * one['answered']:.0f} %"]
        rows.append([f"{cut.risk:g}", f"{cut.cosine:.4f}", f"{probability:.2f}", *shown])
    return rows


def _meaning(calibration: Calibration) -> str:
    source = "a retrieval set's" if "depth" in calibration.made else "the labelled"
    shown = f" (the first {calibration.made['depth']} that a search finds)" if "depth" in calibration.made else ""
    return (
        f"A probability of 0.7 means: of pairs with this cosine that are drawn as {source} pairs were{shown}, 7 of 10 "
        f"are relevant. {100 * calibration.labelled:.1f} % of the labelled pairs are relevant"
        + (
            "."
            if calibration.prior == calibration.labelled
            else f"; probabilities are for {100 * calibration.prior:.2g} %."
        )
    )


def _binding(calibration: Calibration) -> Sequence[str]:
    vectors, sides = calibration.vectors, calibration.sides
    return [
        f"For {vectors.model} (weights `{vectors.weights[:12]}`) at {vectors.precision}, {vectors.dim} dimensions, "
        f"with `{sides.query!r}` in front of queries and `{sides.document!r}` in front of documents; method: "
        f"{calibration.curve.method}."
    ]


def _thresholds(figures: Mapping[str, Any], calibration: Calibration | None) -> list[str]:
    prior = f" where {100 * calibration.prior:.2g} % are relevant" if calibration is not None else ""
    return [
        f"| least probability | precision{prior} | recall | questions with an answer |",
        "|--:|---|---|--:|",
        *("| " + " | ".join(row) + " |" for row in threshold_rows(figures)),
        "",
    ]


def _cuts(figures: Mapping[str, Any], calibration: Calibration | None) -> list[str]:
    if calibration is None or not calibration.cuts:
        return []
    return [
        f"Cuts with a guarantee: with probability {calibration.cuts[0].confidence:g} over the draw of these questions, "
        "at most the share `risk` of what a question is shown is irrelevant, in the mean over questions drawn as these "
        "that are shown something. Beside it what each means for these pairs: precision is the share of relevant ones "
        "among all that are shown, in which questions count more that are shown more.",
        "",
        "| " + " | ".join(CUT_HEADINGS) + " |",
        "|--:|--:|--:|--:|--:|--:|",
        *("| " + " | ".join(row) + " |" for row in cut_rows(figures, calibration)),
        "",
    ]


def _sets(figures: Mapping[str, Any]) -> list[str]:
    if len(figures["sets"]) < 2:
        return []
    return [
        "By set: the mean probability, the share that is relevant, and the calibration error; where a calibration is "
        "judged, also the error of plain cosines. A set with a large error is unlike the others and needs a "
        "calibration of its own.",
        "",
        "| " + " | ".join(SET_HEADINGS) + " |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *("| " + " | ".join(row) + " |" for row in set_rows(figures)),
    ]


def _figure(one: Mapping[str, float]) -> str:
    return f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})"


def _ends(one: Mapping[str, float]) -> str:
    return f"{one['low']:.3f} to {one['high']:.3f}"
