"""/v1/search and /search: what they answer, and what they refuse."""

import asyncio
import json
import re
import shutil
import sys

import pytest
from starlette.testclient import TestClient

from me5 import AsyncClient, Client, Embedder, InputError
from me5.cli import main
from me5.search import Document, Index
from me5.service.app import create_app
from me5.service.pipeline import Pipeline
from me5.service.settings import ServiceSettings

DOCUMENTS = {
    "bread.md": "# Bread\n\nBread needs flour, water, salt and yeast. Bake it for an hour.\n",
    "berg.txt": "Die Zugspitze ist der höchste Berg Deutschlands. Sie ist 2.962 Meter hoch.\n",
    "ja/fuji.txt": "富士山は標高3,776メートルで、日本の最高峰である。冬は雪が多い。\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    for name, text in DOCUMENTS.items():
        path = folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    index = Index.open(folder / "it's.lance", Embedder.load(precision="f32"), create=True)
    index.add([folder / "docs"])
    index.finish()
    return index


@pytest.fixture(scope="module")
def searching(index, launch):
    return launch("--search", index.store.uri, "--precision", "f32")


def ask(server, **body):
    with server.client() as client:
        return client.post("/v1/search", json=body)


@pytest.mark.parametrize("by", ["both", "vectors", "words"])
def test_hits_are_those_of_the_index(searching, index, by):
    reply = ask(searching, query="what is bread made of?", k=2, by=by)
    told = reply.json()
    expected = index.search("what is bread made of?", 2, by=by, highlight=True)
    assert (told["object"], told["model"], told["language"], told["passages"]) == ("search", "me5-small", "en", 3)
    assert [hit["id"] for hit in told["hits"]] == [hit.id for hit in expected]
    assert [hit["score"] for hit in told["hits"]] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    assert [tuple(hit["best"]) for hit in told["hits"]] == [hit.best for hit in expected]
    assert told["hits"][0]["place"] == expected[0].place
    assert reply.headers["x-me5-side"] == "query"


def test_filters_go_together(searching):
    def sources(**body):
        return {hit["source"].rpartition("docs/")[2] for hit in ask(searching, query="mountain", **body).json()["hits"]}

    assert sources() == set(DOCUMENTS)
    assert sources(language=["de", "ja"]) == {"berg.txt", "ja/fuji.txt"}
    assert sources(source="ja/") == {"ja/fuji.txt"}
    assert sources(language=["de"], source="ja/") == set()
    assert sources(filter="kind = 'markdown' OR kind = 'pdf'", language=["en"]) == {"bread.md"}
    assert sources(source="' OR true OR '") == set()
    assert sources(filter="kind = 'text' OR kind = 'markdown'", language=["de"], source="berg") == {"berg.txt"}
    assert sources(filter="kind = 'text' OR NOT kind = 'text'", language=["xx"]) == set()


def test_what_is_stored(searching):
    with searching.client() as client:
        told = client.get("/v1/search").json()
        assert told["languages"] == {"de": 1, "en": 1, "ja": 1}
        assert told["kinds"] == {"text": 2, "markdown": 1}
        page = client.get("/search")
        assert page.status_code == 200
        assert "<title>me5 · search</title>" in page.text
        assert 'href="search"' in client.get("/").text
        assert "/v1/search" in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"query": ""}, "query", "the question is empty"),
        ({"query": " \n\u200b"}, "query", "the question is empty"),
        ({"query": "x" * 10_001}, "query", "at most 10000"),
        ({"query": "x", "by": "hybrid"}, "by", "input should be 'both', 'vectors' or 'words'"),
        ({"query": "x", "filter": "1=1) OR (1=1"}, "filter", "at character 1, expected a column, got '1'"),
        ({"query": "x", "filter": "length(repeat(text, 20000)) > 0"}, "filter", "expected a column, got 'length'"),
        ({"query": "x", "filter": "1" + "+1" * 1500 + " > 0"}, "filter", "expected a column"),
        ({"query": "x", "language": ["de"] * 1001}, "language", "at most 1000"),
        ({"query": "x", "source": "x" * 1001}, "source", "at most 1000"),
        ({"query": "x", "k": 0}, "k", "greater than or equal to 1"),
        ({"query": "x", "k": 101}, "k", "less than or equal to 100"),
        ({"query": "x", "language": []}, "language", "empty list"),
        ({"query": "x", "by": "words", "weight": 0.5}, "weight", "the search is by words alone; leave one out"),
        ({"query": "x", "filter": "nothing = 3"}, "filter", "the filter 'nothing = 3' cannot be used"),
        ({"query": "x", "model": "other"}, "model", "there is no model"),
        ({}, "query", "missing"),
    ],
)
def test_what_cannot_be_asked(searching, body, param, message):
    reply = ask(searching, **body)
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["param"] == param
    assert message in reply.json()["error"]["message"]


