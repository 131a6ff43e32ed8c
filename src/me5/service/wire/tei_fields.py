"""The bodies of TEI's dialect, in and out."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from me5.service.wire.reading import Fields, SideFields, TaskWords

_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
Inputs = Annotated[
    Any,
    WithJsonSchema({"anyOf": [_TEXT, _IDS, {"type": "array", "items": {"anyOf": [_TEXT, _IDS]}, "minItems": 1}]}),
]
Texts = Annotated[Any, WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]})]
IdLists = Annotated[Any, WithJsonSchema({"anyOf": [_IDS, {"type": "array", "items": _IDS, "minItems": 1}]})]


class Cutting(Fields):
    """What becomes of texts that are too long."""

    truncate: bool | None = Field(None, description="Cut longer texts (true), or refuse them (false).")
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = Field(
        None, description="The end that is cut."
    )


class TeiFields(SideFields, Cutting):
    """The fields that TEI's requests for vectors share."""

    prompt_name: TaskWords | None = Field(
        None, description="A prompt by name: a side, a task, or one that the model lists."
    )


class EmbedAllRequest(TeiFields):
    """Texts, each to become a vector per token."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "how tall is K2?"}]})

    inputs: Inputs = Field(description="A text or token ids, or a list of those.")


class EmbedRequest(TeiFields):
    """Texts to embed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["how tall is K2?", "南瓜的家常做法"], "prompt_name": "query"}]}
    )

    inputs: Inputs = Field(description="A text or token ids, or a list of those.")
    normalize: bool = Field(True, description="Give vectors the length 1.")
    dimensions: int | None = Field(
        None, ge=1, description="Shorter vectors, where the model was trained for them or the service allows it."
    )


class SimilarityInputs(Fields):
    """A text, and those to compare it with."""

    source_sentence: str = Field(min_length=1)
    sentences: Annotated[list[Annotated[str, Field(min_length=1)]], Field(fail_fast=True)] = Field(min_length=1)


class SimilarityParameters(TeiFields):
    """How the texts are read."""


class SimilarityRequest(SideFields):
    """A text, and those to compare it with."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"inputs": {"source_sentence": "good morning", "sentences": ["Guten Morgen", "gute Nacht"]}}]
        }
    )

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class RootRequest(EmbedRequest):
    """Texts to embed, or a similarity request."""

    inputs: SimilarityInputs | Inputs
    parameters: SimilarityParameters | None = Field(None, description="For similarity requests.")


class TokenizeRequest(TeiFields):
    """Texts to look at as tokens."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "how tall is K2?"}]})

    inputs: Texts = Field(description="One text, or a list of texts.")
    add_special_tokens: bool = True


class DecodeRequest(Fields):
    """Token ids to read as texts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [[0, 5, 6, 7, 2]]}]})

    ids: IdLists = Field(description="Token ids of a text, or a list of such.")
    skip_special_tokens: bool = True


class RerankRequest(Cutting):
    """A query, and the texts that may answer it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "how tall is K2?", "texts": ["Bake for an hour.", "K2 rises to 8,611 metres."]}]
        }
    )

    query: str = Field(min_length=1)
    texts: Texts = Field(description="A list of texts.")
    raw_scores: bool = Field(False, description="The model's logits, and not their sigmoid.")
    return_text: bool = Field(False, description="Repeat the texts.")
    model: str | None = Field(None, description="The reranker's name.")


class Rank(BaseModel):
    """A text by its place in the request, and its score."""

    index: int
    score: float
    text: str | None = None


class Token(BaseModel):
    """One token; `start` and `stop` count characters of the prompted text, and are null for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Pooling(BaseModel):
    """How tokens become one vector."""

    pooling: Literal["mean", "cls"]


class ModelType(BaseModel):
    """What kind of model is served."""

    embedding: Pooling


class Info(BaseModel):
    """The model and the limits. `dim` and `precision` are me5's own."""

    model_config = ConfigDict(protected_namespaces=())

    dim: int
    precision: str

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
