"""The small XLM-R body, its start from static word vectors, and the contrastive loss."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from transformers import XLMRobertaConfig, XLMRobertaModel

DIMENSIONS = 384
LAYERS = 4
BOS, PAD, EOS = 0, 1, 2
FIRST_POSITION = PAD + 1
POSITIONS = 512


def configuration(vocabulary: int) -> XLMRobertaConfig:
    """Return the shape of the model: what fits into 25 MB beside 36,000 pieces."""
    return XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=DIMENSIONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * DIMENSIONS,
        hidden_act="gelu",
        max_position_embeddings=POSITIONS + FIRST_POSITION,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )


def new_body(vocabulary: int) -> XLMRobertaModel:
    """Make an encoder without pooler and with random weights."""
    return XLMRobertaModel(configuration(vocabulary), add_pooling_layer=False)


@torch.no_grad()
def warm_start(words: torch.Tensor, frequency: torch.Tensor, seed: int = 0) -> XLMRobertaModel:
    """Build an encoder that at first computes about the mean of the static word vectors.

    Layer norm would erase the length of the word vectors, which carries how much a word matters. A constant vector
    of twice their usual length, kept as the token type embedding, makes the norm nearly linear in them; the last
    bias takes the mean away again. Output projections start at zero, so that each layer starts as the identity.
    """
    torch.manual_seed(seed)
    model = new_body(len(words))
    share = frequency / frequency.sum()
    centred = words - share @ words
    scaled = centred / (share @ centred.norm(dim=1))
    scaled[[BOS, PAD, EOS]] = 0
    signs = torch.ones(DIMENSIONS)
    signs[torch.randperm(DIMENSIONS)[: DIMENSIONS // 2]] = -1
    embeddings = model.embeddings
    embeddings.word_embeddings.weight.copy_(scaled)
    embeddings.position_embeddings.weight.zero_()
    embeddings.token_type_embeddings.weight.copy_(2 * signs[None] / DIMENSIONS**0.5)
    for layer in model.encoder.layer:
        for linear in (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value):
            torch.nn.init.normal_(linear.weight, std=0.04)
        torch.nn.init.normal_(layer.intermediate.dense.weight, std=0.04)
        layer.attention.output.dense.weight.zero_()
        layer.output.dense.weight.zero_()
    start = F.layer_norm(scaled + embeddings.token_type_embeddings.weight, (DIMENSIONS,))
    model.encoder.layer[-1].output.LayerNorm.bias.copy_(-(share @ start))
    return model


def pad_batch(texts: list[np.ndarray], limit: int) -> torch.Tensor:
    """Put <s> and </s> around token ids, cut to `limit` with both, and pad to the longest."""
    width = min(max(len(text) for text in texts) + 2, limit)
    batch = np.full((len(texts), width), PAD, dtype=np.int64)
    for row, text in zip(batch, texts, strict=True):
        cut = text[: width - 2]
        row[0] = BOS
        row[1 : len(cut) + 1] = cut
        row[len(cut) + 1] = EOS
    return torch.from_numpy(batch)


def embed(model: XLMRobertaModel, ids: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
    """Return unit vectors: mean over all tokens, prompt included. `shift` moves the positions of each row."""
    mask = ids != PAD
    positions = mask.cumsum(1) * mask + PAD
    if shift is not None:
        positions = positions + shift[:, None] * mask
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model(input_ids=ids, attention_mask=mask.long(), position_ids=positions).last_hidden_state
    weights = mask[:, :, None].float()
    return F.normalize((hidden.float() * weights).sum(1) / weights.sum(1), dim=1)


def info_nce(
    queries: torch.Tensor,
    positives: torch.Tensor,
    hashes: tuple[np.ndarray, np.ndarray],
    temperature: float,
    negatives: torch.Tensor | None = None,
    negative_hash: np.ndarray | None = None,
) -> torch.Tensor:
    """Return the InfoNCE loss in both directions; texts equal to the positive or the query are no negatives."""
    query_hash, positive_hash = (torch.from_numpy(h) for h in hashes)
    same = (query_hash[:, None] == query_hash) | (positive_hash[:, None] == positive_hash)
    same |= query_hash[:, None] == positive_hash
    same.fill_diagonal_(False)
    logits = (queries @ positives.T / temperature).masked_fill(same, -1e4)
    target = torch.arange(len(queries))
    backward = F.cross_entropy(logits.T, target)
    if negatives is not None and negative_hash is not None:
        equal = positive_hash[:, None] == torch.from_numpy(negative_hash)
        logits = torch.cat([logits, (queries @ negatives.T / temperature).masked_fill(equal, -1e4)], dim=1)
    return (F.cross_entropy(logits, target) + backward) / 2


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint beside its place and move it there, so that a crash leaves the older one whole."""
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


def log(path: Path, **entry: float | str) -> None:
    """Append one line to the JSONL log and print it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + os.linesep)
    print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in entry.items()), flush=True)
