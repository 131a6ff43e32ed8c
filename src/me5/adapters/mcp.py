"""The Model Context Protocol: an `Index` as a server of tools that a language model calls."""

import asyncio
from typing import TYPE_CHECKING, Any

from me5.search.agents import server_of
from me5.search.hits import Hit
from me5.search.index import Index
from me5.search.searching import Question

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def server(index: Index) -> "MCPServer[Any]":
    """A server of the tools `search`, `read` and `sources` over a store, to be run (`.run("stdio")`)."""
    return server_of(_Local(index), index.store.counts("language"))


class _Local:
    """A store that is open in this process; see `Searched`."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def find(self, question: Question) -> list[Hit]:
        where = None if question.where is None else str(question.where)
        return await asyncio.to_thread(
            self._index.search, question.text, question.k, where=where, by=question.by, highlight=True,
            min_probability=question.fit.min_probability,
        )  # fmt: skip

    async def around(self, passage: str, before: int, after: int) -> list[Hit]:
        return await asyncio.to_thread(self._index.around, passage, before=before, after=after)

    async def counts(self, *columns: str) -> list[dict[str, int]]:
        return await asyncio.to_thread(lambda: [self._index.store.counts(column) for column in columns])