def test_a_reply_has_bounded_room_and_tells_what_it_left_out(launch, tmp_path):
    store = Index.open(tmp_path / "large.lance", Embedder.load(precision="f32"), create=True)
    store.add_documents({str(n): Document(f"Text {n}.", metadata={"x": "é" * 700_000}) for n in range(4)})
    store.finish()
    server = launch("--search", store.store.uri, "--precision", "f32", "--no-page")
    told = ask(server, query="text", k=4).json()
    assert (len(told["hits"]), told["left_out"]) == (2, 2)
    assert ask(server, query="text", k=2).json()["left_out"] == 0


def test_a_search_that_takes_too_long_costs_its_request_alone(index, launch):
    server = launch("--search", index.store.uri, "--precision", "f32", "--search-timeout", "0.001", "--no-page")
    reply = ask(server, query="bread")
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "deadline_exceeded"
    assert "--search-timeout" in reply.json()["error"]["message"]
    with server.client() as client:
        assert client.get("/health").status_code == 200


def test_all_that_a_search_embeds_goes_as_a_query(index, monkeypatch):
    embedded = []
    embed = Pipeline.embed

    async def noted(self, inputs):
        embedded.append(inputs)
        return await embed(self, inputs)

    monkeypatch.setattr(Pipeline, "embed", noted)
    with TestClient(create_app(ServiceSettings(search=index.store.uri, precision="f32", threads=1))) as client:
        assert client.post("/v1/search", json={"query": "bread", "k": 3}).status_code == 200
    assert [inputs.side for inputs in embedded] == ["query", "document"]
    assert all(inputs.urgent for inputs in embedded)


def test_without_a_store_there_is_nothing_to_search(server):
    with server.client() as client:
        assert client.post("/v1/search", json={"query": "x"}).status_code == 404
        assert client.get("/search").status_code == 404
        assert 'href="search"' not in client.get("/").text


def test_a_store_of_another_model_is_refused_at_the_start(index, tmp_path):
    import subprocess
    import sys

    for flags, message in (
        (["--prompts", "prefix"], "made with the prompts"),
        (["--search", "none"], "holds no store"),
    ):
        command = [sys.executable, "-m", "me5", "serve", "--port", "0", "--search", index.store.uri, *flags]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ended.returncode != 0
        assert message in ended.stdout + ended.stderr


