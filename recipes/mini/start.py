"""The start of the encoder: the teacher's layers under a new word table.

A piece that is an English word of the teacher keeps its word vector. Any other gets a mean of the word vectors of those
English pieces that the static model has nearest to it (as WECHSEL does: Minixhofer, Paischer, Rekabsaz 2022).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from tokenizers import Tokenizer

from me5.checkpoint import resolve
from me5.data.dataset import Dataset
from me5.model.encoder import Encoder
from me5.model.folder import load, save
from me5.prompts import INSTRUCT
from me5.tokenizer import Tokenizer as Me5Tokenizer
from me5.training.tokens import TokenStore, open_store

NEIGHBOURS = 10
SHARPNESS = 0.1
FIRST_POSITION = 2
SPECIAL = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"}


def english_share(store: TokenStore, size: int) -> np.ndarray:
    """Return how much of a piece's use is English, (size,): queries are English, documents are not."""
    counts = []
    for texts in (np.unique(store.queries[:, 0]), np.unique(store.pairs[:, 1])):
        count = np.zeros(size, np.int64)
        for block in np.array_split(texts, max(len(texts) // 50_000, 1)):
            count += np.bincount(np.concatenate([store.text(int(t), 512) for t in block]), minlength=size)
        counts.append(count)
    return counts[0] / np.maximum(counts[0] + counts[1], 1)


def word_table(pieces: dict[str, int], static: torch.Tensor, teacher: dict[str, int], words: torch.Tensor,
               english: np.ndarray) -> tuple[torch.Tensor, int]:  # fmt: skip
    """Return the new word table and the number of pieces that were taken over."""
    table = torch.zeros(len(static), words.shape[1])
    taken = torch.zeros(len(static), dtype=torch.bool)
    for piece, number in pieces.items():
        word = piece.removeprefix("▁")
        same = SPECIAL.get(piece) or (word if piece.startswith("▁") or not word.isalpha() else f"##{word}")
        ours = piece in SPECIAL or not word.isalpha() or english[number] > 0.4
        if same in teacher and ours:
            table[number] = words[teacher[same]]
            taken[number] = True
    vectors = F.normalize(static - static[4:].mean(0), dim=1)
    anchors = taken.nonzero()[:, 0]
    anchors = anchors[anchors >= len(SPECIAL) - 1]
    lengths = words[100:].norm(dim=1).mean()
    for start in range(0, len(static), 2048):
        cosines, nearest = (vectors[start : start + 2048] @ vectors[anchors].T).topk(NEIGHBOURS)
        weights = (cosines / SHARPNESS).softmax(1)
        mixed = (weights.unsqueeze(2) * table[anchors[nearest]]).sum(1)
        mixed = F.normalize(mixed, dim=1) * lengths
        here = ~taken[start : start + 2048]
        table[start : start + 2048][here] = mixed[here]
    return table, int(taken.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("teacher", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    file = arguments.run / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    teacher = resolve(arguments.teacher)
    trained = load(teacher)
    config = replace(
        teacher.config, body="xlm-roberta", vocab_size=tokenizer.get_vocab_size(), max_tokens=512, type_vocab_size=1,
        max_positions=512 + FIRST_POSITION, first_position=FIRST_POSITION, hidden_dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    store = open_store(
        Dataset.open(arguments.run / "taught"),
        file,
        Me5Tokenizer(file, 512),
        arguments.run / "cache",
        advance=lambda texts, tokens: None,  # noqa: ARG005
    )
    static = load_file(arguments.run / "static.safetensors")["words"]
    table, taken = word_table(
        tokenizer.get_vocab(), static, Tokenizer.from_file(str(teacher.tokenizer)).get_vocab(),
        trained.words.weight.detach(), english_share(store, config.vocab_size),
    )  # fmt: skip
    encoder = Encoder(config)
    with torch.no_grad():
        encoder.words.weight.copy_(table)
        encoder.positions.weight[FIRST_POSITION:].copy_(trained.positions.weight)
        encoder.types.weight.copy_(trained.types.weight[:1])
        encoder.embedding_norm.load_state_dict(trained.embedding_norm.state_dict())
        encoder.layers.load_state_dict(trained.layers.state_dict())
    save(encoder, arguments.run / "start", tokenizer=file, prompts=INSTRUCT, overwrite=True)
    print(f"{taken:,} of {len(table):,} pieces are the teacher's own")


if __name__ == "__main__":
    main()
