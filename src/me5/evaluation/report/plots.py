"""The plots of one task: precision and recall, how cosines spread, cosine against human scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve

from me5.errors import counted
from me5.evaluation.means import by_subset
from me5.evaluation.metrics import DEPTHS
from me5.evaluation.report.markup import Node, element
from me5.evaluation.report.svg import Curve, curves, density, histogram
from me5.evaluation.results import Result, by_model

# A task of more sets than this shows its mean curve, and histograms of all sets together.
_FEW = 8
_POINTS = 60


def of_task(results: Sequence[Result], colours: Mapping[str, str]) -> Node | None:
    """All plots that the results of a task allow."""
    figures = [*_precision_recall(results, colours), *_histograms(results), *_scatters(results)]
    if not figures:
        return None
    return element("div", element("h3", "How it comes about"), element("div", *figures, class_="plots"))


def _figure(title: str, note: str, plot: Node) -> Node:
    return element("figure", element("figcaption", title, element("small", note)), plot)


def _precision_recall(results: Sequence[Result], colours: Mapping[str, str]) -> list[Node]:
    if results[0].type in ("Retrieval", "Reranking"):
        return [_by_depth(results, colours)]
    if results[0].type == "PairClassification":
        return [_by_threshold(name, pairs, colours) for name, pairs in list(by_subset(results).items())[:_FEW]]
    return []


def _by_depth(results: Sequence[Result], colours: Mapping[str, str]) -> Node:
    """Means over sets at each depth."""
    lines = []
    for model, of_model in by_model(results).items():
        figures = [result.outcome.scores for result in of_model]
        recall, precision = (
            [float(np.mean([scores.get(f"{name}_at_{depth}", 0.0) for scores in figures])) for depth in DEPTHS]
            for name in ("recall", "precision")
        )
        lines.append(Curve(list(zip(recall, precision, strict=True)), colours[model], model))
    note = f"at {', '.join(map(str, DEPTHS))} documents, mean of {counted(len(by_subset(results)), 'set')}"
    return _figure("Precision and recall", note, curves(lines, x="recall", y="precision", label="precision by recall"))


def _by_threshold(subset: str, of_model: Mapping[str, Result], colours: Mapping[str, str]) -> Node:
    lines = []
    for model, result in of_model.items():
        paired = result.outcome.paired
        precision, recall, _ = precision_recall_curve(paired["gold"], paired["cosine"])
        chosen = np.unique(np.linspace(0, len(recall) - 1, _POINTS).astype(int))
        points = [(float(recall[at]), float(precision[at])) for at in chosen]
        lines.append(Curve(points, colours[model], model, dots=False))
    return _figure("Precision and recall", subset, curves(lines, x="recall", y="precision", label=subset))


def _histograms(results: Sequence[Result]) -> list[Node]:
    figures = []
    meaning = {
        "BitextMining": ("translations", "the best other sentence"),
        "PairClassification": ("pairs that belong together", "other pairs"),
    }.get(results[0].type, ("relevant texts", "the best irrelevant text of each query"))
    for model, of_model in by_model(results).items():
        some = [result for result in of_model if result.outcome.shown.get("histogram")]
        if not some:
            continue
        groups = (
            {result.subset.name: [result] for result in some} if len(some) <= _FEW else {f"all {len(some)} sets": some}
        )
        for name, members in groups.items():
            start, right, wrong = _merged(members)
            plot = histogram(right, wrong, start=start, width=0.01, label=f"cosines of {model}, {name}")
            legend = element(
                "ul",
                element("li", meaning[0], class_="right"),
                element("li", meaning[1], class_="wrong"),
                class_="legend",
            )
            figures.append(
                element("figure", element("figcaption", "Cosines", element("small", f"{model}, {name}")), plot, legend)
            )
    return figures


def _merged(results: Sequence[Result]) -> tuple[float, list[int], list[int]]:
    """The sum of several histograms, whose bins of 0.01 all lie on one grid."""
    histograms = [result.outcome.shown["histogram"] for result in results]
    starts = [round(one["start"] / 0.01) for one in histograms]
    low = min(starts)
    high = max(start + len(one["right"]) for start, one in zip(starts, histograms, strict=True))
    sums = []
    for kind in ("right", "wrong"):
        total = np.zeros(high - low, int)
        for start, one in zip(starts, histograms, strict=True):
            total[start - low : start - low + len(one[kind])] += one[kind]
        sums.append(total.tolist())
    return low * 0.01, sums[0], sums[1]


def _scatters(results: Sequence[Result]) -> list[Node]:
    if results[0].type != "STS":
        return []
    figures = []
    for result in results:
        cosines, gold = (np.asarray(result.outcome.paired[name], float) for name in ("cosine", "gold"))
        low, high = float(cosines.min()), float(cosines.max())
        across = (cosines - low) / max(high - low, 1e-9)
        up = (gold - gold.min()) / max(float(gold.max() - gold.min()), 1e-9)
        plot = density(
            list(zip(across.tolist(), up.tolist(), strict=True)), x="cosine",
            y=f"human score, {gold.min():g} to {gold.max():g}", ends=(f"{low:.2f}", f"{high:.2f}"),
            label=f"cosine and human score, {result.model}, {result.subset.name}",
        )  # fmt: skip
        figures.append(_figure("Cosine and human score", f"{result.model}, {result.subset.name}", plot))
    return figures[: 2 * _FEW]
