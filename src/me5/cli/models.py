"""`me5 models`: the models that me5 knows, and which of them are on this machine."""

import json

from me5 import catalog
from me5.cli import options, streams


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
        print(json.dumps(listed, ensure_ascii=False, indent=2))  # noqa: T201
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), caption="bold: on this machine", caption_justify="left")
    table.add_column("model", overflow="fold")
    for column in ("dim", "params", "tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("prompts", "licence"):
        table.add_column(column, no_wrap=True)
    console = streams.console()
    for model, local in rows:
        size = f"{model.parameters / 1e6:,.0f} M"
        owner, slash, short = model.id.rpartition("/")
        line = "\n" if owner and console.is_terminal else ""
        name = Text(f"{owner}{slash}{line}", "dim") + Text(short, "bold" if local else "")
        table.add_row(name, str(model.dim), size, f"{model.max_tokens:,}", model.prompts.style, model.licence)
    console.print(table)
