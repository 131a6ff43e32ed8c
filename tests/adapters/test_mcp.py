"""`me5 mcp`, asked by the protocol's own client over standard input and output, as an agent's program does."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from mcp import Client, StdioServerParameters

from me5 import Embedder
from me5.calibration.applied import Calibration
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Curve
from me5.search import Document, Index
from me5.search.scale import keep

TEXT = "\n\n".join(f"Chapter {n}. " + f"The {word} is described here at length. " * 12 for n, word in enumerate(
    ["river", "mountain", "bread", "lamp", "museum", "engine"]
))  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcp")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "book.txt").write_text(TEXT)
    (docs / "berg.md").write_text("# Berge\n\nDie Zugspitze ist der höchste Berg Deutschlands.\n")
    (docs / "rows.jsonl").write_text("".join(json.dumps({"text": f"Row {n} about E-10{n}."}) + "\n" for n in range(5)))
    with Index.open(folder / "my.lance", Embedder.load(precision="f32"), create=True, passage_tokens=64) as index:
        index.add([docs])
        index.add_documents({"note": Document("Tea needs boiling water.", metadata={"by": "Ann"})})
    return index


def asked(index, *calls):
    """The results of calls of tools, (name, arguments), by a client that starts the command."""

    async def run():
        started = StdioServerParameters(
            command=sys.executable, args=["-m", "me5", "mcp", index.store.uri], env=dict(os.environ)
        )
        async with Client(started) as client:
            tools = (await client.list_tools()).tools
            return tools, client.instructions, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


def test_an_agent_searches_reads_on_and_lists(index):
    tools, instructions, (found, german, named, rows, listed, some) = asked(
        index,
        ("search", {"question": "what is said of bread?", "k": 2}),
        ("search", {"question": "highest mountain", "languages": ["de"], "source": "berg"}),
        ("search", {"question": "E-103", "by": "words", "filter": "kind = 'jsonl'", "k": 1}),
        ("search", {"question": "anything", "languages": ["xx"]}),
        ("sources", {}),
        ("sources", {"contains": "docs/", "most": 1}),
    )
    assert {tool.name for tool in tools} == {"search", "read", "sources"}
    for tool in tools:
        assert tool.description
        assert tool.annotations.read_only_hint
        assert all(argument.get("description") for argument in tool.input_schema["properties"].values())
    assert "de" in instructions
    expected = index.search("what is said of bread?", 2, highlight=True)
    passages = found.structured_content["passages"]
    assert [passage["id"] for passage in passages] == [hit.id for hit in expected]
    assert [passage["best_sentence"] for passage in passages] == [hit.best_sentence for hit in expected]
    assert json.loads(found.content[0].text) == found.structured_content, "for clients that read text only"
    assert [passage["source"] for passage in german.structured_content["passages"]] == ["docs/berg.md"]
    assert named.structured_content["passages"][0]["text"] == "Row 3 about E-103."
    assert named.structured_content["passages"][0]["place"] == "docs/rows.jsonl, line 4"
    assert rows.structured_content == {
        "passages": [], "note": "nothing matches; ask again without languages, source and filter",
    }  # fmt: skip
    told = listed.structured_content
    assert told["passages"] == len(index) == sum(told["sources"].values())
    assert told["sources"]["docs/rows.jsonl"] == 5
    assert (told["languages"]["de"], told["left_out"]) == (1, 0)
    assert (len(some.structured_content["sources"]), some.structured_content["left_out"]) == (1, 2)


def test_what_stands_around_a_passage(index):
    book = index.store.snapshot().rows()
    book = [row for row in book if row["source"] == "docs/book.txt"]
    assert len(book) >= 6
    row = next(row for row in index.store.snapshot().rows() if row["kind"] == "jsonl" and row["at"] == 3)
    _, _, (middle, first, alone, gone) = asked(
        index,
        ("read", {"id": book[3]["id"], "before": 2, "after": 1}),
        ("read", {"id": book[0]["id"]}),
        ("read", {"id": row["id"], "before": 5, "after": 5}),
        ("read", {"id": "none"}),
    )
    texts = [passage["text"] for passage in middle.structured_content["passages"]]
    assert texts == [row["text"] for row in book[1:5]]
    assert [passage["id"] for passage in first.structured_content["passages"]] == [row["id"] for row in book[:3]]
    assert [passage["text"] for passage in alone.structured_content["passages"]] == [row["text"]]
    assert gone.is_error
    assert "there is no passage 'none'; its file may have changed, search again" in gone.content[0].text


def test_refusals_are_for_the_model_to_read(index):
    _, _, (empty, filtered, many, long, wide) = asked(
        index,
        ("search", {"question": " "}),
        ("search", {"question": "bread", "filter": "nothing = 3"}),
        ("search", {"question": "bread", "k": 1000}),
        ("search", {"question": "a" * 10_001}),
        ("search", {"question": "bread", "languages": ["de"] * 1001}),
    )
    told = ((empty, "the question is empty"), (filtered, "expected a column"), (many, "50"))
    for result, message in (*told, (long, "at most 10000 characters"), (wide, "at most 1000 items")):
        assert result.is_error
        assert message in result.content[0].text


def test_passages_that_do_not_fit_are_left_out(index):
    embedder = index.embedder
    vectors = Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim)
    curve = Curve("isotonic", cosines=(-1.0, 1.0), probabilities=(0.001, 0.999))
    keep(index.store, Calibration(vectors, Sides.of(embedder.prompts), curve, 0.1, 0.1))
    question = "what is said of bread?"
    hits = index.search(question, 3)
    least = hits[0].probability
    assert least > max(hit.probability for hit in hits[1:])
    _, _, (fitting, none, words) = asked(
        index,
        ("search", {"question": question, "min_probability": round(least - 0.002, 4)}),
        ("search", {"question": question, "min_probability": 0.998}),
        ("search", {"question": question, "min_probability": 0.5, "by": "words"}),
    )
    (passage,) = fitting.structured_content["passages"]
    assert (passage["id"], passage["probability"]) == (hits[0].id, pytest.approx(least, abs=1e-3))
    assert none.structured_content == {
        "passages": [], "note": "nothing here fits: no passage answers as probably as was asked for",
    }  # fmt: skip
    assert words.is_error


def test_a_store_that_cannot_be_served_ends_the_command(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "me5", "mcp", tmp_path / "none"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "holds no store; make one with `me5 index" in ended.stderr
