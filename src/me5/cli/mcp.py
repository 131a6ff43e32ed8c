"""`me5 mcp`: a store as tools for agents."""

import typer

from me5.cli import options
from me5.cli.index import StorageOption, Store, open_index, stored_model
from me5.errors import counted


@stored_model
def mcp(store: Store, model: options.ModelOptions, storage_option: StorageOption = None) -> None:
    """Serve a store to agents over standard input and output (Model Context Protocol): search, read, sources.

    An agent starts this command itself; docs/integrations.md has the lines for its configuration.

    \b
    me5 mcp my.lance
    """
    from me5.adapters.mcp import server

    index = open_index(store, storage_option, model, quiet=True)
    typer.echo(f"{counted(len(index), 'passage')}; model {index.embedder.checkpoint.name}", err=True)
    server(index).run("stdio")
