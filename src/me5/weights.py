"""safetensors and GGUF files -> named arrays, strictly: the one table of other people's tensor names, and their bytes.

Files are mapped, not read: an array is a view of the file until it is converted, and `release` gives the pages back,
so that loading never holds more than one matrix beside what the engine keeps.
"""

import copy
import json
import math
import mmap
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from me5.checkpoint import ModelConfig, is_gguf
from me5.errors import CheckpointError
from me5.gguf import header
from me5.gguf.blocks import dequantize
from me5.vectors import Float32

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
# The same of a cross-encoder's head, by the body.
_HEAD_PARTS = {
    "xlm-roberta": {"head.dense": "classifier.dense", "head.logits": "classifier.out_proj"},
    "bert": {"head.dense": "pooler.dense", "head.logits": "classifier"},
}
_PREFIXES = ("roberta.", "bert.", "model.", "")
# The same in GGUF files.
_GGUF_TABLES = {
    "words": "token_embd",
    "positions": "position_embd",
    "types": "token_types",
    "embedding_norm": "token_embd_norm",
}
_GGUF_LAYER_PARTS = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "attention_output": "attn_output",
    "attention_norm": "attn_output_norm",
    "feedforward_in": "ffn_up",
    "feedforward_out": "ffn_down",
    "feedforward_norm": "layer_output_norm",
}
_GGUF_HEAD_PARTS = {"dense": "cls", "logits": "cls.output"}
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
    if config.head is not None:
        rows = {"head.dense": hidden, "head.logits": config.head.outputs}
        for name, file_name in _HEAD_PARTS[config.body].items():
            table[f"{name}.weight"] = (f"{file_name}.weight", (rows[name], hidden))
            table[f"{name}.bias"] = (f"{file_name}.bias", (rows[name],))
    return table


def file_names(config: ModelConfig) -> dict[str, str]:
    """The name of every tensor in published files, as transformers writes them, by our name.

    An encoder alone has its names bare; one with a head has them behind the name of its body.
    """
    prefix = "" if config.head is None else "roberta." if config.body == "xlm-roberta" else "bert."
    outside = {"classifier"} if prefix else set()
    table = tensor_table(config)
    return {
        ours: theirs if theirs.partition(".")[0] in outside else prefix + theirs for ours, (theirs, _) in table.items()
    }


