"""`me5 score`: every query against every document, as dot products × 100."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from me5.cli import options, output
from me5.errors import CalibrationError, InputError

if TYPE_CHECKING:
    from me5.embedder import Embedder
    from me5.vectors import Float32

# Of a score such as "-12.34 ←" with the lines of its column; what is left for queries on a narrow terminal.
_SCORE_WIDTH, _QUERY_WIDTH = 11, 24


@options.with_model(without=("max_tokens",))
def score(
    queries: Annotated[list[str], typer.Option("--query", "-q", help="A query; give it several times.")],
    documents: Annotated[list[str], typer.Option("--document", "-d", help="A document; give it several times.")],
    model: options.ModelOptions,
    task: options.Task = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score queries against documents: dot products of their unit vectors × 100, as on the model card.

    Only the order within a row means something: E5 models put all scores high. A reranker reads each query together
    with each document instead: its scores from 0 to 1 are shown × 100, logits as they are.

    \b
    me5 score -q 'how tall is K2?' -q '¿qué altura tiene el K2?' -d 'K2 rises to 8,611 metres.' -d 'Bake for an hour.'
    me5 score --model BAAI/bge-reranker-v2-m3 -q 'how tall is K2?' -d 'K2 rises to 8,611 metres.' -d 'Bake for an hour.'
    me5 score --json --task bitext -q 'Guten Morgen' -d 'Good morning' | jq .scores
    """
    from me5.checkpoint import resolve

    if resolve(model.name, revision=model.revision, progress=not quiet).config.head is not None:
        _by_reranker(queries, documents, model, task, as_json=as_json, quiet=quiet)
        return
    embedder = model.open(quiet=quiet)
    scores = embedder.similarity(embedder.encode_query(queries, task=task), embedder.encode_document(documents)) * 100
    if as_json:
        result = {
            "model": embedder.checkpoint.name,
            "precision": embedder.precision,
            "query_prompt": embedder.prompts.prefix("query", task),
            "document_prompt": embedder.prompts.prefix("document"),
            "queries": queries,
            "documents": documents,
            "scores": [[round(float(value), 4) for value in row] for row in scores],
            **_probabilities(embedder, scores, task, quiet=quiet),
        }
        output.print_json(result)
    else:
        print_table(queries, documents, scores)


def _by_reranker(
    queries: Sequence[str],
    documents: Sequence[str],
    model: options.ModelOptions,
    task: str | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score every query with every document by a cross-encoder."""
    if task is not None or model.prompts is not None:
        raise InputError(f"{model.name} is a reranker, which knows neither tasks nor prompts; leave them out")
    reranker = model.open_reranker(quiet=quiet)
    pairs = [(query, document) for query in queries for document in documents]
    scores = reranker.score(pairs).reshape(len(queries), len(documents))
    if as_json:
        result = {
            "model": reranker.checkpoint.name,
            "precision": reranker.precision,
            "activation": reranker.head.activation,
            "queries": queries,
            "documents": documents,
            "scores": [[round(float(value), 6) for value in row] for row in scores],
        }
        output.print_json(result)
    else:
        print_table(queries, documents, scores * 100 if reranker.head.activation == "sigmoid" else scores)


def _probabilities(embedder: "Embedder", scores: "Float32", task: str | None, *, quiet: bool) -> dict[str, Any]:
    """What a calibration makes of the scores; nothing where there is none, or it tells nothing of so few documents.

    One for something else is told of.
    """
    try:
        if embedder.calibration is None or not embedder.calibration.tells(scores.shape[1]):
            return {}
        return {"probabilities": embedder.probability(scores / 100, task=task).round(4).tolist()}
    except CalibrationError as error:
        if not quiet:
            output.complain("warning", f"no probabilities: {error}")
        return {}


def print_table(queries: Sequence[str], documents: Sequence[str], scores: "Float32") -> None:
    """Print scores (queries, documents) under numbered documents, the best one of each query marked."""
    from rich.table import Table
    from rich.text import Text

    console = output.console()
    legend = Table(show_header=False, box=None, padding=(0, 1))
    legend.add_column(no_wrap=True, overflow="ellipsis")
    for number, document in enumerate(documents, 1):
        legend.add_row(Text(f"{number}  ", "bold cyan") + Text(" ".join(document.split())))
    console.print(legend)
    best = scores.argmax(axis=1)
    # No digit is lost: documents that have no room beside each other come in a table of their own.
    beside = max((console.width - _QUERY_WIDTH) // _SCORE_WIDTH, 1)
    for first in range(0, len(documents), beside):
        shown = range(first, min(first + beside, len(documents)))
        rows: list[list[str | Text]] = [
            [
                query,
                *(
                    Text(f"{row[at]:.2f} ←", "bold green") if at == nearest else Text(f"{row[at]:.2f}  ")
                    for at in shown
                ),
            ]
            for query, row, nearest in zip(queries, scores, best, strict=True)
        ]
        output.print_table(["query", *(output.Number(at + 1) for at in shown)], rows)
