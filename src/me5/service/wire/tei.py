"""TEI's dialect: POST / and /embed, /embed_all, /similarity, /rerank, /tokenize, /decode; GET /info.

Where TEI and me5 differ in nature:

    prompt_name   a name that the checkpoint lists, a side (`query`, `document`, `both`) or a task (`web-search`);
                  without one, texts are read as documents, and by /similarity as `both`
    truncate      true cuts, false refuses with 422; without it the service's own policy holds (its option
                  --truncation, by default the end is cut), which /info shows as `auto_truncate`
    inputs        token ids are taken where TEI takes them: they are this model's own, from /tokenize
    /             takes a similarity request too: huggingface_hub posts everything to the address it was given
"""

from typing import Any

from fastapi import APIRouter, Response

from me5._version import __version__
from me5.quantization import shortened
from me5.service.errors import FieldError, NotServed, shown
from me5.service.inputs import Answer, Inputs
from me5.service.pipeline import BULK_THREADS, QUERY_THREADS
from me5.service.wire import writing
from me5.service.wire.call import Call, CurrentCall
from me5.service.wire.dialects import TEI
from me5.service.wire.reading import read_texts, read_truncation
from me5.service.wire.routing import speaking
from me5.service.wire.tei_fields import (
    Cutting,
    DecodeRequest,
    EmbedAllRequest,
    EmbedRequest,
    Info,
    ModelType,
    Pooling,
    Rank,
    RerankRequest,
    RootRequest,
    SimilarityInputs,
    SimilarityParameters,
    SimilarityRequest,
    TeiFields,
    Token,
    TokenizeRequest,
)
from me5.tokenizer import Truncation

router = APIRouter(route_class=speaking(TEI), tags=["TEI"])

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "int8": "int8", "fp8": "float8"}


@router.post("/embed", response_model=list[list[float]], responses=TEI.responses(424))
async def embed(body: EmbedRequest, call: CurrentCall) -> Response:
    """Embed texts, as TEI does; with `Accept: application/octet-stream` as raw float32."""
    service = call.service
    texts = await _texts(body.inputs, call)
    inputs = _inputs(call, texts, body, output="unit" if body.normalize else "raw")
    writing.check_dimensions(body.dimensions, service.pipeline.checkpoint, service.settings, "dimensions")
    (answer,) = await call.embed(inputs)
    vectors = shortened(answer.vectors, body.dimensions, unit=body.normalize)
    headers = _headers(call, answer)
    if writing.wants_octets(call.request.headers.get("accept", "")):
        return writing.octets(vectors, headers)
    return await writing.json_reply(lambda: writing.number_rows(vectors), headers, call.record, numbers=vectors.size)


@router.post("/", response_model=list[list[float]] | list[float], responses=TEI.responses(424))
async def root(body: RootRequest, call: CurrentCall) -> Response:
    """The same as /embed; or, with a source sentence and others, as /similarity."""
    if isinstance(body.inputs, SimilarityInputs):
        return await similarity(SimilarityRequest.model_construct(**dict(body)), call)
    return await embed(body, call)


@router.post("/embed_all", response_model=list[list[list[float]]], responses=TEI.responses(424))
async def embed_all(body: EmbedAllRequest, call: CurrentCall) -> Response:
    """The model's last hidden state of every token, special ones too, as they are before pooling."""
    inputs = _inputs(call, await _texts(body.inputs, call), body, output="states")
    (answer,) = await call.embed(inputs)
    return await writing.json_reply(
        lambda: writing.number_rows(answer.states),
        _headers(call, answer),
        call.record,
        numbers=sum(state.size for state in answer.states),
    )


@router.post("/similarity", response_model=list[float], responses=TEI.responses(424))
async def similarity(body: SimilarityRequest, call: CurrentCall) -> Response:
    """The cosine of a text with each of several."""
    texts = [body.inputs.source_sentence, *body.inputs.sentences]
    read_texts(texts, "inputs", call.service.settings.max_items)
    (answer,) = await call.embed(_inputs(call, texts, body.parameters or SimilarityParameters(), default="both"))
    cosines = answer.vectors[1:] @ answer.vectors[0]
    return await writing.json_reply(lambda: cosines, _headers(call, answer), call.record)


@router.post("/tokenize", response_model=list[list[Token]], responses=TEI.responses())
async def tokenize(body: TokenizeRequest, call: CurrentCall) -> Response:
    """Every token of the prompted texts, before truncation."""
    texts = read_texts(body.inputs, "inputs", call.service.settings.max_items)
    inputs = call.inputs("inputs", texts, body, prompt_name=body.prompt_name, truncation="end")
    tokens_of = await call.tokens(inputs)
    prompted_texts = [inputs.prompt + text for text in texts]

    def content() -> list[list[dict[str, Any]]]:
        return [
            [
                {
                    "id": token.id,
                    "text": token.piece if token.special else prompted[token.start : token.end],
                    "special": token.special,
                    "start": token.start,
                    "stop": token.end,
                }
                for token in tokens
                if body.add_special_tokens or not token.special
            ]
            for tokens, prompted in zip(tokens_of, prompted_texts, strict=True)
        ]

    return await writing.json_reply(content, {}, call.record, numbers=sum(map(len, tokens_of)))


@router.post("/decode", response_model=list[str], responses=TEI.responses())
async def decode(body: DecodeRequest, call: CurrentCall) -> Response:
    """The texts of token ids."""
    several = isinstance(body.ids, list) and body.ids and all(isinstance(ids, list) for ids in body.ids)
    lists = body.ids if several else [body.ids]
    _check_count(lists, call, "ids")
    for index, ids in enumerate(lists):
        _check_ids(ids, call, "ids", index)
    texts = await call.decode("ids", lists, skip_special=body.skip_special_tokens, counted=True)
    return await writing.json_reply(lambda: texts, {}, call.record)


