"""Results as Markdown: means by task, then every set, a column per model."""

from collections.abc import Sequence

from me5.evaluation.means import by_subset, by_task, means
from me5.evaluation.report import abstaining
from me5.evaluation.results import Result, by_model


def as_markdown(results: Sequence[Result], title: str) -> str:
    """Tables of figures × 100 with 95 % intervals; the best of a row is bold."""
    models = [*by_model(results)]
    lines = [f"# {title}", "", "Figures × 100, higher is better; in brackets the 95 % bootstrap interval.", ""]
    lines += _head(["task", "figure", "sets", *models], right=3)
    rows: dict[tuple[str, str], dict[str, tuple[float, int]]] = {}
    for mean in means(results):
        rows.setdefault((mean.task, mean.main), {})[mean.model] = (mean.score, mean.sets)
    for (task, main), of_model in rows.items():
        scores = {model: score for model, (score, _) in of_model.items()}
        sets = str(max(count for _, count in of_model.values()))
        lines.append(_row([task, main, sets, *_cells(models, scores, {})]))
    for task, of_task in by_task(results).items():
        lines += ["", f"## {_escaped(task)} ({of_task[0].outcome.main})", ""]
        lines += _head(["set", *models], right=1)
        for subset, results_of in by_subset(of_task).items():
            scores = {model: result.outcome.score for model, result in results_of.items()}
            intervals = {model: result.interval for model, result in results_of.items()}
            lines.append(_row([subset, *_cells(models, scores, intervals)]))
        heads, cells = abstaining.rows(of_task)
        if cells:
            lines += ["", abstaining.about(of_task), "", *_head(heads, right=2), *map(_row, cells)]
    lines += ["", "## Prompts", ""]
    said = {(r.model, p.side, p.text): None for r in results for p in r.prompts}
    lines += [f"- {_escaped(model)}, {side}: `{prompt!r}`" for model, side, prompt in said]
    return "\n".join(lines) + "\n"


def _cells(
    models: Sequence[str], scores: dict[str, float], intervals: dict[str, tuple[float, float] | None]
) -> list[str]:
    top = max(scores.values())
    cells = []
    for model in models:
        if model not in scores:
            cells.append("–")
            continue
        cell = f"{100 * scores[model]:.1f}"
        if len(scores) > 1 and scores[model] == top:
            cell = f"**{cell}**"
        if interval := intervals.get(model):
            cell += f" ({100 * interval[0]:.1f} – {100 * interval[1]:.1f})"
        cells.append(cell)
    return cells


def _head(names: Sequence[str], right: int) -> list[str]:
    return [_row(names), "|" + "|".join("---" if place < right else "--:" for place in range(len(names))) + "|"]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
