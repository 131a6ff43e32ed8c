"""POST /v2/rerank and /v1/rerank, as Cohere and Jina have them: documents of a query in order, by a cross-encoder.

Scores are sigmoids of the model's logits, whatever its own activation is: clients of these expect 0 to 1. The reply of
/v1/rerank has the fields of both services. `max_tokens_per_doc` has no effect: a pair is cut where the model ends.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from me5.reranker import Ranked
from me5.service.errors import FieldError, shown
from me5.service.inputs import Answer
from me5.service.wire import writing
from me5.service.wire.call import Call, CurrentCall
from me5.service.wire.cohere import Meta, meta_of
from me5.service.wire.dialects import COHERE
from me5.service.wire.reading import Fields, read_texts
from me5.service.wire.routing import speaking

router = APIRouter(route_class=speaking(COHERE), tags=["Cohere", "Jina"])

_TEXT = {"type": "string", "minLength": 1}
_OBJECT = {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}
Documents = Annotated[Any, WithJsonSchema({"type": "array", "items": {"anyOf": [_TEXT, _OBJECT]}, "minItems": 1})]


class RerankRequest(Fields):
    """A query, and the documents that may answer it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "bge-reranker-v2-m3",
                    "query": "how tall is K2?",
                    "documents": ["Bake for an hour.", "K2 rises to 8,611 metres."],
                    "top_n": 1,
                }
            ]
        }
    )

    model: str | None = Field(None, description="The reranker's name.")
    query: str = Field(min_length=1)
    documents: Documents = Field(description="Texts, or objects with a `text`.")
    top_n: int | None = Field(None, ge=1, description="Only so many, the best.")
    return_documents: bool = Field(False, description="Repeat the documents.")
    truncation: bool | None = Field(None, description="Cut longer pairs (true), or refuse them (false).")
    priority: int | None = Field(None, ge=0, le=999, description="0 is the usual one, above it is bulk work.")


class Document(BaseModel):
    """A document, repeated."""

    text: str


class Relevance(BaseModel):
    """A document by its place in the request, and its score, 0 to 1."""

    index: int
    relevance_score: float
    document: Document | None = None


class RerankV2(BaseModel):
    """Cohere's reply."""

    id: str
    results: list[Relevance]
    meta: Meta


class Tokens(BaseModel):
    """Tokens that the model read."""

    total_tokens: int
    prompt_tokens: int


class RerankV1(RerankV2):
    """The same with the fields that Jina's clients read."""

    object: Literal["list"]
    model: str
    usage: Tokens


@router.post("/v2/rerank", response_model=RerankV2, responses=COHERE.responses(424))
async def rerank_v2(body: RerankRequest, call: CurrentCall) -> Response:
    """Order documents for a query, as Cohere does."""
    return await _rerank(body, call, "2")


@router.post("/v1/rerank", response_model=RerankV1, responses=COHERE.responses(424))
async def rerank_v1(body: RerankRequest, call: CurrentCall) -> Response:
    """Order documents for a query, as Jina and Cohere's first version do."""
    return await _rerank(body, call, "1")


async def _rerank(body: RerankRequest, call: Call, version: Literal["1", "2"]) -> Response:
    texts = read_texts(_texts(body.documents), "documents", call.service.settings.max_items)
    answer, ranked = await call.rerank(
        body.query, texts, param="documents", model=body.model, ignored=body.ignored,
        truncation="error" if body.truncation is False else None, priority="bulk" if body.priority else None,
    )  # fmt: skip

    def content() -> dict[str, Any]:
        reply = {
            "id": call.record.id,
            "results": [_relevance(one, texts, body) for one in ranked[: body.top_n]],
            "meta": meta_of(version, answer),
        }
        return reply if version == "2" else reply | _of_jina(call, answer)

    return await writing.json_reply(content, call.headers(answer), call.record, numbers=len(texts))


def _texts(documents: Any) -> Any:
    """Texts, and those of objects."""
    if not isinstance(documents, list):
        raise FieldError(f"`documents` should be a list of strings, got {shown(documents)}", "documents")
    return [one.get("text") if isinstance(one, dict) else one for one in documents]


def _relevance(one: Ranked, texts: list[str], body: RerankRequest) -> dict[str, Any]:
    result = {"index": one.index, "relevance_score": one.score}
    return result | ({"document": {"text": texts[one.index]}} if body.return_documents else {})


def _of_jina(call: Call, answer: Answer) -> dict[str, Any]:
    assert call.service.reranker is not None
    tokens = answer.usage.tokens_read
    return {
        "object": "list",
        "model": call.service.reranker.checkpoint.name,
        "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
    }