def gguf_table(config: ModelConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """`tensor_table` with the names of GGUF files."""
    table: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, (_, shape) in tensor_table(config).items():
        *layer, part, kind = name.split(".") if "." in name else (name, "weight")
        if layer == ["head"]:
            table[name] = f"{_GGUF_HEAD_PARTS[part]}.{kind}", shape
        elif layer:
            table[name] = f"blk.{layer[1]}.{_GGUF_LAYER_PARTS[part]}.{kind}", shape
        else:
            table[name] = f"{_GGUF_TABLES[part]}.{kind}", shape
    return table


@dataclass(frozen=True)
class _Stored:
    """Where a tensor lies: its file's map, first byte, dtype as safetensors or GGML writes it, bytes, shape."""

    file: mmap.mmap | bytes
    start: int
    dtype: str
    size: int
    shape: tuple[int, ...]

    def array(self) -> npt.NDArray[Any]:
        """A view of the file: of numbers, or of blocks of numbers the bytes, (..., bytes of a row)."""
        if (dtype := _DTYPES.get(self.dtype)) is not None:
            return np.frombuffer(self.file, dtype, math.prod(self.shape), self.start).reshape(self.shape)
        return np.frombuffer(self.file, np.uint8, self.size, self.start).reshape(*self.shape[:-1], -1)


class Weights:
    """The tensors of one checkpoint, by our names.

    Raises `CheckpointError` on opening when a tensor is missing, surplus, misshapen or of an unusable dtype; the text
    names it.
    """

    def __init__(self, files: Sequence[Path], config: ModelConfig) -> None:
        found: dict[str, _Stored] = {}
        for path in files:
            for name, stored in _read_gguf(path) if is_gguf(path) else _read_header(path):
                if name in found:
                    raise CheckpointError(f"{path}: tensor {name} occurs in two shards")
                found[name] = stored
        self._tensors = _match(found, config, files[0])
        self.file_bytes = sum(stored.size for stored in self._tensors.values())
        self.parameters = sum(math.prod(stored.shape) for stored in self._tensors.values())
        self.dtypes = sorted({stored.dtype for stored in self._tensors.values()})

    def select(self, name: str, rows: npt.NDArray[np.int64]) -> "Weights":
        """These weights with some rows of one table alone, in the given order, exactly as stored."""
        chosen = copy.copy(self)
        stored = self._tensors[name]
        content = np.ascontiguousarray(stored.array()[rows]).tobytes()
        table = _Stored(content, 0, stored.dtype, len(content), (len(rows), *stored.shape[1:]))
        chosen._tensors = {**self._tensors, name: table}
        return chosen

    def dtype(self, name: str) -> str:
        """As stored: `F32`, `F16`, `BF16`, or a type of GGML's in blocks, such as `Q8_0`."""
        return self._tensors[name].dtype

    def size(self, name: str) -> int:
        """Bytes, as stored."""
        return self._tensors[name].size

    def stored(self, name: str) -> npt.NDArray[Any]:
        """A view of the file: the numbers (of BF16 their bits), or of types in blocks the bytes of every row."""
        return self._tensors[name].array()

    def float32(self, name: str) -> Float32:
        """The tensor as float32: a view of the file where it is stored so, a copy otherwise."""
        return _to_float32(self.stored(name), self.dtype(name))

    def bfloat16(self, name: str) -> npt.NDArray[np.uint16]:
        """The bits of the tensor as bfloat16, rounded to nearest even (as IEEE 754 conversions are)."""
        if self.dtype(name) == "BF16":
            return self.stored(name).astype(np.uint16)
        bits = np.ascontiguousarray(self.float32(name)).view(np.uint32)
        rounded = bits >> 16  # in place from here on: a third of the time
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits
        rounded >>= 16
        return rounded.astype(np.uint16)

    def rows(self, name: str, index: npt.NDArray[np.int64]) -> Float32:
        """Some rows of a table, float32, shape `index.shape + (width,)`; only their pages are read."""
        return _to_float32(self.stored(name)[index], self.dtype(name))

    def release(self, name: str) -> None:
        """Give the pages of a tensor back to the system; they are read again if it is used again."""
        stored = self._tensors[name]
        first = stored.start // mmap.PAGESIZE * mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED") and isinstance(stored.file, mmap.mmap):
            stored.file.madvise(mmap.MADV_DONTNEED, first, stored.start + stored.size - first)


def save_safetensors(
    tensors: Mapping[str, Any], path: Path, save: Callable[[dict[str, Any], Path, dict[str, str]], None] = save_file
) -> None:
    """Write tensors under their names; `save` is that of the library they are of. Raises `OSError` for a full disk."""
    try:
        save(dict(tensors), path, {"format": "pt"})
    except SafetensorError as error:  # how it says that the disk is full
        raise OSError(str(error)) from error
    path.chmod(0o644)  # safetensors lets none but the owner read


def _to_float32(array: npt.NDArray[Any], dtype: str) -> Float32:
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if dtype in _DTYPES:
        return array.astype(np.float32, copy=False)
    return dequantize(array, dtype)


def _read_header(path: Path) -> Iterator[tuple[str, _Stored]]:
    """Every tensor of a file. safetensors checks the header; the offsets, which it keeps to itself, are read again."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        # A private writable map: OpenVINO shares memory only with writable arrays, and nothing is ever written.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield name, _Stored(mapped, 8 + length + start, entry["dtype"], end - start, tuple(entry["shape"]))


def _read_gguf(path: Path) -> Iterator[tuple[str, _Stored]]:
    """Every tensor of a GGUF file."""
    file = header.read(path)
    for name, tensor in file.tensors.items():
        yield (
            name,
            _Stored(
                file.mapped, tensor.start, tensor.type, header.stored_bytes(tensor.type, tensor.shape), tensor.shape
            ),
        )


def _match(found: dict[str, _Stored], config: ModelConfig, file: Path) -> dict[str, _Stored]:
    """The tensors under our names; whatever does not match is refused by name."""
    single = is_gguf(file)
    folder, says = (file, "its settings say") if single else (file.parent, "config.json says")
    table = gguf_table(config) if single else tensor_table(config)
    prefix = next((p for p in _PREFIXES if f"{p}{table['words'][0]}" in found), "")
    left = {name.removeprefix(prefix): stored for name, stored in found.items()}
    tensors: dict[str, _Stored] = {}
    missing = [prefix + theirs for theirs, _ in table.values() if theirs not in left]
    if missing:
        raise CheckpointError(f"{folder}: {_names(missing)} missing from the weights")
    for ours, (theirs, shape) in table.items():
        stored = left.pop(theirs)
        if single and (1, *stored.shape) == shape:  # GGML drops the count of rows where it is 1
            stored = replace(stored, shape=shape)
        if stored.shape != shape:
            raise CheckpointError(f"{folder}: tensor {prefix}{theirs} has shape {stored.shape}, {says} {shape}")
        if stored.dtype not in _DTYPES and not single:
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
