"""`me5 info`: what a model folder holds, and how its texts are written."""

from typing import Annotated, Any

import typer

from me5.catalog import BUNDLED
from me5.cli import options, output
from me5.errors import counted


def info(
    model: Annotated[str, typer.Argument(help="A folder, a .gguf file, a hub id, or me5-small.")] = BUNDLED,
    as_json: options.Json = False,
) -> None:
    """Show the shape, limits, prompts and files of a model, without loading its engine.

    \b
    me5 info
    me5 info intfloat/multilingual-e5-small
    me5 info ./my-model --json
    """
    facts = describe(model)
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts({key.replace("_", " "): _shown(key, value) for key, value in facts.items()})


def _shown(key: str, value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else repr(value) if "prompt" in key else str(value)


def describe(model: str) -> dict[str, Any]:
    """What is known of a model, in the order in which it is shown."""
    from me5.calibration.stored import path_of
    from me5.checkpoint import resolve
    from me5.weights import Weights

    checkpoint = resolve(model)
    config, prompts, known = checkpoint.config, checkpoint.prompts, checkpoint.known
    weights = Weights(checkpoint.weights, config)
    unknown = "not known; pass --prompts"
    head = config.head
    if head is not None:
        unknown = "none: it is a cross-encoder"
    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        "architecture": config.body,
        "layers": config.layers,
        "dim": config.hidden_size,
        "heads": config.heads,
        "parameters": weights.parameters,
        "vocabulary": config.vocab_size,
        "max_tokens": config.max_tokens,
        "pooling": config.pooling,
        "head": "none" if head is None else f"{counted(head.outputs, 'output')}, scores by {head.activation}",
        "weights": f"{', '.join(weights.dtypes)}, {weights.file_bytes / 1e6:,.1f} MB, files: {len(checkpoint.weights)}",
        "prompts": prompts.style if prompts else unknown,
        "query_prompt": prompts.prefix("query") if prompts else unknown,
        "document_prompt": prompts.prefix("document") if prompts else unknown,
        "symmetric_prompt": prompts.prefix("both") if prompts else unknown,
        "calibration": str(beside) if (beside := path_of(checkpoint)).is_file() else "none",
        "licence": known.licence if known else "see its card",
        "pinned_revision": known.revision if known and known.revision else "none",
    }
