"""Vectors of one folder by everything that computes them: me5's engines, transformers, sentence-transformers."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from me5 import Embedder, EngineError
from me5.checkpoint import resolve
from me5.engine import openvino
from me5.engine.fake import FakeEngine
from me5.engine.reference import ReferenceEngine
from me5.prompts import NONE

FAST_ENGINES = ("f32", "bf16", "int8")
ENGINES = (*FAST_ENGINES, "torch", "reference", "fake")

# How far two float32 computations of a unit vector may differ whose sums run in another order, by number. A sum of n
# products in float32 has an error of about sqrt(n) x 2^-24 of its size (Higham, "Accuracy and Stability of Numerical
# Algorithms", 4.2): 2^-19 for the 1,024 to 1,536 products of a feed-forward layer, which the norms of up to six layers
# of two such sums each do not let grow faster than they add. Numbers of a unit vector are below 1: 12 x 2^-19 = 2.3e-5.
ROUNDING = 2.5e-5


def load(folder: Path | None, engine: str = "f32", **options: Any) -> Embedder:
    """An Embedder by one of `ENGINES`, without prompts; skips where the CPU has no bfloat16."""
    options.setdefault("prompts", NONE)
    if engine in ("reference", "fake"):
        checkpoint = resolve(folder)
        made = ReferenceEngine(checkpoint) if engine == "reference" else FakeEngine(checkpoint.config.hidden_size)
        return Embedder(checkpoint, made, **options)
    if engine == "torch":
        return Embedder.load(folder, device="torch-cpu", **options)
    try:
        return Embedder.load(folder, precision=engine, **options)
    except EngineError as error:
        if "no bfloat16 in hardware" in str(error) or "ONEDNN_MAX_CPU_ISA" in str(error):
            pytest.skip(str(error))
        raise


def available() -> list[str]:
    """The precisions that this CPU has."""
    found = []
    for precision in FAST_ENGINES:
        with contextlib.suppress(EngineError):
            found.append(openvino.available(precision))
    return found


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of `a` with the same row of `b`, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def by_transformers(folder: Path, texts: Sequence[str], max_length: int = 512) -> np.ndarray:
    """The definition: encoder with attention mask, masked mean, unit length."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None].to(hidden.dtype)
    vectors = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(vectors, dim=1).numpy()


def sentence_transformer(folder: Path) -> Any:
    """sentence-transformers' model of a folder, in float32."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"}, local_files_only=True)
