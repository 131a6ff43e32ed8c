"""me5's own routes: POST /v1/score compares queries with documents, GET /v1/tasks lists what queries can be for."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from me5.calibration import bound
from me5.prompts import TASKS
from me5.service.errors import FieldError, NotFound
from me5.service.inputs import Answer
from me5.service.record import STAGES
from me5.service.wire import writing
from me5.service.wire.call import Call, CurrentCall, named
from me5.service.wire.dialects import OPENAI
from me5.service.wire.reading import Fields, SideFields, TaskWords, read_texts
from me5.service.wire.routing import speaking
from me5.tokenizer import Token, Truncation
from me5.vectors import Float32

router = APIRouter(route_class=speaking(OPENAI), tags=["me5"])

# A reply with details has some 100 bytes for every token.
DETAILED_TEXTS = 256
Texts = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1})]


class ScoreRequest(Fields):
    """Queries and documents to compare."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "queries": ["how tall is K2?"],
                    "documents": ["K2 rises to 8,611 metres.", "Bake for an hour."],
                    "task": "web-search",
                }
            ]
        }
    )

    queries: Texts
    documents: Texts
    task: TaskWords | None = Field(
        None, description="What the queries are for: a name that /v1/tasks lists, or a sentence."
    )
    truncation: Truncation | None = None
    model: str | None = Field(None, description="The served model's name.")
    details: bool = Field(False, description="List the tokens of every text, and a map of the vectors.")


class Prompt(BaseModel):
    """What stands in front of the texts of each side."""

    query: str
    document: str


class ScoreUsage(BaseModel):
    """Tokens that the model read, and what was cut."""

    prompt_tokens: int
    total_tokens: int
    truncated: int
    tokens_lost: int


class ScoreTimings(BaseModel):
    """Milliseconds by stage."""

    tokenization_ms: float
    queue_ms: float
    inference_ms: float
    total_ms: float


class DetailedText(BaseModel):
    """One text as the model reads it."""

    side: Literal["query", "document"]
    index: int
    text: str
    tokens: list[Token]
    token_count: int
    lost: int
    truncated: bool


class MapPoint(BaseModel):
    """Where a text's vector lies on the plane in which they differ most."""

    side: Literal["query", "document"]
    index: int
    x: float
    y: float


class ScoreReply(BaseModel):
    """Dot products × 100, queries × documents; and the documents of each query, best first.

    `probabilities` are what a calibration makes of the scores; they are there where the model has one for this task
    that can tell among so many documents.
    """

    object: Literal["score"]
    model: str
    precision: str
    scores: list[list[float]]
    ranking: list[list[int]]
    probabilities: list[list[float]] | None = None
    prompt: Prompt
    usage: ScoreUsage
    timings: ScoreTimings
    texts: list[DetailedText] | None = None
    map: list[MapPoint] | None = None


class Task(BaseModel):
    """A name, and the sentence that describes what queries are for."""

    name: str
    sentence: str


class TaskList(BaseModel):
    """What queries can be for; empty where the model's prompts are fixed."""

    default: str
    style: Literal["instruct", "prefix", "none"]
    tasks: list[Task]


@router.post("/v1/score", response_model=ScoreReply, responses=OPENAI.responses())
async def score(body: ScoreRequest, call: CurrentCall) -> Response:
    """Compare every query with every document, each side behind its own prompt. Only the order in a row means much."""
    service = call.service
    limit = DETAILED_TEXTS if body.details else service.settings.max_items
    queries = read_texts(body.queries, "queries", limit)
    documents = read_texts(body.documents, "documents", limit)
    if len(queries) + len(documents) > limit:
        raise FieldError(
            f"{len(queries):,} queries and {len(documents):,} documents are more than the {limit:,} texts that are "
            f"compared at once{' with details' if body.details else ''}: send them in parts",
            "documents",
        )
    fields = SideFields(model=body.model, side="query", task=body.task)
    sides = (
        call.inputs("queries", queries, fields, truncation=body.truncation, ignored=body.ignored),
        call.inputs("documents", documents, SideFields(side="document"), truncation=body.truncation),
    )
    tokens = [await call.tokens(side) for side in sides] if body.details else []
    answers = await call.embed(*sides)

    def content() -> dict[str, Any]:
        if not body.details:
            return _scores(call, answers)
        texts = [text for side, answer in zip(tokens, answers, strict=True) for text in _detailed(answer, side)]
        return _scores(call, answers) | {"texts": texts, "map": _map(answers)}

    numbers = len(queries) * len(documents) + sum(len(text) for side in tokens for text in side)
    return await writing.json_reply(content, call.headers(*answers), call.record, numbers=numbers)


