"""Search over a store that `me5 index` made: POST /v1/search searches it, GET /v1/search counts what is in it."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import orjson
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from me5.calibration.stored import is_general
from me5.errors import CalibrationError, InputError
from me5.service.errors import FieldError
from me5.service.inputs import Answer
from me5.service.wire import writing
from me5.service.wire.call import Call, CurrentCall, named
from me5.service.wire.dialects import OPENAI
from me5.service.wire.reading import Fields, SideFields, TaskWords
from me5.service.wire.routing import speaking

if TYPE_CHECKING:
    from me5.search.hits import Hit
    from me5.search.searching import Question
    from me5.search.store import Store
    from me5.service.wire.agents import Agents

router = APIRouter(route_class=speaking(OPENAI), tags=["me5"])
MOST = 100
MOST_LANGUAGES = 1_000
LONGEST_SOURCE = 1_000
# Titles and metadata have any length; of passages there are 100 of some 1,500 characters.
MOST_BYTES = 4 * 2**20
# A passage takes as long to write as about so many numbers.
NUMBERS_PER_HIT = 200


class SearchRequest(Fields):
    """A question to the store."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "how tall is K2?", "k": 3}]})

    query: str = Field(max_length=10_000, description="The question, in any language.")
    k: int = Field(10, ge=1, le=MOST, description="How many passages.")
    model: str | None = Field(None, description="The served model's name.")
    task: TaskWords | None = Field(None, description="What the question is for, as in /v1/score.")
    language: Annotated[list[Annotated[str, Field(max_length=100)]], Field(fail_fast=True)] | None = Field(
        None, max_length=MOST_LANGUAGES, description="Only passages in these languages, such as `de`."
    )
    source: str | None = Field(None, max_length=LONGEST_SOURCE, description="Only passages whose source holds this.")
    filter: str | None = Field(
        None, description="A filter over the columns, such as `kind = 'pdf'`; docs/search.md has its language."
    )
    by: Literal["both", "vectors", "words"] = Field(
        "both", description="Vectors and words, joined by their scores, or one of them alone."
    )
    weight: float | None = Field(
        None, ge=0, le=1, description="The weight of the vectors beside words, which have the rest. Left out: half."
    )
    group: Literal["document"] | None = Field(None, description="`document`: the best passage of each document only.")
    min_probability: float | None = Field(
        None, gt=0, lt=1, description="Only passages that answer at least so probably; needs a calibration."
    )
    max_risk: float | None = Field(
        None, gt=0, lt=1, description="Only passages above the cut that keeps the share of irrelevant ones at this."
    )
    fold: bool = Field(True, description="List near copies of a better passage in its `also`, not in `hits`.")
    highlight: bool = Field(True, description="Find the best sentence of each passage.")


class PassageCopy(BaseModel):
    """Another passage with nearly the same text."""

    source: str
    place: str


class FoundPassage(BaseModel):
    """A passage; `best` are the ends of its best sentence within `text`, in characters.

    `probability` is what a calibration makes of `cosine` (that of the bundled model where asked for),
    `percentile` the per cent of random pairs that lie below.
    """

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
    also: list[PassageCopy]
    cosine: float | None
    probability: float | None
    percentile: float | None
    place: str


class SearchReply(BaseModel):
    """The best passages, best first. `language` is the question's, as far as it can be identified.

    `left_out` counts further hits that the reply had no room for.
    """

    object: str
    model: str
    language: str
    passages: int
    hits: list[FoundPassage]
    left_out: int
    total_ms: float


class StoreReply(BaseModel):
    """What the store holds; `calibrated`: searches tell probabilities, and take `min_probability`."""

    object: str
    model: str
    passages: int
    languages: dict[str, int]
    kinds: dict[str, int]
    calibrated: bool


def open_store(uri: str) -> "Store":
    """The store to search. Raises `InputError` where there is none, `MissingExtraError` without the extra."""
    from me5.search.store import Store

    store = Store.open(uri)
    if store is None:
        raise InputError(f"--search {uri} holds no store; make one with `me5 index PATH… --into {uri}`")
    return store


def open_agents(store: "Store") -> "Agents | None":
    """The way of agents to the store, where the extra `mcp` is installed."""
    if find_spec("mcp") is None:
        return None
    from me5.service.wire.agents import Agents

    async def ask(call: Call, question: "Question") -> "list[Hit]":
        return (await asked(call, question, SideFields(side="query"), highlight=True)).hits

    return Agents(ask, store.counts("language"))


