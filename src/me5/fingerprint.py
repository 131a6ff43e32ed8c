"""Fingerprints: what a checkpoint's files are, and all that decides the vector of a text.

Two of the same kind are equal exactly where vectors may be compared, reused or resumed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from me5.checkpoint import Checkpoint, is_gguf
from me5.prompts import Prompts

# Blocks of the weights that `of_checkpoint` reads: training of any kind changes nearly all of them.
_BLOCKS, _BLOCK = 64, 4096
# Raised when me5 itself computes other vectors from the same files and settings. int8 did once.
_COMPUTATION = 1
_COMPUTATION_AT = {"int8": 2}
# Vectors at the other precisions agree to a cosine of 0.9999, and may be compared with each other.
LOSSY = frozenset({"int8", "fp8"})
# Fields of `ModelConfig` that no vector depends on; the limit in tokens has an argument of its own, and a head has its
# weights in the files.
_NO_MATTER = frozenset({"hidden_dropout", "attention_dropout", "max_tokens", "matryoshka", "head"})


def comparable(one: str, other: str) -> bool:
    """Whether vectors of one model at two precisions may be compared."""
    return one == other or not {one, other} & LOSSY


def of_checkpoint(checkpoint: Checkpoint) -> str:
    """A quick fingerprint of a checkpoint's files: tokenizer, shape, pooling, and 64 blocks of each file of weights.

    Stores keep it, so its value for the same files must never change.
    """
    digest = hashlib.blake2b(digest_size=16)
    # By name and not the whole configuration: a later me5 may know more of it, and the store must still be its own.
    config = checkpoint.config
    shape = (config.body, config.layers, config.heads, config.hidden_size, config.pooling, config.lower_case)
    digest.update(json.dumps(shape).encode())
    digest.update(_tokenizer(checkpoint))
    for path in checkpoint.weights:
        _sample(path, digest)
    return digest.hexdigest()


def of_vectors(
    checkpoint: Checkpoint, *, precision: str, max_tokens: int, truncation: str, prompts: Prompts | None,
    task: str | None = None,
) -> str:  # fmt: skip
    """A fingerprint of everything that decides the vector of a text.

    `precision` is what the engine computes in, never `auto`. `prompts` None is for callers that record the prompt of
    each text themselves; `task` is the one that prompts get by default. Reads all files of the model: fine-tuning that
    changes only biases may miss every block that `of_checkpoint` looks at.
    """
    config = {name: value for name, value in asdict(checkpoint.config).items() if name not in _NO_MATTER}
    settings = {
        "computation": _COMPUTATION_AT.get(precision, _COMPUTATION),
        "config": config,
        "precision": precision,
        "max_tokens": max_tokens,
        "truncation": truncation,
        "prompts": prompts and {**vars(prompts), "named": dict(prompts.named)},
        "task": task,
    }
    digest = _of_settings(settings)
    for path in dict.fromkeys((checkpoint.tokenizer, *checkpoint.weights)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def of_network(settings: Mapping[str, Any], tensors: Iterable[tuple[str, Any]]) -> str:
    """A fingerprint of a model that another library holds in memory: its settings, and torch tensors by name."""
    digest = _of_settings(settings)
    for name, tensor in sorted(tensors, key=lambda named: named[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).data)
    return digest.hexdigest()[:32]


def _tokenizer(checkpoint: Checkpoint) -> bytes:
    """What says how texts become tokens: a tokenizer.json, or a GGUF file up to its tensors."""
    if not is_gguf(checkpoint.tokenizer):
        return checkpoint.tokenizer.read_bytes()
    from me5.gguf import header

    return header.read(checkpoint.tokenizer).head()


def _of_settings(settings: Mapping[str, Any]) -> "hashlib._Hash":
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())


def _sample(path: Path, digest: hashlib.blake2b) -> None:
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        for block in range(_BLOCKS):
            file.seek(block * max(size - _BLOCK, 0) // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
