"""`me5 tokens`: how a text is prompted, tokenized and truncated."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from me5.cli import options

if TYPE_CHECKING:
    from me5.tokenizer import Tokenizer


def tokens(
    texts: Annotated[list[str], typer.Argument(help="Texts to look at.")],
    side: Annotated[
        Literal["query", "document", "both"], typer.Option("--side", "-s", help="Which prompt stands in front.")
    ] = "query",
    task: options.Task = None,
    model: options.Model = None,
    truncation: options.Truncation = "end",
    max_tokens: options.MaxTokens = None,
    prompts: options.Prompts = None,
    as_json: options.Json = False,
) -> None:
    """Show the exact text that the model reads, its tokens, and what is cut off.

    \b
    me5 tokens 'how tall is K2?'
    me5 tokens --side document --max-tokens 8 'A text that is longer than that.'
    """
    from me5.checkpoint import resolve
    from me5.prompts import NONE, STYLES
    from me5.tokenizer import Tokenizer

    checkpoint = resolve(model)
    config = checkpoint.config
    tokenizer = Tokenizer(checkpoint.tokenizer, max_tokens or config.max_tokens, lower_case=config.lower_case)
    prefix = (STYLES[prompts] if prompts else checkpoint.prompts or NONE).prefix(side, task)
    looked = [look(tokenizer, text, prefix, truncation) for text in texts]
    if as_json:
        print(json.dumps(looked, ensure_ascii=False, indent=2))  # noqa: T201
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for one in looked:
        console.print(Text("read     ", "bold") + Text(repr(one["prompted"])))
        for sequence in one["sequences"]:
            pieces = Text("tokens   ", "bold")
            for at, piece in enumerate(sequence["pieces"]):
                pieces.append(piece, "black on bright_cyan" if at % 2 else "black on bright_white")
            console.print(pieces)
        lost = f", {one['lost']:,} lost ({one['truncation']})" if one["lost"] else ""
        console.print(Text("count    ", "bold") + Text(f"{one['tokens']:,} of {one['max_tokens']:,}{lost}"))


def look(tokenizer: "Tokenizer", text: str, prefix: str, truncation: options.Truncation) -> dict[str, Any]:
    """One text as the model reads it."""
    prepared = tokenizer.prepare([text], prefix, truncation)
    return {
        "prompted": prefix + text,
        "prompt": prefix,
        "tokens": prepared.report.tokens[0],
        "lost": prepared.report.lost[0],
        "max_tokens": tokenizer.max_tokens,
        "truncation": truncation,
        "sequences": [{"ids": ids.tolist(), "pieces": tokenizer.pieces(ids.tolist())} for ids in prepared.sequences],
    }
