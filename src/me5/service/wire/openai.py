"""OpenAI's dialect: POST /v1/embeddings (and /embeddings), GET /v1/models.

Beyond OpenAI's fields it takes `side`, `task` and `input_type` for the prompt, and `truncation`, or `truncate` as
NVIDIA (NONE, START, END) and Ollama (true, false) spell it. Other fields are let through, as OpenAI's clients expect,
and named in the reply's `me5.ignored`. Arrays of token ids are refused: they are another tokenizer's.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from me5.quantization import shortened
from me5.service.errors import FieldError
from me5.service.inputs import Answer
from me5.service.wire import writing
from me5.service.wire.call import Call, CurrentCall
from me5.service.wire.dialects import OPENAI
from me5.service.wire.reading import SideFields, read_texts, read_truncation
from me5.service.wire.routing import speaking
from me5.tokenizer import Truncation

router = APIRouter(route_class=speaking(OPENAI), tags=["OpenAI"])

Texts = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


class EmbeddingRequest(SideFields):
    """Texts to embed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "me5-small:query", "input": ["how tall is K2?", "南瓜的家常做法"]},
                {"model": "me5-small", "input": "K2 rises to 8,611 metres.", "encoding_format": "base64"},
            ]
        }
    )

    input: Texts = Field(description="One text, or a list of texts.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="`base64` is a vector's little-endian float32 bytes. None is `float`."
    )
    dimensions: int | None = Field(
        None, ge=1, description="Shorter vectors, where the model was trained for them or the service allows it."
    )
    user: str | None = Field(None, description="Without effect.")
    truncation: Truncation | bool | None = Field(
        None, description="Texts longer than the model reads lose the end or the start, are read in chunks, or refused."
    )
    truncate: Literal["NONE", "START", "END"] | bool | None = Field(None, description="The same in other words.")


class Embedding(BaseModel):
    """One vector: numbers, or base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


class Notes(BaseModel):
    """What me5 did. `tokens`, `lost` and `chunks` have a number per text."""

    side: str
    prompt: str = Field(description="What stands in front of every text.")
    truncated: int = Field(description="How many texts lost tokens.")
    tokens: list[int] = Field(
        description="Tokens with the prompt and special ones, before truncation; or at least so many: see `warnings`."
    )
    lost: list[int] = Field(description="Tokens that the model did not read.")
    chunks: list[int] = Field(description="Sequences that the text was read in.")
    ignored: list[str] = Field(description="Fields of the request that have no effect here.")
    warnings: list[str]


class EmbeddingList(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage
    me5: Notes


class Model(BaseModel):
    """A name to ask for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    side: str | None = Field(description="The side that this name stands for; null leaves it to the request.")
    dimensions: int
    max_tokens: int
    precision: str


class ModelList(BaseModel):
    """Every name to ask for."""

    object: Literal["list"]
    data: list[Model]


@router.post("/v1/embeddings", response_model=EmbeddingList, responses=OPENAI.responses(), name="embeddings")
@router.post("/embeddings", include_in_schema=False)
async def embeddings(body: EmbeddingRequest, call: CurrentCall) -> Response:
    """Embed texts, as OpenAI does; with `Accept: application/octet-stream` as raw float32."""
    service = call.service
    if _is_token_ids(body.input):
        raise FieldError(
            "`input` holds token ids, which are another tokenizer's and mean nothing to this model: send the texts. "
            "For langchain's OpenAIEmbeddings, set check_embedding_ctx_length=False",
            "input",
        )
    texts = read_texts(body.input, "input", service.settings.max_items)
    words = {"truncation": body.truncation, "truncate": body.truncate}
    inputs = call.inputs("input", texts, body, truncation=read_truncation(words, service.settings.truncation))
    writing.check_dimensions(body.dimensions, service.pipeline.checkpoint, service.settings, "dimensions")
    (answer,) = await call.embed(inputs)
    vectors = shortened(answer.vectors, body.dimensions)
    headers = {**call.headers(answer), "openai-processing-ms": f"{call.milliseconds:.0f}"}
    if writing.wants_octets(call.request.headers.get("accept", "")):
        return writing.octets(vectors, headers)

    tokens = answer.usage.tokens_read

    def content() -> dict[str, Any]:
        rows = (writing.base64_rows if body.encoding_format == "base64" else writing.number_rows)(vectors)
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
            "model": service.names.served,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "me5": _notes(answer),
        }

    return await writing.json_reply(content, headers, call.record, numbers=vectors.size)


@router.get("/v1/models", response_model=ModelList, responses=OPENAI.responses())
async def models(call: CurrentCall) -> Response:
    """The served model, and its name with each side."""
    data = [_model(call, name) for name in call.service.names.aliases]
    return await writing.json_reply(lambda: {"object": "list", "data": data}, {}, call.record)


@router.get("/v1/models/{name:path}", response_model=Model, responses=OPENAI.responses())
async def model(name: str, call: CurrentCall) -> Response:
    """One of those names."""
    call.service.names.check(call.service.names.split(name)[0])
    return await writing.json_reply(lambda: _model(call, name), {}, call.record)


def _model(call: Call, name: str) -> dict[str, Any]:
    pipeline = call.service.pipeline
    return {
        "id": name,
        "object": "model",
        "created": call.service.started,
        "owned_by": "me5",
        "side": call.service.names.split(name)[1],
        "dimensions": pipeline.dim,
        "max_tokens": pipeline.max_tokens,
        "precision": pipeline.precision,
    }


def _notes(answer: Answer) -> dict[str, Any]:
    inputs, usage = answer.inputs, answer.usage
    return {
        "side": inputs.side,
        "prompt": inputs.prompt,
        "truncated": usage.truncated,
        "tokens": list(usage.tokens),
        "lost": list(usage.lost),
        "chunks": list(usage.chunks),
        "ignored": inputs.ignored,
        "warnings": answer.warnings,
    }


def _is_token_ids(value: Any) -> bool:
    """Whether an input is one array of numbers, or a list of such."""
    arrays = value if isinstance(value, list) and all(isinstance(item, list) for item in value) else [value]
    return any(isinstance(array, list) and array and all(type(item) is int for item in array) for array in arrays)
