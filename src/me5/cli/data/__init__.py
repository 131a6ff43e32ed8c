"""`me5 data`: training data, from other people's files to what a recipe reads; one file per subcommand."""

import typer

from me5.cli.data import check, decontaminate, deduplicate, filter, mine, read, score, tokenizer  # noqa: A004

app = typer.Typer(
    help="Make training data: read it from any format, clean it, mine negatives, score them with a teacher.",
    epilog="Start with: me5 data read FILES --out pairs, then me5 data check pairs",
    no_args_is_help=True,
)
app.command("read")(read.read)
app.command("check")(check.check)
app.command("deduplicate")(deduplicate.deduplicate)
app.command("decontaminate")(decontaminate.decontaminate)
app.command("filter")(filter.filter)
app.command("mine")(mine.mine)
app.command("score")(score.score)
app.command("tokenizer")(tokenizer.tokenizer)
