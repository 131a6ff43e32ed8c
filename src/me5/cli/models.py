"""`me5 models`: the models that me5 knows, and which of them are on this machine."""

from me5 import catalog
from me5.cli import options, output


def models(as_json: options.Json = False) -> None:
    """List the known models: shape, prompts, limits, licence, and which are on this machine.

    Any other checkpoint of the same architectures loads too, from a folder or a hub id.

    \b
    me5 models
    me5 models --json
    """
    from me5 import hub

    rows = [(model, model.id == catalog.BUNDLED or hub.cached(model.id) is not None) for model in catalog.KNOWN_MODELS]
    if as_json:
        listed = [
            {
                "id": model.id, "revision": model.revision or None, "dim": model.dim, "layers": model.layers,
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
        cells.append([name, str(model.dim), size, f"{model.max_tokens:,}", model.prompts.style, model.licence])
    number = output.Number
    heads = ("model", number("dim"), number("params"), number("tokens"), "prompts", "licence")
    output.print_table(heads, cells, caption="bold: on this machine", framed=False)
