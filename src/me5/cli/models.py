"""`me5 models`: the models that me5 knows, which of them are on this machine, and what those take there."""

from typing import Annotated

import typer

from me5 import catalog
from me5.cli import options, output
from me5.cli.register import help_of, register, with_default
from me5.errors import InputError, counted

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A hub id, or the last part of a known one.")]


def models() -> None:
    """List the models that me5 knows, download them, and tell or free the space that they take.

    They lie in the cache of huggingface_hub (the variable HF_HOME), which other programs use too.

    \b
    me5 models
    me5 models pull intfloat/multilingual-e5-small
    me5 models size
    me5 models rm intfloat/multilingual-e5-small
    """


def pull(
    model: Model,
    revision: options.Revision = None,
    quiet: options.Quiet = False,
) -> None:
    """Download a model, and check that me5 reads it; a folder is checked alone.

    \b
    me5 models pull multilingual-e5-small
    me5 models pull BAAI/bge-reranker-v2-m3
    """
    from me5.checkpoint import resolve
    from me5.weights import Weights

    checkpoint = resolve(model, revision=revision, progress=not quiet)
    weights = Weights(checkpoint.weights, checkpoint.config)
    if not quiet:
        size = f"{weights.parameters / 1e6:,.0f} M parameters, {weights.file_bytes / 1e6:,.1f} MB"
        kind = "a model" if checkpoint.config.head is None else "a reranker"
        output.print_line(f"{checkpoint.name}: {kind} of {size}, in {checkpoint.path}")


def size(as_json: options.Json = False) -> None:
    """Show what the models in the cache take, the largest first; other programs' too.

    \b
    me5 models size
    """
    from me5 import hub

    found = sorted(hub.stored().items(), key=lambda one: -one[1].size)
    if as_json:
        output.print_json(
            [
                {"id": name, "bytes": one.size, "revisions": one.revisions, "path": str(one.path)}
                for name, one in found
            ]
        )  # fmt: skip
        return
    rows = [[name, f"{one.size / 1e6:,.1f}", str(one.revisions)] for name, one in found]
    total = f"{sum(one.size for _, one in found) / 1e6:,.1f} MB in {counted(len(found), 'model')}"
    output.print_table(("model", output.Number("MB"), output.Number("revisions")), rows, caption=total, framed=False)


def rm(model: Model, quiet: options.Quiet = False) -> None:
    """Delete a model from the cache, with all its revisions.

    \b
    me5 models rm intfloat/multilingual-e5-small
    """
    from me5 import hub

    known = catalog.find(model)
    name = model if known is None else known.id
    if name == catalog.BUNDLED:
        raise InputError(f"{name} is a part of me5, and is removed with it")
    freed = hub.remove(name)
    if not quiet:
        output.print_line(f"{name}: {freed / 1e6:,.1f} MB freed")


def list_(as_json: options.Json = False) -> None:
    """List the known models: shape, prompts, limits, licence, and which are on this machine.

    Any other checkpoint of the same architectures loads too, from a folder or a hub id.

    \b
    me5 models
    me5 models list --json
    """
    from me5 import hub

    rows = [(model, model.id == catalog.BUNDLED or hub.cached(model.id) is not None) for model in catalog.KNOWN_MODELS]
    if as_json:
        listed = [
            {
                "id": model.id, "kind": "reranker" if model.reranker else "embedding",
                "revision": model.revision or None, "dim": model.dim, "layers": model.layers,
                "parameters": model.parameters, "max_tokens": model.max_tokens, "languages": model.languages,
                "query_prompt": model.prompts.prefix("query"), "document_prompt": model.prompts.prefix("document"),
                "licence": model.licence, "local": local,
            }
            for model, local in rows
        ]  # fmt: skip
        output.print_json(listed)
    else:
        _print_table(rows)


def _print_table(rows: list[tuple[catalog.KnownModel, bool]]) -> None:
    from rich.text import Text

    terminal = output.console().is_terminal
    cells: list[list[str | Text]] = []
    for model, local in rows:
        owner, slash, short = model.id.rpartition("/")
        name = Text(f"{owner}{slash}{chr(10) * (terminal and bool(owner))}", "dim") + Text(short, "bold" * local)
        size = f"{model.parameters / 1e6:,.0f} M"
        dim, style = ("", "reranker") if model.reranker else (str(model.dim), model.prompts.style)
        cells.append([name, dim, size, f"{model.max_tokens:,}", style, model.licence])
    here = ", ".join(model.id for model, local in rows if local)
    number = output.Number
    heads = ("model", number("dim"), number("params"), number("tokens"), "prompts", "licence")
    output.print_table(heads, cells, caption=f"on this machine (bold): {here}", framed=False)


app = typer.Typer(cls=with_default("list", alone=True), help=help_of(models), no_args_is_help=False)
register(app, list=list_, pull=pull, size=size, rm=rm)
