"""POST /mcp: the tools of `me5 mcp`, asked over HTTP by the protocol's own client, under the service's keys."""

import asyncio
import json

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from me5 import Embedder
from me5.search import Document, Index
from me5.search.agents import MOST_CHARACTERS

KEY = "sk-of-an-agent"
HEADERS = {"authorization": f"Bearer {KEY}", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents")
    (folder / "docs").mkdir()
    (folder / "docs" / "berg.md").write_text("# Berge\n\nDie Zugspitze ist der höchste Berg Deutschlands.\n", "utf-8")
    rows = [{"text": f"Row {n} about E-10{n}.", "more": "x" * 60_000} for n in range(20)]
    (folder / "docs" / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with Index.open(folder / "my.lance", Embedder.load(precision="f32"), create=True) as index:
        index.add([folder / "docs"])
        index.add_documents({"note": Document("Bread needs flour.", metadata={"by": "Ann"})})
    return index


@pytest.fixture(scope="module")
def served(index, launch):
    return launch("--search", index.store.uri, "--precision", "f32", "--no-page", keys=KEY)


def asked(server, *calls, mode="auto", **headers):
    """Tools, instructions and the results of calls, by a client with these headers."""

    async def run():
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                tools = (await client.list_tools()).tools
                return tools, client.instructions, [await client.call_tool(name, told) for name, told in calls]

    return asyncio.run(run())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_searches_reads_on_and_lists_over_http(served, index, mode):
    calls = (
        ("search", {"question": "what is bread made of?", "k": 2, "languages": ["en"], "filter": "kind != 'jsonl'"}),
        ("search", {"question": "E-103", "by": "words", "k": 1, "source": "rows"}),
        ("search", {"question": "anything", "languages": ["xx"]}),
        ("search", {"question": " "}),
        ("search", {"question": "row", "k": 50}),
        ("read", {"id": "none"}),
        ("sources", {"contains": "docs/"}),
    )
    tools, instructions, results = asked(served, *calls, mode=mode, authorization=f"Bearer {KEY}")
    found, named, nothing, empty, many, gone, listed = results
    assert {tool.name for tool in tools} == {"search", "read", "sources"}
    assert "Search over 22 passages" in instructions
    expected = index.search("what is bread made of?", 2, where="language = 'en' AND kind != 'jsonl'", highlight=True)
    passages = found.structured_content["passages"]
    assert [(passage["id"], passage["best_sentence"]) for passage in passages] == [
        (hit.id, hit.best_sentence) for hit in expected
    ]
    assert named.structured_content["passages"][0]["place"] == "docs/rows.jsonl, line 4"
    assert nothing.structured_content["note"] == "nothing matches; ask again without languages, source and filter"
    assert empty.is_error
    assert "the question is empty" in empty.content[0].text
    told = many.structured_content
    assert 10 < len(told["passages"]) < 20
    assert len(json.dumps(told)) < 1.1 * MOST_CHARACTERS
    assert told["note"] == f"{22 - len(told['passages'])} more have no room in a reply; ask for fewer, or filter"
    assert gone.is_error
    assert "there is no passage 'none'" in gone.content[0].text
    assert listed.structured_content["sources"] == {"docs/rows.jsonl": 20, "docs/berg.md": 1}


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-wrong"}])
def test_without_its_key_no_agent_gets_in(served, headers):
    with pytest.raises(BaseExceptionGroup) as caught:
        asked(served, ("sources", {}), **headers)
    assert "Server returned an error response" in repr(caught.value)
    reply = httpx.post(f"{served.url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=headers)
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


def test_messages_are_bounded_as_all_bodies_are(served):
    def post(**options):
        return httpx.post(f"{served.url}/mcp", headers=HEADERS | options.pop("headers", {}), timeout=60, **options)

    assert post(json=[]).status_code == 400
    assert post(content=b"{", headers={"content-type": "application/json"}).json()["error"]["code"] == "invalid_json"
    assert post(content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert post(json={"x": "y" * (17 << 20)}).status_code == 413
    wrong = post(json={"jsonrpc": "2.0", "id": 1, "method": "tools/nothing"})
    assert wrong.json()["error"]["code"] == -32601
    call = {"name": "search", "arguments": {"question": "x", "languages": ["de"] * 1001}}
    many = post(json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    assert many.json()["result"]["isError"]
    version = {"mcp-protocol-version": "2026-07-28"}
    told = {"io.modelcontextprotocol/protocolVersion": version["mcp-protocol-version"]}
    told |= {"io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"}}
    told |= {"io.modelcontextprotocol/clientCapabilities": {}}
    listen = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "subscriptions/listen",
        "params": {"notifications": {}, "_meta": told},
    }
    refused = post(json=listen, headers=version | {"mcp-method": "subscriptions/listen"})
    assert refused.json()["error"]["code"] == -32601, "no stream stays open"
    for method in ("GET", "DELETE"):
        assert httpx.request(method, f"{served.url}/mcp", headers=HEADERS).status_code == 405
