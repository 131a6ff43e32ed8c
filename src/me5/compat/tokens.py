"""Token ids, and the states of single tokens, in the dictionaries of sentence-transformers; its tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from me5.checkpoint import is_gguf
from me5.compat.tensors import padded, tensor, tensors
from me5.embedder import Embedder
from me5.engine.base import TokenIds, pool
from me5.errors import MissingExtraError
from me5.layout import write_tokenizer
from me5.vectors import Float32


def features(embedder: Embedder, texts: list[str], device: str) -> list[dict[str, Any]]:
    """All there is of each text: token ids, mask, the states of its tokens, its vector."""
    prepared = embedder.prepare(texts, "both", truncation="end")
    rows = prepared.sequences
    states: list[Float32] = [np.empty(0, np.float32)] * len(rows)
    for batch in embedder.engine.plan([len(row) for row in rows]):
        for at, found in zip(batch, embedder.engine.states([rows[at] for at in batch]), strict=True):
            states[at] = found
    pooling = embedder.checkpoint.config.pooling
    start = np.zeros(1, np.int64)
    return [
        {
            **{name: value[0] for name, value in features_of_rows(embedder, [row]).items()},
            "token_embeddings": tensor(state, device),
            "sentence_embedding": tensor(pool(state, start, np.array([len(row)]), pooling)[0], device),
        }
        for row, state in zip(rows, states, strict=True)
    ]


def features_of_rows(embedder: Embedder, rows: Sequence[TokenIds]) -> dict[str, Any]:
    """Token ids and mask of sequences, padded; BERT has types of tokens as well, all 0."""
    fill = max(embedder.checkpoint.config.first_position - 1, 0)  # where XLM-RoBERTa's positions begin
    mask = padded([np.ones(len(row), np.int64) for row in rows], 0)
    table = {"input_ids": padded(rows, fill), "attention_mask": mask}
    if embedder.checkpoint.config.body == "bert":
        table["token_type_ids"] = np.zeros_like(mask)
    return tensors(table)


def tokenizer_of(embedder: Embedder) -> Any:
    """The tokenizer as transformers reads it. Raises `MissingExtraError` where transformers is not installed."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("the tokenizer of a model is transformers': pip install transformers") from error
    checkpoint = embedder.checkpoint
    if not is_gguf(checkpoint.path):
        return AutoTokenizer.from_pretrained(str(checkpoint.path))
    with TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), checkpoint.tokenizer, embedder.max_seq_length)
        return AutoTokenizer.from_pretrained(folder)