@router.get("/v1/calibration", response_model=dict[str, Any], responses=OPENAI.responses())
async def calibration(
    call: CurrentCall,
    task: Annotated[TaskWords | None, Query(description="What the queries are for, as in /v1/score.")] = None,
    symmetric: Annotated[bool, Query(description="Both texts are of the side `both`.")] = False,
) -> Response:
    """What the model's cosines mean, for whoever computes cosines, as `me5 calibrate` wrote it; 404 without one."""
    found, prompts = call.service.pipeline.calibration, call.service.pipeline.prompts
    if found is None:
        raise NotFound("the model has no calibration; make one with `me5 calibrate`, and start the service again")
    with named("task"):
        found.sides.check(bound.Sides.of(prompts, task, symmetric=symmetric))
    return await writing.json_reply(found.content, {}, call.record)


@router.get("/v1/tasks", response_model=TaskList, responses=OPENAI.responses())
async def tasks(call: CurrentCall) -> Response:
    """What queries can be for, by name; an instruct model also takes a sentence of one's own."""
    prompts = call.service.pipeline.prompts
    named = TASKS if prompts.style == "instruct" else prompts.named
    listed = [{"name": name, "sentence": sentence} for name, sentence in named.items()]
    default = prompts.default_task if prompts.style == "instruct" else ""
    return await writing.json_reply(
        lambda: {"default": default, "style": prompts.style, "tasks": listed}, {}, call.record
    )


def _scores(call: Call, answers: Sequence[Answer]) -> dict[str, Any]:
    queries, documents = answers
    scores = queries.vectors @ documents.vectors.T * np.float32(100)
    usage = [answer.usage for answer in answers]
    read = sum(side.tokens_read for side in usage)
    slowest = {stage: max(getattr(side, stage) for side in usage) for stage in STAGES}
    probabilities = _probabilities(call, queries, scores)
    return ({} if probabilities is None else {"probabilities": probabilities}) | {
        "object": "score",
        "model": call.service.names.served,
        "precision": call.service.pipeline.precision,
        "scores": scores,
        "ranking": np.argsort(-scores, axis=1, kind="stable"),
        "prompt": {answer.inputs.side: answer.inputs.prompt for answer in answers},
        "usage": {
            "prompt_tokens": read,
            "total_tokens": read,
            "truncated": sum(side.truncated for side in usage),
            "tokens_lost": sum(side.tokens_lost for side in usage),
        },
        "timings": {
            **{f"{stage}_ms": round(seconds * 1000, 3) for stage, seconds in slowest.items()},
            "total_ms": round(call.milliseconds, 3),
        },
    }


def _probabilities(call: Call, queries: Answer, scores: Float32) -> Float32 | None:
    """What scores mean; None where the model has no calibration for this task, or it tells nothing of so few."""
    calibration = call.service.pipeline.calibration
    if calibration is None or calibration.sides != call.sides(queries.inputs):
        return None
    if not calibration.tells(scores.shape[1]):
        return None
    return calibration.probability(scores / 100).astype(np.float32)


def _detailed(answer: Answer, tokens_of: list[list[Token]]) -> list[dict[str, Any]]:
    inputs, usage = answer.inputs, answer.usage
    return [
        {
            "side": inputs.side,
            "index": index,
            "text": inputs.prompt + text,
            "tokens": [asdict(token) for token in tokens],
            "token_count": usage.tokens[index],
            "lost": usage.lost[index],
            "truncated": usage.lost[index] > 0,
        }
        for index, (text, tokens) in enumerate(zip(inputs.texts, tokens_of, strict=True))
    ]


def _map(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """The vectors' two principal components; each is turned so that its largest number is positive."""
    vectors = np.concatenate([answer.vectors for answer in answers])
    left, strengths, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    plane = np.zeros((len(vectors), 2), np.float32)
    axes = (left * strengths)[:, :2]
    plane[:, : axes.shape[1]] = axes * np.where(axes.max(axis=0) < -axes.min(axis=0), np.float32(-1), np.float32(1))
    places = ((answer.inputs.side, index) for answer in answers for index in range(len(answer.inputs.texts)))
    return [
        {"side": side, "index": index, "x": float(x), "y": float(y)}
        for (side, index), (x, y) in zip(places, plane, strict=True)
    ]
