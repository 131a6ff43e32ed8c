"""`me5 data check`: every row of a dataset against the rules."""

import typer

from me5.cli import options, output
from me5.cli.data import shared


def check(dataset: shared.Dataset_, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Check every row of a dataset: hashes, texts, ids, kinds, scores, and whether relations lead somewhere.

    Exits with 2 at the first error, naming file and row. Also counts what is allowed but worth knowing: documents
    without a relation (mining can use them), and queries without a positive (nothing to train on).

    \b
    me5 data check pairs
    """
    from me5.data.checking import check as checked
    from me5.data.dataset import Dataset

    opened = Dataset.open(dataset)
    found = checked(opened, show_progress_bar=not (quiet or as_json))
    facts = {
        "unrelated_documents": found.unrelated, "unanswered_queries": found.unanswered,
        "sources": found.sources, "licences": found.licences, "fingerprint": opened.fingerprint,
    }  # fmt: skip
    if as_json:
        output.print_json({"counts": dict(opened.counts), **facts})
        return
    typer.echo(f"{dataset}: sound; {shared.summary(opened.counts)}")
    typer.echo(f"documents without a relation: {found.unrelated:,}; queries without a positive: {found.unanswered:,}")
    for name, counts in (("source", found.sources), ("licence", found.licences)):
        most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{value or 'unknown'} {count:,}" for value, count in most[:20])
        typer.echo(f"relations by {name}: {shown}{' …' * (len(most) > 20)}")
    typer.echo(f"steps: {', '.join(str(step.get('step')) for step in opened.steps)}")
