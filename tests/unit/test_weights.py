"""Tensors are read strictly, by the names of the published files, in each of their three dtypes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import XLMR, change_weights, edit_json, save_weights
from safetensors.torch import load_file

from me5 import CheckpointError
from me5.checkpoint import read_folder
from me5.weights import Weights, tensor_table

WORDS = "embeddings.word_embeddings.weight"
INNER = "encoder.layer.1.intermediate.dense.weight"


def open_weights(folder: Path) -> Weights:
    checkpoint = read_folder(folder)
    return Weights(checkpoint.weights, checkpoint.config)


def test_the_table_names_every_tensor_of_the_models_of_transformers(tiny: Path) -> None:
    """Nothing is left unread but the pooler, which sentence vectors do not use."""
    published = load_file(tiny / "model.safetensors")
    table = tensor_table(read_folder(tiny).config)
    assert {name: tuple(tensor.shape) for name, tensor in published.items()} == dict(table.values())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_equal_those_that_torch_reads(xlmr: Path, copy_of, dtype: str) -> None:
    folder = copy_of(xlmr)
    wide = {name: tensor * 3 for name, tensor in load_file(folder / "model.safetensors").items()}
    stored = {name: tensor.to(getattr(torch, dtype)) for name, tensor in wide.items()}
    save_weights(folder, stored)
    weights = open_weights(folder)
    assert weights.file_bytes == sum(tensor.nbytes for tensor in stored.values())
    for ours, (theirs, _) in tensor_table(read_folder(folder).config).items():
        assert weights.dtype(ours) == {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
        np.testing.assert_array_equal(weights.float32(ours), stored[theirs].float().numpy())
        expected_bits = stored[theirs].to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
        np.testing.assert_array_equal(weights.bfloat16(ours), expected_bits)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rows_of_a_table(xlmr: Path, copy_of, dtype: str) -> None:
    folder = copy_of(xlmr)
    stored = {
        name: tensor.to(getattr(torch, dtype)) for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_weights(folder, stored)
    index = np.array([[5, 0, 5], [9, 9, 1]])
    rows = open_weights(folder).rows("words", index)
    assert (rows.shape, rows.dtype) == ((2, 3, 64), np.float32)
    np.testing.assert_array_equal(rows, stored[WORDS].float().numpy()[index])


def test_bfloat16_rounds_to_nearest_even(xlmr: Path, copy_of) -> None:
    folder = copy_of(xlmr)
    odd = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8), 3.4e38, 1e-40, 0.0, -0.0] * 8)

    def change(tensors: dict) -> None:
        tensors["embeddings.LayerNorm.bias"] = odd

    change_weights(folder, change)
    expected = odd.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(open_weights(folder).bfloat16("embedding_norm.bias"), expected)


def test_released_pages_are_read_again(xlmr: Path) -> None:
    weights = open_weights(xlmr)
    before = weights.float32("words").copy()
    for name in tensor_table(read_folder(xlmr).config):
        weights.release(name)
    np.testing.assert_array_equal(weights.float32("words"), before)


def missing(tensors: dict) -> None:
    del tensors[INNER]


def several_missing(tensors: dict) -> None:
    for name in [name for name in tensors if "layer.1." in name]:
        del tensors[name]


def surplus(tensors: dict) -> None:
    tensors["encoder.layer.2.output.dense.bias"] = torch.zeros(64)


def head(tensors: dict) -> None:
    tensors["classifier.dense.weight"] = torch.zeros(64, 64)


def misshapen(tensors: dict) -> None:
    tensors[INNER] = tensors[INNER].T.contiguous()


def too_few_rows(tensors: dict) -> None:
    tensors[WORDS] = tensors[WORDS][:-1].contiguous()


def double(tensors: dict) -> None:
    tensors[INNER] = tensors[INNER].double()


def integers(tensors: dict) -> None:
    tensors[WORDS] = tensors[WORDS].to(torch.int8)


REFUSALS = {
    "missing": (missing, f"tensor {INNER} is missing from the weights"),
    "several missing": (several_missing, "tensors encoder.layer.1.*, .*, .* and 13 more are missing"),
    "surplus": (surplus, "tensor encoder.layer.2.output.dense.bias is in the weights but not part of a xlm-roberta"),
    "a head": (head, "tensor classifier.dense.weight is in the weights but not part"),
    "misshapen": (misshapen, rf"tensor {INNER} has shape \(64, 96\), config.json says \(96, 64\)"),
    "too few rows": (too_few_rows, rf"tensor {WORDS} has shape .*, config.json says"),
    "float64": (double, f"tensor {INNER} is F64; expected F32, F16, BF16"),
    "int8": (integers, f"tensor {WORDS} is I8; expected F32, F16, BF16"),
}


@pytest.mark.parametrize(("change", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_name_the_tensor(xlmr: Path, copy_of, change, message: str) -> None:
    folder = copy_of(xlmr)
    change_weights(folder, change)
    with pytest.raises(CheckpointError, match=message):
        open_weights(folder)


def test_a_missing_tensor_is_named_as_its_file_would(build_folder, copy_of) -> None:
    folder = copy_of(build_folder(XLMR))

    def prefixed(tensors: dict) -> None:
        del tensors[INNER]
        for name in list(tensors):
            tensors[f"roberta.{name}"] = tensors.pop(name)

    change_weights(folder, prefixed)
    with pytest.raises(CheckpointError, match=f"tensor roberta.{INNER} is missing"):
        open_weights(folder)


@pytest.mark.parametrize("layers", [1, 3])
def test_another_number_of_layers_is_refused(xlmr: Path, copy_of, layers: int) -> None:
    folder = copy_of(xlmr)
    edit_json(folder / "config.json", num_hidden_layers=layers)
    with pytest.raises(CheckpointError, match=r"encoder.layer.(1|2)\."):
        open_weights(folder)


def test_a_tensor_in_two_shards_is_refused(xlmr: Path, copy_of) -> None:
    folder = copy_of(xlmr)
    checkpoint = read_folder(folder)
    other = shutil.copy(folder / "model.safetensors", folder / "again.safetensors")
    with pytest.raises(CheckpointError, match=r"again.safetensors: tensor .* occurs in two shards"):
        Weights([*checkpoint.weights, Path(other)], checkpoint.config)


def cut(content: bytes) -> bytes:
    return content[:-1000]


def damage_header(content: bytes) -> bytes:
    return content[:8] + b"!" + content[9:]


def replace_by_text(content: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\n"


def empty(content: bytes) -> bytes:
    return b""


def lie_about_length(content: bytes) -> bytes:
    return b"\xff" * 8 + content[8:]


@pytest.mark.parametrize("damage", [cut, damage_header, replace_by_text, empty, lie_about_length])
def test_a_damaged_file_is_refused(xlmr: Path, copy_of, damage) -> None:
    path = copy_of(xlmr) / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model.safetensors is not a readable safetensors file"):
        open_weights(path.parent)
