"""GGUF files as llama.cpp's converter makes them: written by the gguf package, with its own names of tensors."""

import io
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece
from safetensors.numpy import load_file
from sentencepiece import sentencepiece_model_pb2


@lru_cache
def characters() -> bytes:
    """SentencePiece's own map of characters, of the rule that XLM-RoBERTa's tokenizer was trained with."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g"] * 3), model_writer=written, vocab_size=12, model_type="unigram",
        normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(written.getvalue())
    return bytes(model.normalizer_spec.precompiled_charsmap)


def convert(
    folder: Path,
    path: Path,
    *,
    kind: str = "F32",
    from_sentencepiece: bool = False,
    settings: Mapping[str, Any] | None = None,
    change: Callable[[dict[str, np.ndarray]], None] = lambda tensors: None,
) -> Path:
    """Write `path` from a folder. `kind` is the type of its matrices.

    `from_sentencepiece` is how files come out whose folder has a SentencePiece model: without a mask. `settings` are
    written besides or instead; None leaves one out. `change` may change the tensors, by their names in the file.
    """
    config = json.loads((folder / "config.json").read_text())
    described = folder / "1_Pooling" / "config.json"  # cross-encoders have none
    pooling = json.loads(described.read_text()) if described.exists() else None
    first = config["pad_token_id"] + 1 if config["model_type"] == "xlm-roberta" else 0
    written: dict[str, Any] = {
        "general.name": "Tiny Model",
        "bert.context_length": config["max_position_embeddings"] - first,
        "bert.embedding_length": config["hidden_size"],
        "bert.feed_forward_length": config["intermediate_size"],
        "bert.block_count": config["num_hidden_layers"],
        "bert.attention.head_count": config["num_attention_heads"],
        "bert.attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "bert.attention.causal": False,
        "bert.pooling_type": (1 if pooling["pooling_mode_mean_tokens"] else 2) if pooling else None,
        "tokenizer.ggml.token_type_count": config["type_vocab_size"],
        **_tokenizer(folder, config["vocab_size"], from_sentencepiece=from_sentencepiece),
        **(settings or {}),
    }
    writer = gguf.GGUFWriter(path, written.pop("general.architecture", "bert"))
    for key, value in written.items():
        _add(writer, key, value)
    tensors = _tensors(folder, config, first)
    change(tensors)
    for name, tensor in tensors.items():
        matrix = tensor.ndim == 2 and name not in ("position_embd.weight", "token_types.weight")
        stored = gguf.GGMLQuantizationType[kind if matrix else "F32"]
        writer.add_tensor(name, gguf.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, value)


def _tensors(folder: Path, config: Mapping[str, Any], first: int) -> dict[str, np.ndarray]:
    """Under the names that the gguf package's own table gives them."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        name = name.removeprefix("roberta.").removeprefix("bert.")
        if name.startswith("pooler."):
            continue
        if config["model_type"] == "bert" and name.startswith("classifier."):
            name = name.replace("classifier", "classifier.out_proj")
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert theirs is not None, name
        tensors[theirs] = tensor[first:] if theirs == "position_embd.weight" else tensor
    return tensors


def _tokenizer(folder: Path, rows: int, *, from_sentencepiece: bool) -> dict[str, Any]:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model, special = content["model"], {token["id"] for token in content["added_tokens"]}
    unigram = model["type"] == "Unigram"
    if unigram:
        pieces = [piece for piece, _ in model["vocab"]]
        kinds = [3 if at in special else 1 for at in range(len(pieces))]
        kinds[3] = 2
    else:
        names = sorted(model["vocab"], key=model["vocab"].get)
        pieces = [
            name if at in special else name[2:] if name.startswith("##") else f"▁{name}"
            for at, name in enumerate(names)
        ]
        kinds = [3 if at in special else 1 for at in range(len(pieces))]
    spare = [f"[PAD{at}]" for at in range(len(pieces), rows)]
    found: dict[str, Any] = {
        "tokenizer.ggml.model": "t5" if unigram else "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*pieces, *spare],
        "tokenizer.ggml.token_type": [*kinds, *[5] * len(spare)],
    }
    if not unigram:
        ids = {"padding": 0, "unknown": 1, "cls": 2, "seperator": 3, "mask": 4}
        return found | {f"tokenizer.ggml.{name}_token_id": at for name, at in ids.items()}
    mask = len(pieces) - 1
    if from_sentencepiece:
        found["tokenizer.ggml.tokens"][mask], found["tokenizer.ggml.token_type"][mask] = f"[PAD{mask}]", 5
    scores = [score for _, score in model["vocab"]] + [-10000.0] * len(spare)
    ids = {"bos": 0, "padding": 1, "eos": 2, "seperator": 2, "unknown": 3, "mask": mask}
    return found | {
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.precompiled_charsmap": characters(),
        **{f"tokenizer.ggml.{name}_token_id": at for name, at in ids.items()},
    }
