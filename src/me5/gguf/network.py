"""The settings of a GGUF file -> what config.json and its companions say in the published layout."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from me5.errors import CheckpointError
from me5.gguf.header import File

ARCHITECTURE = "bert"  # llama.cpp's name of XLM-RoBERTa's and BERT's bodies alike
POOLINGS: Mapping[int, Literal["mean", "cls"]] = {1: "mean", 2: "cls"}
RANK = 4  # of a cross-encoder, whose head stands on the first token; the converter leaves it out
PROMPTS = "me5.prompts"
# GGUF's key, and config.json's.
_SIZES = {
    f"{ARCHITECTURE}.embedding_length": "hidden_size",
    f"{ARCHITECTURE}.block_count": "num_hidden_layers",
    f"{ARCHITECTURE}.attention.head_count": "num_attention_heads",
    f"{ARCHITECTURE}.feed_forward_length": "intermediate_size",
    f"{ARCHITECTURE}.attention.layer_norm_epsilon": "layer_norm_eps",
}
# How names end that llama.cpp's tools give to files: `multilingual-e5-small-Q8_0.gguf`, `bge-m3.f16.gguf`.
_TYPE_IN_NAME = re.compile(r"[-._](?:[fF](?:16|32)|[bB][fF]16|[iI]?[qQ]\d\w*)$")


@dataclass(frozen=True)
class Network:
    """What the file says: `config` as config.json would, the pooling, the limit in tokens, prompts by their names.

    `outputs` are the logits of a cross-encoder's head, None for a model that embeds. `names` are what the model may be
    called by, the surest first.
    """

    config: Mapping[str, Any]
    pooling: Literal["mean", "cls"]
    outputs: int | None
    max_tokens: int
    prompts: Mapping[str, str]
    names: tuple[str, ...]


def network(file: File) -> Network:
    """Raises `CheckpointError` for a file that holds another kind of model, or lacks what an encoder needs.

    llama.cpp's converter drops XLM-RoBERTa's first rows of positions, which no token uses, so that every body counts
    positions from 0 as BERT does.
    """
    settings = file.settings
    architecture = settings.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise CheckpointError(
            f"{file.path} holds a model of the architecture {architecture!r:.60}, me5 reads {ARCHITECTURE!r} "
            "(XLM-RoBERTa and BERT encoders)"
        )
    if settings.get(f"{ARCHITECTURE}.attention.causal", False) is not False:
        raise CheckpointError(f"{file.path}: attention is causal, expected that of an encoder")
    outputs = _outputs(file)
    tables = {name: _rows(file, name) for name in ("token_embd.weight", "position_embd.weight", "token_types.weight")}
    words, positions, types = tables.values()
    return Network(
        config={
            "model_type": "bert",
            "vocab_size": words,
            "max_position_embeddings": positions,
            "type_vocab_size": types,
            **{theirs: settings[ours] for ours, theirs in _SIZES.items() if ours in settings},
        },
        pooling=_pooling(file) if outputs is None else "cls",
        outputs=outputs,
        max_tokens=_limit(file, positions),
        prompts=_prompts(file),
        names=_names(file),
    )


def _pooling(file: File) -> Literal["mean", "cls"]:
    stated: Any = file.settings.get(f"{ARCHITECTURE}.pooling_type")
    if stated not in POOLINGS:
        raise CheckpointError(
            f"{file.path}: {ARCHITECTURE}.pooling_type is {stated!r:.60}, expected 1 (mean) or 2 (CLS); a file without "
            "one was converted from a folder without 1_Pooling, and its vectors are not those of its authors"
        )
    return POOLINGS[stated]


def _outputs(file: File) -> int | None:
    stated: Any = file.settings.get(f"{ARCHITECTURE}.pooling_type")
    if "cls.output.weight" not in file.tensors and stated != RANK:
        return None
    if stated not in (None, RANK):
        raise CheckpointError(
            f"{file.path} has a cross-encoder's head, and {ARCHITECTURE}.pooling_type is {stated!r:.60}; expected "
            f"{RANK} (rank), or none"
        )
    if "cls.output.weight" not in file.tensors:
        raise CheckpointError(
            f"{file.path}: {ARCHITECTURE}.pooling_type is {RANK} (rank), and tensor cls.output.weight, the last of its "
            "head, is missing"
        )
    if "cls.weight" not in file.tensors:
        raise CheckpointError(
            f"{file.path} has the last layer of a head, cls.output, without the one before it, cls: llama.cpp's "
            "converter drops the pooler of BERT cross-encoders, and scores without it are not their authors'. Use the "
            "original folder"
        )
    return _rows(file, "cls.output.weight")


def _rows(file: File, name: str) -> int:
    if name not in file.tensors:
        raise CheckpointError(f"{file.path}: tensor {name} is missing")
    shape = file.tensors[name].shape
    return shape[0] if len(shape) > 1 else 1


def _limit(file: File, positions: int) -> int:
    key = f"{ARCHITECTURE}.context_length"
    limit = file.settings.get(key, positions)
    if type(limit) is not int or limit < 1:
        raise CheckpointError(f"{file.path}: {key} is {limit!r:.60}, expected a number of tokens")
    return limit


def _prompts(file: File) -> Mapping[str, str]:
    written = file.settings.get(PROMPTS, "{}")
    try:
        prompts = json.loads(written)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.path}: {PROMPTS} is {written!r:.60}, expected a JSON object") from error
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(f"{file.path}: {PROMPTS} is {written!r:.60}, expected an object of names and texts")
    return prompts


def _names(file: File) -> tuple[str, ...]:
    named = file.settings.get("general.name")
    title = [re.sub(r"\s+", "-", named.strip()).lower()] if isinstance(named, str) else []
    return (*title, _TYPE_IN_NAME.sub("", file.path.stem))
