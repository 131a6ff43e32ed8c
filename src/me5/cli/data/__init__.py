"""`me5 data`: training data, from files of many formats to what a recipe reads; one file per subcommand."""

import typer

from me5.cli.data import check, decontaminate, deduplicate, filter, mine, read, score, synthesize, tokenizer  # noqa: A004
from me5.cli.register import register

app = typer.Typer(
    help="Make training data: read it from any format, clean it, mine negatives, score them with a teacher.",
    epilog="Start with: me5 data read FILES --out pairs, then me5 data check pairs",
    no_args_is_help=True,
)
register(
    app, read=read.read, check=check.check, deduplicate=deduplicate.deduplicate,
    decontaminate=decontaminate.decontaminate, filter=filter.filter, mine=mine.mine, score=score.score,
    synthesize=synthesize.synthesize, tokenizer=tokenizer.tokenizer,
)  # fmt: skip
