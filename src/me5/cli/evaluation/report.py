"""`me5 eval report`: results as a page, and as a table."""

from pathlib import Path
from typing import Annotated

import typer

from me5.errors import counted


def report(
    paths: Annotated[list[Path], typer.Argument(metavar="RESULTS…", help="What --out of `me5 eval run` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page; with .md a table.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option("--title", help="The title of the page.")] = "Evaluation",
) -> None:
    """Write results as one self-contained HTML page, or as a Markdown table.

    The page has scores by language with intervals and published figures, precision and recall, the distribution of
    cosines, the worst failures, and the prompts. It loads nothing from the network.

    \b
    me5 eval report results
    me5 eval report results other-results -o report.html
    me5 eval report results -o table.md
    """
    from me5.errors import InputError
    from me5.evaluation.report import as_html, as_markdown
    from me5.evaluation.results import read
    from me5.files.atomic import check_file, write_text

    if out.suffix not in (".html", ".md"):
        raise InputError(f"{out} is neither .html nor .md, which are what a report can be written as")
    check_file(out)
    results = [result for path in paths for result in read(path)]
    text = as_html(results, title) if out.suffix == ".html" else as_markdown(results, title)
    write_text(out, text)
    typer.echo(f"{out}: {counted(len(results), 'result')}", err=True)
