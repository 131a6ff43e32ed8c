"""Ollama's dialect: POST /api/embed; GET /api/tags and /api/version, POST /api/show about the model.

A side is the end of the model's name (`me5-small:query`); the tag `latest`, which Ollama's clients add, means none.
`options` and `keep_alive` have no effect.
"""

import asyncio
from datetime import UTC, datetime
from math import prod
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from me5 import fingerprint
from me5._version import __version__
from me5.checkpoint import Checkpoint, is_gguf
from me5.quantization import shortened
from me5.service.wire import writing
from me5.service.wire.call import Call, CurrentCall
from me5.service.wire.dialects import OLLAMA
from me5.service.wire.openai import Texts
from me5.service.wire.reading import Fields, SideFields, read_texts, read_truncation
from me5.service.wire.routing import speaking
from me5.weights import tensor_table

router = APIRouter(route_class=speaking(OLLAMA), tags=["Ollama"])


class OllamaRequest(SideFields):
    """Texts to embed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "me5-small:query", "input": "how tall is K2?"}]}
    )

    model: str = Field(description="The served model's name, with `:query`, `:document` or `:both` for a side.")
    input: Texts = Field(description="One text, or a list of texts.")
    truncate: bool | None = Field(None, description="False refuses texts that the model cannot read whole.")
    dimensions: int | None = Field(
        None, ge=1, description="Shorter vectors, where the model was trained for them or the service allows it."
    )


class OllamaEmbeddings(BaseModel):
    """Vectors in the order of the texts; durations in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class ShowRequest(Fields):
    """The model to describe."""

    model: str = Field(description="The served model's name.")


class Details(BaseModel):
    """What the model is made of."""

    parent_model: str
    format: Literal["gguf", "safetensors"]
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Tag(BaseModel):
    """A name to ask for."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(BaseModel):
    """Every name to ask for."""

    models: list[Tag]


class Shown(BaseModel):
    """The model in figures."""

    model_config = ConfigDict(protected_namespaces=())

    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, str | int]
    capabilities: list[str]
    modified_at: str


class Version(BaseModel):
    """The service's version."""

    version: str


@router.post("/api/embed", response_model=OllamaEmbeddings, responses=OLLAMA.responses())
async def embed(body: OllamaRequest, call: CurrentCall) -> Response:
    """Embed texts, as Ollama does."""
    service = call.service
    texts = read_texts(body.input, "input", service.settings.max_items)
    policy = read_truncation({"truncate": body.truncate}, service.settings.truncation)
    writing.check_dimensions(body.dimensions, service.pipeline.checkpoint, service.settings, "dimensions")
    (answer,) = await call.embed(call.inputs("input", texts, body, truncation=policy))
    vectors = shortened(answer.vectors, body.dimensions)

    def content() -> dict[str, Any]:
        return {
            "model": body.model,
            "embeddings": writing.number_rows(vectors),
            "total_duration": round(call.milliseconds * 1e6),
            "load_duration": 0,
            "prompt_eval_count": answer.usage.tokens_read,
        }

    return await writing.json_reply(content, call.headers(answer), call.record, numbers=vectors.size)


@router.get("/api/tags", response_model=Tags, responses=OLLAMA.responses())
async def tags(call: CurrentCall) -> Response:
    """The served model, and its name with each side."""
    checkpoint = call.service.pipeline.checkpoint
    digest = await asyncio.to_thread(fingerprint.of_checkpoint, checkpoint)
    about = {
        "modified_at": _started(call),
        "size": sum(path.stat().st_size for path in checkpoint.weights),
        "digest": digest,
        "details": _details(call),
    }
    served, *sides = call.service.names.aliases
    names = [f"{served}:latest", *sides]
    listed = [{"name": name, "model": name, **about} for name in names]
    return await writing.json_reply(lambda: {"models": listed}, {}, call.record)


@router.post("/api/show", response_model=Shown, responses=OLLAMA.responses())
async def show(body: ShowRequest, call: CurrentCall) -> Response:
    """The model in figures, as GGUF files name them."""
    call.service.names.check(call.service.names.split(body.model)[0])
    pipeline = call.service.pipeline
    config = pipeline.checkpoint.config
    family = config.body
    fields = Shown(
        modelfile="", parameters="", template="{{ .Prompt }}", details=Details(**_details(call)),
        model_info={
            "general.architecture": family,
            "general.basename": pipeline.checkpoint.name,
            "general.parameter_count": _parameters(pipeline.checkpoint),
            f"{family}.context_length": pipeline.max_tokens,
            f"{family}.embedding_length": config.hidden_size,
            f"{family}.block_count": config.layers,
            f"{family}.attention.head_count": config.heads,
            f"{family}.feed_forward_length": config.intermediate_size,
        },
        capabilities=["embedding"], modified_at=_started(call),
    )  # fmt: skip
    return await writing.json_reply(fields.model_dump, {}, call.record)


@router.get("/api/version", response_model=Version, responses=OLLAMA.responses())
async def version(call: CurrentCall) -> Response:
    """me5's version."""
    return await writing.json_reply(lambda: {"version": __version__}, {}, call.record)


def _details(call: Call) -> dict[str, Any]:
    pipeline = call.service.pipeline
    checkpoint = pipeline.checkpoint
    return {
        "parent_model": "",
        "format": "gguf" if is_gguf(checkpoint.path) else "safetensors",
        "family": checkpoint.config.body,
        "families": [checkpoint.config.body],
        "parameter_size": f"{_parameters(checkpoint) / 1e6:.0f}M",
        "quantization_level": pipeline.precision.upper(),
    }


def _parameters(checkpoint: Checkpoint) -> int:
    return sum(prod(shape) for _, shape in tensor_table(checkpoint.config).values())


def _started(call: Call) -> str:
    return datetime.fromtimestamp(call.service.started, UTC).isoformat()