def test_a_store_that_was_made_anew_is_served_and_one_of_another_model_is_told(tmp_path):
    uri, embedder = tmp_path / "my.lance", Embedder.load(precision="f32")

    def make(text):
        with Index.open(uri, embedder, create=True) as made:
            made.add_documents({"note": Document(text)})

    make("Bread needs flour.")
    with TestClient(create_app(ServiceSettings(search=str(uri), precision="f32", threads=1))) as client:
        for text in ("Bread needs flour.", "Tea needs water."):
            if text.startswith("Tea"):
                shutil.rmtree(uri)
                make(text)
            assert [hit["text"] for hit in client.post("/v1/search", json={"query": "needs"}).json()["hits"]] == [text]
        Index.open(uri).migrate(Embedder.load(precision="int8"))
        for reply in (client.post("/v1/search", json={"query": "needs"}), client.get("/v1/search")):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "store_replaced")
            message = reply.json()["error"]["message"]
            assert "restart `me5 serve`: this store was made at precision int8, got f32" in message
        shutil.rmtree(uri)
        gone = client.post("/v1/search", json={"query": "needs"})
        assert (gone.status_code, gone.json()["error"]["code"]) == (500, "store_error")
        assert "cannot be read" in gone.json()["error"]["message"]


@pytest.fixture(scope="module")
def copied(index, launch, tmp_path_factory):
    """A service over copies of a text, and a document of two passages."""
    store = Index.open(tmp_path_factory.mktemp("copies") / "my.lance", Embedder.load(precision="f32"), create=True)
    rivers = " ".join(["Rivers flow to the sea, slowly, and take sand and stones along."] * 30)
    texts = {
        "a": "Bread needs flour.",
        "https://example.org/b": "bread needs  flour",
        "c": "BREAD NEEDS FLOUR!",
        "d": rivers,
    }
    store.add_documents({name: Document(text) for name, text in texts.items()})
    store.finish()
    return launch("--search", store.store.uri, "--precision", "f32")


def test_copies_fold_and_documents_give_one_hit(copied):
    hits = ask(copied, query="what does bread need?").json()["hits"]
    best = hits[0]
    assert {best["source"], *(copy["source"] for copy in best["also"])} == {"a", "https://example.org/b", "c"}
    assert all(copy["place"] == copy["source"] for copy in best["also"])
    every = ask(copied, query="what does bread need?", fold=False).json()["hits"]
    assert [hit["also"] for hit in every] == [[]] * len(every)
    assert sorted(hit["source"] for hit in every) > ["a", "c", "d"]
    grouped = ask(copied, query="what does bread need?", group="document", fold=False).json()["hits"]
    assert sorted(hit["source"] for hit in grouped) == ["a", "c", "d", "https://example.org/b"]
    assert ask(copied, query="x", group="source").status_code == 400


def test_the_clients_ask_it(copied):
    asked = {"group": "document", "language": ["en"]}
    expected = ask(copied, query="what does bread need?", k=3, **asked).json()["hits"]
    with Client(copied.url) as client:
        assert client.search("what does bread need?", 3, **asked)["hits"] == expected
        assert client.store()["passages"] == sum(client.store()["languages"].values())
        with pytest.raises(InputError, match="group"):
            client.search("x", group="source")

    async def search():
        async with AsyncClient(copied.url) as client:
            return await client.search("what does bread need?", 3, **asked), await client.store()

    reply, store = asyncio.run(search())
    assert (reply["hits"], store["object"]) == (expected, "store")


def test_the_command_asks_it(copied, server, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["me5", "search", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    code, output, errors = run(copied.url, "what does bread need?", "--group", "document", "--json")
    assert (code, errors) == (0, "")
    told = json.loads(output)
    assert told["hits"][0]["best_sentence"] == told["hits"][0]["text"]
    assert len(told["hits"][0]["also"]) == 2
    code, output, _ = run(copied.url, "what does bread need?", "-k", "1")
    assert re.match(r"1\. \d\.\d\d\d  en  ", output)
    assert "also in " in output
    code, output, _ = run(copied.url, "bread", "--filter", "language = 'xx'")
    assert output.startswith("nothing found; the store has passages in en ")
    code, _, errors = run(copied.url, "bread", "--exact")
    assert (code, "only where the store is opened here" in errors) == (2, True)
    code, _, errors = run(server.url, "bread")
    assert (code, "searches no store; start it with `me5 serve --search STORE`" in errors) == (2, True)