@router.get("/info", response_model=Info, responses=TEI.responses())
async def info(call: CurrentCall) -> Response:
    """The model and the limits."""
    settings, pipeline = call.service.settings, call.service.pipeline
    checkpoint = pipeline.checkpoint
    fields = Info(
        dim=pipeline.dim,
        precision=pipeline.precision,
        model_id=checkpoint.name,
        model_sha=settings.revision or (checkpoint.known.revision or None if checkpoint.known else None),
        model_dtype=_DTYPES[pipeline.precision],
        served_model_name=call.service.names.served,
        model_type=ModelType(embedding=Pooling(pooling=checkpoint.config.pooling)),
        max_concurrent_requests=settings.max_connections,
        max_input_length=pipeline.max_tokens,
        max_batch_tokens=pipeline.batch_tokens,
        max_batch_requests=None,
        max_client_batch_size=settings.max_items,
        auto_truncate=settings.truncation != "error",
        tokenization_workers=QUERY_THREADS + BULK_THREADS,
        version=__version__,
        sha=None,
        docker_label=None,
    )
    return await writing.json_reply(fields.model_dump, {}, call.record)


@router.post("/rerank", response_model=list[Rank], response_model_exclude_none=True, responses=TEI.responses(424))
async def rerank(body: RerankRequest, call: CurrentCall) -> Response:
    """Order texts by how well they answer a query, as a cross-encoder reads both together; the best is first."""
    texts = read_texts(body.texts, "texts", call.service.settings.max_items)
    answer, ranked = await call.rerank(
        body.query, texts, param="texts", model=body.model, truncation=_truncation(body, call),
        activation="identity" if body.raw_scores else "sigmoid", ignored=body.ignored,
    )  # fmt: skip

    def content() -> list[dict[str, Any]]:
        with_text = body.return_text
        return [
            {"index": one.index, "score": one.score, **({"text": texts[one.index]} if with_text else {})}
            for one in ranked
        ]

    return await writing.json_reply(content, _headers(call, answer), call.record, numbers=len(texts))


@router.post("/predict", status_code=424, responses=TEI.responses(424))
@router.post("/embed_sparse", status_code=424, responses=TEI.responses(424))
async def not_served(call: CurrentCall) -> Response:
    """What other kinds of models do."""
    raise NotServed(
        f"{call.service.names.served} is an embedding model, which {call.request.url.path} needs another kind for; "
        "see /embed, /similarity and /v1/score"
    )


async def _texts(inputs: Any, call: Call) -> list[str]:
    """Texts, and token ids as the texts that they stand for."""
    if isinstance(inputs, dict):
        raise FieldError("`inputs` needs `source_sentence` and `sentences`, or is a text or a list of texts", "inputs")
    if isinstance(inputs, list) and inputs and all(type(token) is int for token in inputs):
        inputs = [inputs]
    if isinstance(inputs, list) and any(isinstance(item, list) for item in inputs):
        _check_count(inputs, call, "inputs")
        places = [index for index, item in enumerate(inputs) if isinstance(item, list)]
        for index in places:
            _check_ids(inputs[index], call, "inputs", index)
        lists = [inputs[index] for index in places]
        texts = await call.decode("inputs", lists, skip_special=True, counted=False)
        inputs = inputs.copy()
        for index, text in zip(places, texts, strict=True):
            inputs[index] = text
    return read_texts(inputs, "inputs", call.service.settings.max_items)


def _check_count(lists: list[Any], call: Call, param: str) -> None:
    """Refuse more lists than are read at once, before any is looked at."""
    if len(lists) > (limit := call.service.settings.max_items):
        raise FieldError(f"`{param}` has {len(lists):,} items, at most {limit:,} are read at once", param)


def _check_ids(ids: Any, call: Call, param: str, index: int) -> None:
    size = call.service.pipeline.checkpoint.config.vocab_size
    if not isinstance(ids, list) or not ids:
        raise FieldError(f"`{param}`, item {index}: expected token ids, got {shown(ids)}", param)
    for token in ids:
        if type(token) is not int or not 0 <= token < size:
            raise FieldError(f"`{param}`, item {index}: expected ids from 0 to {size - 1}, got {shown(token)}", param)


def _inputs(call: Call, texts: list[str], fields: TeiFields, **options: Any) -> Inputs:
    truncation = _truncation(fields, call)
    return call.inputs("inputs", texts, fields, prompt_name=fields.prompt_name, truncation=truncation, **options)


def _truncation(fields: Cutting, call: Call) -> Truncation:
    policy = read_truncation({"truncate": fields.truncate}, call.service.settings.truncation)
    if policy == "error" or fields.truncation_direction is None:
        return policy
    return "start" if fields.truncation_direction.lower() == "left" else "end"


def _headers(call: Call, answer: Answer) -> dict[str, str]:
    """TEI's headers, in milliseconds, and our own."""
    usage = answer.usage
    total = f"{call.milliseconds:.0f}"
    return {
        **call.headers(answer),
        "x-compute-type": "gpu" if call.service.settings.device.startswith("cuda") else "cpu",
        "x-compute-time": total,
        "x-compute-characters": str(sum(map(len, answer.inputs.texts))),
        "x-compute-tokens": str(usage.tokens_read),
        "x-total-time": total,
        "x-tokenization-time": f"{usage.tokenization * 1000:.0f}",
        "x-queue-time": f"{usage.queue * 1000:.0f}",
        "x-inference-time": f"{usage.inference * 1000:.0f}",
    }
