"""`me5 tokens`: how a text is prompted, tokenized and truncated."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from me5.cli import options, output

if TYPE_CHECKING:
    from me5.preprocessor import Preprocessor
    from me5.prompts import Side


@options.with_model(without=("device", "precision", "threads"))
def tokens(
    texts: Annotated[list[str], typer.Argument(help="Texts to tokenize.")],
    model: options.ModelOptions,
    side: Annotated[
        Literal["query", "document", "both"], typer.Option("--side", "-s", help="Which prompt to put in front.")
    ] = "query",
    task: options.Task = None,
    as_json: options.Json = False,
) -> None:
    """Show the exact text that the model reads, its tokens, and what is cut off.

    \b
    me5 tokens 'how tall is K2?'
    me5 tokens --side document --max-tokens 8 'A text that is longer than that.'
    """
    from me5.checkpoint import resolve
    from me5.preprocessor import Preprocessor

    preprocessor = Preprocessor(
        resolve(model.name, revision=model.revision), prompts=model.prompts, max_tokens=model.max_tokens,
        truncation=model.truncation,
    )  # fmt: skip
    looked = [look(preprocessor, text, side, task) for text in texts]
    if as_json:
        output.print_json(looked)
        return
    for one in looked:
        output.print_line(("read     ", "bold"), repr(one["prompted"]))
        for sequence in one["sequences"]:
            pieces = [
                (piece, "black on bright_cyan" if at % 2 else "black on bright_white")
                for at, piece in enumerate(sequence["pieces"])
            ]
            # No piece holds a space, which stands between them where their colours do not show.
            shown = pieces if output.has_colours() else [" ".join(sequence["pieces"])]
            output.print_line(("tokens   ", "bold"), *shown)
        lost = f", {one['lost']:,} lost ({one['truncation']})" if one["lost"] else ""
        output.print_line(("count    ", "bold"), f"{one['tokens']:,} of {one['max_tokens']:,}{lost}")


def look(preprocessor: "Preprocessor", text: str, side: "Side", task: str | None) -> dict[str, Any]:
    """One text as the model reads it."""
    prepared = preprocessor.prepare([text], side, task=task)
    prompt, tokenizer = preprocessor.prompts.prefix(side, task), preprocessor.tokenizer
    return {
        "prompted": prompt + text,
        "prompt": prompt,
        "tokens": prepared.report.tokens[0],
        "lost": prepared.report.lost[0],
        "max_tokens": preprocessor.max_tokens,
        "truncation": preprocessor.truncation,
        "sequences": [{"ids": ids.tolist(), "pieces": tokenizer.pieces(ids.tolist())} for ids in prepared.sequences],
    }
