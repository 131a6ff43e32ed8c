"""`me5 data decontaminate`: remove the texts of evaluation sets from a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from me5.cli import options
from me5.cli.data import shared
from me5.errors import counted


def decontaminate(
    dataset: shared.Dataset_,
    evaluation: Annotated[
        list[Path],
        typer.Option(
            "--evaluation", "-e", metavar="PATH",
            help="What `me5 eval` reads, or a .txt of a text per line; may be given several times.",
        ),
    ],
    out: shared.Out,
    whole_corpus: Annotated[
        bool, typer.Option("--whole-corpus", help="Compare with irrelevant documents of retrieval sets, too.")
    ] = False,
    common: Annotated[
        int, typer.Option("--common", min=1, help="A run that occurs in more training texts is boilerplate.")
    ] = 10,
    overwrite: shared.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Remove the texts of evaluation sets from a dataset, and list what was removed and why in decontamination.jsonl.

    A query or document is removed, with its relations, if its letters and digits equal those of an evaluation text, or
    if both share a run of about 60 of them (Chinese, Japanese and Korean ones count twice), about 13 English words.
    Runs that occur in more than --common training texts do not count: licences, headings, set phrases.

    \b
    me5 data decontaminate pairs -e data/retrieval -e data/sts --out clean
    """
    from me5.data.dataset import Dataset
    from me5.data.decontamination import LIST
    from me5.data.decontamination import decontaminate as decontaminated

    written = decontaminated(
        Dataset.open(dataset), out, evaluation, whole_corpus=whole_corpus, common=common,
        show_progress_bar=not (quiet or as_json), overwrite=overwrite,
    )  # fmt: skip
    shared.print_summary(written, as_json=as_json, quiet=quiet)
    if not quiet and not as_json:
        step = written.steps[-1]
        removed = "; ".join(f"{what}: {count:,}" for what, count in step["removed"].items() if count) or "nothing"
        typer.echo(
            f"compared with {counted(step['evaluation_texts'], 'evaluation text')}; removed: {removed}", err=True
        )
        typer.echo(f"every one is listed in {written.folder / LIST}", err=True)
