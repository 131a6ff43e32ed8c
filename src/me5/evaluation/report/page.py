"""The page: a summary, then each task with its table, plots, failures and prompts. One file, nothing loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from me5._version import __version__
from me5.errors import counted
from me5.evaluation.bm25 import NAME as BM25
from me5.evaluation.means import Mean, by_subset, by_task, means
from me5.evaluation.published import Published, published
from me5.evaluation.report import abstaining, failures, plots
from me5.evaluation.report.markup import Node, element, html, text
from me5.evaluation.report.svg import Mark, axis, track
from me5.evaluation.results import Result, by_model

COLOURS = ("c0", "c1", "c2", "c3", "c4", "c5")
Interval = tuple[float, float]


@dataclass(frozen=True)
class Models:
    """The models of a page in the order of their columns, BM25 last, each with its colour class."""

    colours: Mapping[str, str]

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Models":
        """Those that have results."""
        names = [*by_model(results)]
        judged = [name for name in names if name != BM25]
        colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(judged)}
        return cls(colours | ({BM25: "ref"} if BM25 in names else {}))

    def among(self, results: Sequence[Result]) -> "Models":
        """Those that have one of these results, with the colours of the page."""
        there = by_model(results)
        return Models({name: colour for name, colour in self.colours.items() if name in there})

    def row(
        self,
        label: Node,
        scores: Mapping[str, float],
        intervals: Mapping[str, Interval | None] | None = None,
        references: Sequence[tuple[str, float]] = (),
        **attributes: object,
    ) -> Node:
        """A line of a table: the name, a track with every figure, and a number per model, the best one bold."""
        ends = intervals or {}
        marks = [
            Mark(scores[name], ends.get(name), colour, f"{name}: {100 * scores[name]:.1f}")
            for name, colour in self.colours.items()
            if name in scores
        ]
        marks += [Mark(value / 100, None, "ref", f"published, {name}: {value}", True) for name, value in references]
        best = max(scores.values()) if len(scores) > 1 else None
        cells = [_number(scores.get(name), ends.get(name), best) for name in self.colours]
        return element("tr", label, element("td", track(marks), class_="plotted"), *cells, **attributes)

    def table(self, lines: Sequence[Node], first: str) -> Node:
        """Lines of `row` under the models' names."""
        names = (element("th", name, class_="number") for name in self.colours)
        head = element("tr", element("th", first, class_="name"), element("th", axis(), class_="plotted"), *names)
        table = element("table", element("thead", head), element("tbody", *lines), class_="set")
        return element("div", table, class_="scroll")

    def legend(self, references: Sequence[Published] = ()) -> Node:
        """Which colour is whose."""
        items = [element("li", name, class_=colour) for name, colour in self.colours.items()]
        if references:
            names = ", ".join(reference.model for reference in references)
            items.append(element("li", f"published: {names}", class_="ref published"))
        return element("ul", *items, class_="legend")


def _number(score: float | None, interval: Interval | None, best: float | None) -> Node:
    if score is None:
        return element("td", "–", class_="number")
    small = element("small", f"{100 * interval[0]:.1f} – {100 * interval[1]:.1f}") if interval else None
    return element("td", f"{100 * score:.1f}", small, class_="number best" if score == best else "number")


def as_html(results: Sequence[Result], title: str) -> str:
    """The whole page."""
    models, tasks = Models.of(results), by_task(results)
    about = (
        f"{counted(len(models.colours), 'model')}, {counted(len(results), 'result')}. Figures × 100, higher is better; "
        f"bars and small numbers are 95 % bootstrap intervals over the examples. Made with me5 {__version__}."
    )
    body = element(
        "body",
        element("h1", title),
        element("p", about),
        element("nav", *(element("a", name, href=f"#{_anchor(name)}") for name in tasks), aria_label="Tasks"),
        _summary(means(results), models),
        *(_task(name, of_task, models.among(of_task)) for name, of_task in tasks.items()),
        _prompts(results),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Path(__file__).with_name("style.css").read_text("utf-8")),
    )
    return "<!doctype html>\n" + html(element("html", head, body, lang="en")) + "\n"


def _anchor(name: str) -> str:
    return "task-" + "".join(letter if letter.isalnum() else "-" for letter in name)


