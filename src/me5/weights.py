"""safetensors files -> named arrays, strictly: the one table of other people's tensor names, and their bytes.

Files are mapped, not read: an array is a view of the file until it is converted, and `release` gives the pages back,
so that loading never holds more than one matrix beside what the engine keeps.
"""

import json
import math
import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from me5.checkpoint import ModelConfig
from me5.errors import CheckpointError

Float32 = npt.NDArray[np.float32]

# The file's name of each part of a layer, by ours. XLM-RoBERTa and BERT share them.
_LAYER_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feedforward_in": "intermediate.dense",
    "feedforward_out": "output.dense",
    "feedforward_norm": "output.LayerNorm",
}
_PREFIXES = ("roberta.", "bert.", "model.", "")
# Tensors that files carry and that no sentence vector needs: the classification pooler, and index buffers that old
# versions of transformers saved.
_UNUSED = {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids", "embeddings.token_type_ids"}
# Heads for guessing masked words: xlm-roberta-large and its kin carry one, and training starts from them.
_HEADS = ("lm_head.", "cls.")
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def tensor_table(config: ModelConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name of every tensor -> (its name in published files, without prefix; its shape)."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = {"feedforward_in": (inner, hidden), "feedforward_out": (hidden, inner)}
    table: dict[str, tuple[str, tuple[int, ...]]] = {
        "words": ("embeddings.word_embeddings.weight", (config.vocab_size, hidden)),
        "positions": ("embeddings.position_embeddings.weight", (config.max_positions, hidden)),
        "types": ("embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden)),
        "embedding_norm.weight": ("embeddings.LayerNorm.weight", (hidden,)),
        "embedding_norm.bias": ("embeddings.LayerNorm.bias", (hidden,)),
    }
    for layer in range(config.layers):
        for ours, theirs in _LAYER_PARTS.items():
            matrix = shapes.get(ours, (hidden, hidden))
            name, file_name = f"layers.{layer}.{ours}", f"encoder.layer.{layer}.{theirs}"
            table[f"{name}.weight"] = (f"{file_name}.weight", (hidden,) if ours.endswith("norm") else matrix)
            table[f"{name}.bias"] = (f"{file_name}.bias", matrix[:1])
    return table


@dataclass(frozen=True)
class _Stored:
    """Where a tensor lies: its file's map, first byte, dtype as safetensors writes it, shape."""

    file: mmap.mmap
    start: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize


class Weights:
    """The tensors of one checkpoint, by our names.

    Raises `CheckpointError` on opening when a tensor is missing, surplus, misshapen or of an unusable dtype; the text
    names it.
    """

    def __init__(self, files: Sequence[Path], config: ModelConfig) -> None:
        found: dict[str, _Stored] = {}
        for path in files:
            for name, stored in _read_header(path):
                if name in found:
                    raise CheckpointError(f"{path}: tensor {name} occurs in two shards")
                found[name] = stored
        self._tensors = _match(found, config, files[0].parent)
        self.file_bytes = sum(stored.size for stored in self._tensors.values())
        self.parameters = sum(math.prod(stored.shape) for stored in self._tensors.values())
        self.dtypes = sorted({stored.dtype for stored in self._tensors.values()})

    def dtype(self, name: str) -> str:
        """`F32`, `F16` or `BF16`, as stored."""
        return self._tensors[name].dtype

    def size(self, name: str) -> int:
        """Bytes, as stored."""
        return self._tensors[name].size

    def float32(self, name: str) -> Float32:
        """The tensor as float32: a view of the file where it is stored so, a copy otherwise."""
        return _to_float32(self._stored_array(name), self.dtype(name))

    def bfloat16(self, name: str) -> npt.NDArray[np.uint16]:
        """The bits of the tensor as bfloat16, rounded to nearest even (as IEEE 754 conversions are)."""
        if self.dtype(name) == "BF16":
            return self._stored_array(name).astype(np.uint16)
        bits = np.ascontiguousarray(self.float32(name)).view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

    def rows(self, name: str, index: npt.NDArray[np.int64]) -> Float32:
        """Some rows of a table, float32, shape `index.shape + (width,)`; only their pages are read."""
        return _to_float32(self._stored_array(name)[index], self.dtype(name))

    def release(self, name: str) -> None:
        """Give the pages of a tensor back to the system; they are read again if it is used again."""
        stored = self._tensors[name]
        first = stored.start // mmap.PAGESIZE * mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED"):
            stored.file.madvise(mmap.MADV_DONTNEED, first, stored.start + stored.size - first)

    def _stored_array(self, name: str) -> npt.NDArray[Any]:
        stored = self._tensors[name]
        count = stored.size // _DTYPES[stored.dtype].itemsize
        flat: npt.NDArray[Any] = np.frombuffer(stored.file, _DTYPES[stored.dtype], count, stored.start)
        return flat.reshape(stored.shape)


def _to_float32(array: npt.NDArray[Any], dtype: str) -> Float32:
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


def _read_header(path: Path) -> Iterator[tuple[str, _Stored]]:
    """Every tensor of a file. safetensors checks the header; the offsets, which it keeps to itself, are read again."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable safetensors file: {error}") from error
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        # A private writable map: OpenVINO shares memory only with writable arrays, and nothing is ever written.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, _Stored(mapped, 8 + length + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"]))


def _match(found: dict[str, _Stored], config: ModelConfig, folder: Path) -> dict[str, _Stored]:
    """The tensors under our names; whatever does not match is refused by name."""
    table = tensor_table(config)
    prefix = next((p for p in _PREFIXES if f"{p}{table['words'][0]}" in found), "")
    left = {name.removeprefix(prefix): stored for name, stored in found.items()}
    tensors: dict[str, _Stored] = {}
    missing = [prefix + theirs for theirs, _ in table.values() if theirs not in left]
    if missing:
        raise CheckpointError(f"{folder}: {_names(missing)} missing from the weights")
    for ours, (theirs, shape) in table.items():
        stored = left.pop(theirs)
        if stored.shape != shape:
            raise CheckpointError(
                f"{folder}: tensor {prefix}{theirs} has shape {stored.shape}, config.json says {shape}"
            )
        if stored.dtype not in _DTYPES:
            raise CheckpointError(f"{folder}: tensor {prefix}{theirs} is {stored.dtype}; expected {', '.join(_DTYPES)}")
        tensors[ours] = stored
    surplus = sorted(name for name in left if name not in _UNUSED and not name.startswith(_HEADS))
    if surplus:
        raise CheckpointError(
            f"{folder}: {_names(surplus)} in the weights but not part of a {config.body} encoder of {config.layers} "
            "layers; loading it without them could give other vectors than its authors'"
        )
    return tensors


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    if len(names) == 1:
        return f"tensor {shown} is"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensors {shown}{more} are"
