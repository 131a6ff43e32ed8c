"""A checkpoint -> a GGUF file that llama.cpp, Ollama and LM Studio load, in the terms of llama.cpp's own converter."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import gguf
import numpy as np
import numpy.typing as npt

from me5.checkpoint import Checkpoint, is_gguf
from me5.errors import InputError
from me5.files.atomic import replacing
from me5.gguf import blocks, header
from me5.gguf import tokenizer as tokenizers
from me5.gguf.network import ARCHITECTURE, POOLINGS, PROMPTS, RANK
from me5.progress import Advance
from me5.prompts import to_sentence_transformers
from me5.weights import Weights, gguf_table

Type = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
TYPES: tuple[Type, ...] = get_args(Type)
_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}


def write_gguf(
    checkpoint: Checkpoint, weights: Weights, path: Path, *, matrices: Type, words: Type, advance: Advance | None = None
) -> None:
    """Write a checkpoint with these weights as one GGUF file, whole or not at all.

    `matrices` is the type of the layers' matrices, `words` that of the word table; norms, biases, positions, types
    and a reranker's head are float32. `advance` is called with (1, 0) after each tensor. Raises `InputError` for rows
    that a type cannot divide into its blocks, and for a reranker that llama.cpp would compute otherwise;
    `CheckpointError` for a tokenizer that it would read otherwise.
    """
    config = checkpoint.config
    # Of XLM-RoBERTa's positions no token uses the first; llama.cpp counts from 0.
    table = gguf_table(replace(config, max_positions=config.max_positions - config.first_position))
    kinds = {name: _kind(name, shape, matrices, words) for name, (_, shape) in table.items()}
    spoken = _terms(checkpoint)
    with replacing(path) as file:
        writer = gguf.GGUFWriter(f"/dev/fd/{file.fileno()}", ARCHITECTURE)
        _describe(writer, checkpoint, matrices)
        for key, value in tokenizers.settings(spoken, config.vocab_size).items():
            _add(writer, key, value)
        for name, (theirs, shape) in table.items():
            size = header.stored_bytes(kinds[name].name, shape)
            writer.add_tensor_info(theirs, shape, np.dtype(np.float32), size, raw_dtype=kinds[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name in table:
            first = config.first_position if name == "positions" else 0
            writer.write_tensor_data(_stored(weights, name, kinds[name])[first:])
            weights.release(name)
            if advance is not None:
                advance(1, 0)
        writer.close()


def _kind(name: str, shape: tuple[int, ...], matrices: Type, words: Type) -> gguf.GGMLQuantizationType:
    if len(shape) == 1 or name in ("positions", "types") or name.startswith("head."):
        return gguf.GGMLQuantizationType.F32
    wanted = words if name == "words" else matrices
    kind = gguf.GGMLQuantizationType[wanted.upper()]
    if shape[-1] % (size := blocks.size_of(kind.name)[0]):
        raise InputError(
            f"rows of {shape[-1]} numbers ({name}) cannot be divided into the blocks of {size} of {wanted}; use f16"
        )
    return kind


def _terms(checkpoint: Checkpoint) -> tokenizers.Terms:
    path = checkpoint.tokenizer
    terms = tokenizers.read(header.read(path)) if is_gguf(path) else tokenizers.from_json(path)
    if checkpoint.config.lower_case:
        raise InputError(f"{checkpoint.name} lower-cases texts before it reads them, which GGUF cannot say")
    if checkpoint.config.types > 1 and terms.model == "bert":
        raise InputError(
            f"{checkpoint.name} reads the document of a pair as tokens of a second type, and llama.cpp gives every "
            "token the first type; export it to a folder"
        )
    return terms


def _describe(writer: gguf.GGUFWriter, checkpoint: Checkpoint, matrices: Type) -> None:
    """What the model is, under the keys that llama.cpp's converter uses."""
    config = checkpoint.config
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name((checkpoint.known.id if checkpoint.known is not None else checkpoint.name).rpartition("/")[2])
    if checkpoint.known is not None:
        writer.add_license(checkpoint.known.licence.lower())
    kind = ["feature-extraction", "sentence-similarity"] if config.head is None else ["text-ranking"]
    writer.add_tags(["sentence-transformers", *kind])
    writer.add_file_type(_FILE_TYPES[matrices])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.max_tokens)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.layers)
    writer.add_head_count(config.heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    pooling = next(number for number, name in POOLINGS.items() if name == config.pooling)
    writer.add_pooling_type(gguf.PoolingType(RANK if config.head is not None else pooling))
    writer.add_token_type_count(config.type_vocab_size)
    if checkpoint.prompts is not None:
        writer.add_string(PROMPTS, json.dumps(to_sentence_transformers(checkpoint.prompts), ensure_ascii=False))


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """A setting under the type that llama.cpp expects."""
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_array(key, value)


def _stored(weights: Weights, name: str, kind: gguf.GGMLQuantizationType) -> npt.NDArray[Any]:
    """A tensor as it is written: as it came where it has that type already, so that nothing is rounded twice."""
    if weights.dtype(name) == kind.name:
        return weights.stored(name)
    return gguf.quantize(weights.float32(name), kind)