def _summary(rows: Sequence[Mean], models: Models) -> Node:
    grouped: dict[tuple[str, str, str], dict[str, Mean]] = {}
    for mean in rows:
        grouped.setdefault((mean.task, mean.type, mean.main), {})[mean.model] = mean
    lines = []
    for (task, kind, main), of_model in grouped.items():
        sets = counted(max(mean.sets for mean in of_model.values()), "set")
        label = element(
            "td",
            element("a", task, href=f"#{_anchor(task)}"),
            element("small", f"{kind}, {main}, {sets}"),
            class_="name",
        )
        lines.append(models.row(label, {name: mean.score for name, mean in of_model.items()}))
    return element("section", element("h2", "Summary"), models.legend(), models.table(lines, "task"))


def _task(name: str, results: Sequence[Result], models: Models) -> Node:
    main = results[0].outcome.main
    figure, references = published(name) or (main, ())
    sets = by_subset(results)
    lines = [_line(subset, of_model, models, figure, references) for subset, of_model in sets.items()]
    if len(sets) > 1:
        mean = {
            model: sum(_score(result, figure) for result in of_model) / len(of_model)
            for model, of_model in by_model(results).items()
        }
        published_figures = [
            (one.model, value) for one in references if (value := one.mean_over(_codes(sets))) is not None
        ]
        lines.append(models.row(element("td", "mean", class_="name"), mean, None, published_figures, class_="mean"))
    drawn = [one for one in references if one.by_language or one.mean_over(_codes(sets)) is not None]
    return element(
        "section",
        element("h2", name, id=_anchor(name)),
        element("p", f"{results[0].type}; {figure}; {counted(len(sets), 'set')}."),
        models.legend(drawn),
        models.table(lines, "set"),
        _abstention(results),
        plots.of_task(results, models.colours),
        failures.of_task(results),
    )


def _abstention(results: Sequence[Result]) -> Node | None:
    heads, rows = abstaining.rows(results)
    if not rows:
        return None
    head = element("thead", element("tr", *(element("th", name) for name in heads)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    title = element("summary", "Abstention and calibration")
    table = element("div", element("table", head, body), class_="scroll")
    return element("details", title, element("p", abstaining.about(results)), table)


def _line(
    subset: str, of_model: Mapping[str, Result], models: Models, figure: str, references: Sequence[Published]
) -> Node:
    languages = [code for code in next(iter(of_model.values())).subset.languages if code != "und"]
    codes = {code.partition("-")[0] for code in languages}
    published_figures = [
        (reference.model, value)
        for reference in references
        for code, value in reference.by_language.items()
        if code in codes
    ]
    # Intervals are those of the main figure; published ones may be of another.
    intervals = {name: result.interval for name, result in of_model.items() if result.outcome.main == figure}
    label = element("td", subset, element("small", " ".join(languages)), class_="name")
    return models.row(
        label, {name: _score(result, figure) for name, result in of_model.items()}, intervals, published_figures
    )


def _codes(sets: Mapping[str, Mapping[str, Result]]) -> list[tuple[str, ...]]:
    """The language codes of each set, without scripts."""
    first = [next(iter(of_model.values())).subset.languages for of_model in sets.values()]
    return [tuple(code.partition("-")[0] for code in languages) for languages in first]


def _score(result: Result, figure: str) -> float:
    return result.outcome.scores.get(figure, result.outcome.score)


def _prompts(results: Sequence[Result]) -> Node:
    """What was said to each model: without it the figures mean little."""
    said = {
        (result.model, result.subset.task, prompt.side, prompt.text or "(nothing)", result.fingerprint[:12]): None
        for result in results
        for prompt in result.prompts
    }
    lines = [
        element(
            "tr", element("td", model), element("td", task), element("td", side),
            element("td", text(prompt, class_="prompt")), element("td", element("code", weights)),
        )
        for model, task, side, prompt, weights in said
    ]  # fmt: skip
    names = ("model", "task", "side", "in front of every text", "weights")
    head = element("thead", element("tr", *(element("th", name) for name in names)))
    return element(
        "section",
        element("h2", "Prompts"),
        element("p", "Scores depend on them: compare figures only where both models got the same."),
        element("div", element("table", head, element("tbody", *lines)), class_="scroll"),
    )
