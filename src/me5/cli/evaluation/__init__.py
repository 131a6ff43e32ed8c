"""`me5 eval`: how good is a model on evaluation sets in files; one file per subcommand."""

import typer

from me5.cli.evaluation import compare, prompts, report, run, speed
from me5.cli.register import register

app = typer.Typer(
    help="Judge models on evaluation sets in files, offline, by mteb's protocols.",
    epilog="Start with: me5 eval run DATA --out results, then me5 eval report results",
    no_args_is_help=True,
)
register(
    app, run=run.run, compare=compare.compare, speed=speed.speed, prompts=prompts.prompts, report=report.report,
)  # fmt: skip
