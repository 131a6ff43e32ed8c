"""Search over a store that `me5 index` made: POST /v1/search asks it, GET /v1/search tells what is in it."""

import asyncio
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from me5.service.errors import FieldError
from me5.service.wire import writing
from me5.service.wire.call import CurrentCall
from me5.service.wire.dialects import OPENAI
from me5.service.wire.reading import Fields, SideFields, TaskWords, read_side, read_texts
from me5.service.wire.routing import speaking

if TYPE_CHECKING:
    from me5.search.store import Store

router = APIRouter(route_class=speaking(OPENAI), tags=["me5"])
MOST = 100


class SearchRequest(Fields):
    """A question to the store."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "how tall is K2?", "k": 3}]})

    query: str = Field(max_length=10_000, description="The question, in any language.")
    k: int = Field(10, ge=1, le=MOST, description="How many passages.")
    model: str | None = Field(None, description="The served model's name.")
    task: TaskWords | None = Field(None, description="What the question is for, as in /v1/score.")
    language: Annotated[list[Annotated[str, Field(max_length=100)]], Field(fail_fast=True)] | None = Field(
        None, max_length=200, description="Only passages in these languages, such as `de`."
    )
    source: str | None = Field(None, max_length=1000, description="Only passages whose source holds this.")
    filter: str | None = Field(None, description="An SQL filter over the columns, such as `kind = 'pdf'`.")
    hybrid: bool = Field(False, description="Vectors and full text, joined by their scores.")
    weight: float = Field(0.4, ge=0, le=1, description="The weight of the vectors where `hybrid`; words have the rest.")
    highlight: bool = Field(True, description="Find the best sentence of each passage.")


class FoundPassage(BaseModel):
    """A passage; `best` are the ends of its best sentence within `text`, in characters."""

    score: float
    source: str
    title: str
    text: str
    start: int
    end: int
    at: int | None
    language: str
    kind: str
    metadata: dict[str, Any]
    id: str
    best: tuple[int, int] | None
    place: str


class SearchReply(BaseModel):
    """The best passages, best first. `language` is the question's, as far as it can be told."""

    object: str
    model: str
    language: str
    passages: int
    hits: list[FoundPassage]
    total_ms: float


class StoreReply(BaseModel):
    """What the store holds."""

    object: str
    model: str
    passages: int
    languages: dict[str, int]
    kinds: dict[str, int]


def open_store(uri: str) -> "Store":
    """The store to search. Raises `InputError` where there is none, `MissingExtraError` without the extra."""
    from me5.errors import InputError
    from me5.search.store import Store

    store = Store.open(uri)
    if store is None:
        raise InputError(f"--search {uri} holds no store; make one with `me5 index PATH… --into {uri}`")
    return store


@router.post("/v1/search", response_model=SearchReply, responses=OPENAI.responses())
async def search(body: SearchRequest, call: CurrentCall) -> Response:
    """The passages that answer a question best, in whatever language they are."""
    from me5.search import language
    from me5.search.searching import Question, find, highlighted, sentences_of

    store = _store(call)
    names, prompts = call.service.names, call.service.pipeline.prompts
    (text,) = read_texts([body.query], "query", 1)
    asked = read_side(SideFields(model=body.model, side="query", task=body.task), names, prompts)
    answers = await call.embed(query=call.ask([text], asked))
    vector = answers[0].vectors[0]
    question = Question(text, body.k, _where(body), body.hybrid, weight=body.weight)
    hits = await asyncio.to_thread(find, store, question, vector)
    if body.highlight and (sentences := sentences_of(hits)):
        searched = read_side(SideFields(side="document"), names, prompts)
        answers += await call.embed(sentences=call.ask(sentences, searched, truncation="end"))
        hits = highlighted(hits, (answers[1].vectors @ vector).tolist())
    passages = await asyncio.to_thread(store.count)
    content = {
        "object": "search",
        "model": names.served,
        "language": language.detect_question(text),
        "passages": passages,
        "hits": [{**asdict(hit), "place": hit.place} for hit in hits],
        "total_ms": round(call.milliseconds, 3),
    }
    headers = call.headers(replace(asked, ignored=body.ignored), *answers)
    return await writing.json_reply(lambda: content, headers, call.record)


@router.get("/v1/search", response_model=StoreReply, responses=OPENAI.responses())
async def stored(call: CurrentCall) -> Response:
    """What there is to search: how many passages, in which languages, of which kinds."""
    store = _store(call)

    def content() -> dict[str, Any]:
        languages, kinds = store.counts("language"), store.counts("kind")
        passages = sum(kinds.values())
        return {
            "object": "store", "model": call.service.names.served, "passages": passages, "languages": languages,
            "kinds": kinds,
        }  # fmt: skip

    told = await asyncio.to_thread(content)
    return await writing.json_reply(lambda: told, {}, call.record)


def _store(call: CurrentCall) -> "Store":
    store = call.service.store
    assert store is not None, "these routes are there only with a store"
    return store


def _where(body: SearchRequest) -> str | None:
    """The SQL filter that the fields mean together."""
    from me5.search.store import quoted

    parts = []
    if body.language is not None:
        if not body.language:
            raise FieldError("`language` is an empty list; leave it out to search in all", "language")
        parts.append(f"language IN ({', '.join(map(quoted, body.language))})")
    if body.source:
        parts.append(f"strpos(source, {quoted(body.source)}) > 0")
    if body.filter:
        parts.append(f"({body.filter})")
    return " AND ".join(parts) or None
