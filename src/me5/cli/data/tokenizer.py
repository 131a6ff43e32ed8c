"""`me5 data tokenizer`: train a tokenizer on datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.cli import options
from me5.cli.data import shared
from me5.errors import counted

if TYPE_CHECKING:
    from me5.data.vocabulary import Drawn


def tokenizer(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders that `me5 data read` made.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the tokenizer's files go.")],
    pieces: Annotated[
        int, typer.Option("--pieces", "-n", min=16, help="The largest size of the vocabulary, with special tokens.")
    ] = 50_000,
    alphabet: Annotated[
        int | None,
        typer.Option(
            "--alphabet",
            min=1,
            show_default="a seventh of the pieces",
            help="The most single characters; rarer ones become unknown.",
        ),
    ] = None,
    lower_case: Annotated[
        bool, typer.Option("--lower-case", help="Convert texts to lower case: more words for the same pieces.")
    ] = False,
    prompts: Annotated[
        Literal["instruct", "prefix", "none"],
        typer.Option("--prompts", help="The model's style of prompts, whose words become one piece each."),
    ] = "instruct",
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0.0,
            max=1.0,
            help="A language with n texts has n ** temperature shares of the sample: 1 its size, 0 the same for each.",
        ),
    ] = 0.5,
    lines: Annotated[int, typer.Option("--lines", min=1, help="The most texts in the sample.")] = 500_000,
    characters: Annotated[int, typer.Option("--characters", min=1, help="The most of each text.")] = 240,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=3, help="The longest text that the model will read.")
    ] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    overwrite: shared.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a Unigram tokenizer with XLM-RoBERTa's special tokens and ids, on texts balanced over languages.

    Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, which transformers reads to the same ids.
    A recipe that starts from random weights names the folder under model.tokenizer.

    \b
    me5 data tokenizer pairs --pieces 50000 --out tokenizer
    me5 data tokenizer pairs questions --pieces 32000 --lower-case --temperature 0.3 --out tokenizer
    """
    from me5.data.dataset import Dataset
    from me5.data.vocabulary import Sample, draw, save, train
    from me5.files.atomic import check_free
    from me5.progress import track

    check_free(out, overwrite=overwrite)
    opened = [Dataset.open(folder) for folder in datasets]
    show = not quiet
    texts = sum(dataset.counts["documents"] + dataset.counts["queries"] for dataset in opened)
    with track(texts, show=show, description="Drawing") as advance:
        drawn = draw(opened, Sample(lines, characters, temperature, seed), advance=advance)
    made, covered = train(
        drawn.lines, pieces=pieces, alphabet=pieces // 7 if alphabet is None else alphabet, lower_case=lower_case,
        prompts=_prompts(prompts), show_progress_bar=show,
    )  # fmt: skip
    save(made, out, max_tokens=max_tokens, overwrite=overwrite)
    if not quiet:
        _print_summary(drawn, made.get_vocab_size(), pieces, covered)
        typer.echo(f"tokenizer in {out}", err=True)


def _prompts(style: Literal["instruct", "prefix", "none"]) -> list[str]:
    """What stands before texts."""
    from me5.prompts import STYLES, TASKS

    chosen = STYLES[style]
    if style == "instruct":
        return [chosen.prefix("query", task) for task in TASKS]
    return [chosen.prefix("query"), chosen.prefix("document")]


def _print_summary(drawn: "Drawn", pieces: int, wanted: int, covered: float) -> None:
    total, languages = counted(sum(drawn.found.values()), "text"), counted(len(drawn.found), "language")
    typer.echo(f"{len(drawn.lines):,} of {total} in {languages}; {counted(pieces, 'piece')}")
    if pieces < wanted:
        typer.echo(f"the sample has fewer pieces than {wanted:,}: give it more text (--lines), or set --pieces lower")
    typer.echo(f"the alphabet covers {covered:.3%} of the sample")
    for lang in sorted(drawn.found, key=lambda lang: -drawn.drawn[lang])[:10]:
        typer.echo(f"  {lang or 'unknown':10} {drawn.drawn[lang]:>10,} of {drawn.found[lang]:>12,}")
