"""The worst failures of a task, to read: what was asked, what was found, what should have been."""

from collections.abc import Mapping, Sequence
from typing import Any

from me5.errors import counted
from me5.evaluation.bm25 import NAME as BM25
from me5.evaluation.report.markup import Node, element, text
from me5.evaluation.results import Result, by_model

# Sets of a task that show theirs, those with the lowest scores; and failures of a set where there are many.
SETS, EACH, MANY = 12, 3, 4


def of_task(results: Sequence[Result]) -> Node | None:
    """The failures of every model but BM25."""
    blocks = []
    for model, of_model in by_model(results).items():
        if model == BM25:
            continue
        failing = [result for result in of_model if result.outcome.shown.get("failures")]
        chosen = sorted(failing, key=lambda result: result.outcome.score)[:SETS]
        blocks += [_set(model, result, EACH if len(chosen) > MANY else None) for result in chosen]
        if len(failing) > len(chosen):
            more = counted(len(failing) - len(chosen), "more set has", "more sets have")
            blocks.append(element("p", f"{model}: {more} theirs in the result files."))
    if not blocks:
        return None
    return element("div", element("h3", "Failures to read"), *blocks)


def _set(model: str, result: Result, count: int | None) -> Node:
    shown = result.outcome.shown["failures"][:count]
    title = f"{result.subset.name}: {model}, {result.outcome.main} {100 * result.outcome.score:.1f}"
    return element("details", element("summary", title), *(_failure(one) for one in shown))


def _failure(failure: Mapping[str, Any]) -> Node:
    parts = [element("dt", "asked"), element("dd", text(failure["asked"], class_="text"), class_="asked")]
    for name, key in (("found", "found"), ("should be", "wanted")):
        for place, one in enumerate(failure[key]):
            parts += [
                element("dt", name if place == 0 else ""),
                element("dd", text(one["text"], class_="text"), _figures(one, key)),
            ]
        if not failure[key]:
            parts += [element("dt", name), element("dd", "nothing")]
    return element("div", element("dl", *parts), class_="card failure")


def _figures(one: Mapping[str, Any], key: str) -> Node | None:
    words = []
    if "rank" in one:
        words.append(f"rank {one['rank']}")
    elif key == "wanted" and "score" not in one and "text" in one:
        return None
    if "score" in one:
        words.append(f"score {one['score']:.3f}")
    return element("span", ", ".join(words), class_="figure") if words else None