class Found(NamedTuple):
    """The hits of a question, how many passages there are, and what was embedded for it."""

    hits: "list[Hit]"
    passages: int
    answers: list[Answer]


async def asked(
    call: Call, question: "Question", fields: SideFields, *, highlight: bool, ignored: Sequence[str] = ()
) -> Found:
    """What the store answers to a question, on the caller's behalf."""
    from me5.search.scale import Cosines
    from me5.search.searching import find, highlighted, sentences_of

    answers = await call.embed(call.inputs("query", [question.text], fields, ignored=ignored))
    vector = answers[0].vectors[0]
    calibration = call.service.pipeline.calibration
    general = is_general(call.service.pipeline.checkpoint)
    cosines = Cosines(call.sides(answers[0].inputs), lambda: calibration, general)

    def work(store: "Store", seconds: float) -> "tuple[list[Hit], list[str], int]":
        hits = find(store, question, vector, cosines=cosines, seconds=seconds)
        return hits, sentences_of(hits) if highlight else [], store.count()

    hits, sentences, passages = await call.search(work)
    if sentences:
        # What a question needs is a question's work, and has its turn among those.
        answers += await call.embed(
            call.inputs("sentences", sentences, SideFields(side="document"), truncation="end", priority="query")
        )
        hits = highlighted(hits, (answers[1].vectors @ vector).tolist())
    return Found(hits, passages, answers)


@router.post("/v1/search", response_model=SearchReply, responses=OPENAI.responses())
async def search(body: SearchRequest, call: CurrentCall) -> Response:
    """The passages that answer a question best, in whatever language they are."""
    from me5.search import language

    question = _question(body)
    fields = SideFields(model=body.model, side="query", task=body.task)
    try:
        found = await asked(call, question, fields, ignored=body.ignored, highlight=body.highlight)
    except CalibrationError as error:
        param = "min_probability" if body.max_risk is None else "max_risk"
        raise FieldError(f"`{param}`: {error}", param) from error
    hits = found.hits

    def content() -> dict[str, Any]:
        written = _fitting(hits)
        return {
            "object": "search", "model": call.service.names.served, "language": language.detect_question(question.text),
            "passages": found.passages, "hits": written, "left_out": len(hits) - len(written),
            "total_ms": round(call.milliseconds, 3),
        }  # fmt: skip

    headers = call.headers(*found.answers)
    return await writing.json_reply(content, headers, call.record, numbers=len(hits) * NUMBERS_PER_HIT)


@router.get("/v1/search", response_model=StoreReply, responses=OPENAI.responses())
async def stored(call: CurrentCall) -> Response:
    """What there is to search: how many passages, in which languages, of which kinds."""
    calibration = call.service.pipeline.calibration

    def work(store: "Store", _: float) -> dict[str, Any]:
        languages, kinds = store.counts("language"), store.counts("kind")
        passages = sum(kinds.values())
        telling = store.snapshot().calibration or calibration
        return {
            "object": "store", "model": call.service.names.served, "passages": passages, "languages": languages,
            "kinds": kinds, "calibrated": telling is not None and telling.tells(passages),
        }  # fmt: skip

    counts = await call.search(work)
    return await writing.json_reply(lambda: counts, {}, call.record)


def _question(body: SearchRequest) -> "Question":
    """What the fields ask together; each of them always holds."""
    from me5.search.conditions import all_of, any_of, contains
    from me5.search.filters import parse
    from me5.search.scale import Fit
    from me5.search.searching import Question, check_weight

    if body.language == []:
        raise FieldError("`language` is an empty list; leave it out to search in all", "language")
    with named("weight"):
        check_weight(body.weight, body.by)
    languages = any_of("language", body.language) if body.language else None
    source = contains("source", body.source) if body.source else None
    with named("filter"):
        chosen = parse(body.filter) if body.filter else None
    with named("query"):
        where = all_of(languages, source, chosen)
        return Question(
            body.query, body.k, where, body.by, weight=body.weight, group=body.group, fold=body.fold,
            fit=Fit(body.min_probability, body.max_risk),
        )  # fmt: skip


def _fitting(hits: "Iterable[Hit]") -> list[orjson.Fragment]:
    """The first hits as JSON, as many as a reply has room for."""
    room = MOST_BYTES
    written = []
    for hit in hits:
        json = orjson.dumps(hit.as_dict())
        room -= len(json)
        if room < 0:
            break
        written.append(orjson.Fragment(json))
    return written
