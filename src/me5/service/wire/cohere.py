"""Cohere's dialect: POST /v2/embed and /v1/embed.

    input_type        search_query and search_document are the sides; classification and clustering are the symmetric
                      side with the task of that name, on models that have a place for one; `task` can name another
    embedding_types   float; base64 (float32); int8 and uint8 (see `quantization`); binary and ubinary (signs)
    truncate          END, START, or NONE, which refuses longer texts

Cohere's own limit of 96 texts does not hold here, the service's does. Texts that were cut, and fields without effect,
are listed in `meta.warnings`. There are no images.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from me5.quantization import FORMS, quantized, shortened
from me5.service.errors import FieldError, shown
from me5.service.inputs import Answer
from me5.service.wire import writing
from me5.service.wire.call import CurrentCall
from me5.service.wire.dialects import COHERE
from me5.service.wire.reading import Fields, SideFields, read_texts, read_truncation
from me5.service.wire.routing import speaking
from me5.vectors import Float32

router = APIRouter(route_class=speaking(COHERE), tags=["Cohere"])

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
ROWS: dict[str, Callable[[Float32], Any]] = {
    "float": writing.number_rows,
    **{form: functools.partial(quantized, form=form) for form in FORMS if form != "float32"},
    "base64": writing.base64_rows,
}
Numbers = list[list[float]]  # named here, for in `Embeddings` the word float is a field
_TEXT = {"type": "string", "minLength": 1}
Texts = Annotated[Any, WithJsonSchema({"type": "array", "items": _TEXT, "minItems": 1})]


class TextContent(Fields):
    """A part of an input: its text."""

    type: Literal["text"]
    text: str = Field(min_length=1)


class Content(Fields):
    """One input, of one text."""

    content: Annotated[list[TextContent], Field(fail_fast=True)] = Field(min_length=1, max_length=1)


class CohereRequest(SideFields):
    """Texts to embed; `texts` or `inputs`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "me5-small",
                    "texts": ["how tall is K2?"],
                    "input_type": "search_query",
                    "embedding_types": ["float", "int8"],
                }
            ],
            "anyOf": [{"required": ["texts"]}, {"required": ["inputs"]}],
        }
    )

    model: str = Field(description="The served model's name.")
    input_type: str = Field(description="search_query, search_document, classification or clustering.")
    texts: Texts | None = None
    inputs: Annotated[list[Content], Field(fail_fast=True)] | None = Field(None, min_length=1)
    embedding_types: Annotated[list[EmbeddingType], Field(fail_fast=True)] | None = Field(
        None, min_length=1, max_length=len(get_args(EmbeddingType))
    )
    truncate: Literal["NONE", "START", "END"] | None = None
    max_tokens: int | None = Field(None, ge=1)
    output_dimension: int | None = Field(None, ge=1)
    priority: int | None = Field(None, ge=0, le=999, description="0 is the usual one, above it is bulk work.")


class Embeddings(BaseModel):
    """Vectors by type, in the order of the texts."""

    float: Numbers | None = None
    int8: list[list[int]] | None = None
    uint8: list[list[int]] | None = None
    binary: list[list[int]] | None = None
    ubinary: list[list[int]] | None = None
    base64: list[str] | None = None


class InputTokens(BaseModel):
    """Tokens that the model read."""

    input_tokens: int


class ApiVersion(BaseModel):
    """Which of Cohere's APIs answered."""

    version: str


class Meta(BaseModel):
    """What was counted, and what to know."""

    api_version: ApiVersion
    billed_units: InputTokens
    tokens: InputTokens
    warnings: list[str] | None = None


class EmbedByType(BaseModel):
    """Vectors by type."""

    id: str
    response_type: Literal["embeddings_by_type"]
    embeddings: Embeddings
    texts: list[str]
    meta: Meta


class EmbedFloats(BaseModel):
    """Version 1's reply to a request that names no types."""

    id: str
    response_type: Literal["embeddings_floats"]
    embeddings: list[list[float]]
    texts: list[str]
    meta: Meta


@router.post("/v2/embed", response_model=EmbedByType, responses=COHERE.responses())
async def embed_v2(body: CohereRequest, call: CurrentCall) -> Response:
    """Embed texts, as Cohere does."""
    return await _embed(body, call, "2", body.embedding_types or ["float"])


@router.post("/v1/embed", response_model=EmbedByType | EmbedFloats, responses=COHERE.responses())
async def embed_v1(body: CohereRequest, call: CurrentCall) -> Response:
    """Embed texts, as Cohere's first version does."""
    return await _embed(body, call, "1", body.embedding_types)


async def _embed(
    body: CohereRequest, call: CurrentCall, version: str, types: Sequence[EmbeddingType] | None
) -> Response:
    service = call.service
    texts = _texts(body, service.settings.max_items)
    truncation = read_truncation({"truncate": body.truncate}, service.settings.truncation)
    priority = "bulk" if body.priority else None
    inputs = call.inputs("texts", texts, body, truncation=truncation, priority=priority)
    writing.check_dimensions(body.output_dimension, service.pipeline.checkpoint, service.settings, "output_dimension")
    (answer,) = await call.embed(inputs)
    vectors = shortened(answer.vectors, body.output_dimension)

    def content() -> dict[str, Any]:
        by_type = {name: ROWS[name](vectors) for name in types or ["float"]}
        return {
            "id": call.record.id,
            "response_type": "embeddings_floats" if types is None else "embeddings_by_type",
            "embeddings": by_type["float"] if types is None else by_type,
            "texts": texts,
            "meta": meta_of(version, answer),
        }

    return await writing.json_reply(
        content, call.headers(answer), call.record, numbers=vectors.size * len(types or ["float"])
    )


def _texts(body: CohereRequest, limit: int) -> list[str]:
    """The texts of either field."""
    if "images" in body.ignored or body.input_type == "image":
        raise FieldError("this model reads text only: send `texts`, and no `images`", "images")
    if (body.texts is None) == (body.inputs is None):
        raise FieldError("exactly one of `texts` and `inputs` should be there", "texts")
    if body.inputs is not None:
        return read_texts([one.content[0].text for one in body.inputs], "inputs", limit)
    if not isinstance(body.texts, list):
        raise FieldError(f"`texts` should be a list of strings, got {shown(body.texts)}", "texts")
    return read_texts(body.texts, "texts", limit)


def meta_of(version: str, answer: Answer) -> dict[str, Any]:
    """The `meta` of a reply."""
    warnings = [*answer.warnings, *filter(None, (answer.cut,))]
    if ignored := answer.inputs.ignored:
        warnings.append(f"fields without effect: {', '.join(ignored)}")
    tokens = {"input_tokens": answer.usage.tokens_read}
    meta: dict[str, Any] = {"api_version": {"version": version}, "billed_units": tokens, "tokens": tokens}
    return meta | ({"warnings": warnings} if warnings else {})
