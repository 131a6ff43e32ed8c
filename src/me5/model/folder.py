"""A checkpoint folder -> an encoder, and back: the published layout, which every other reader takes as well."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from me5.checkpoint import Checkpoint
from me5.files.atomic import new_folder
from me5.layout import write_layout
from me5.model.encoder import Encoder, Linear
from me5.prompts import Prompts
from me5.weights import Weights, file_names, save_safetensors

Dtype = Literal["float32", "float16", "bfloat16"]
_STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load(checkpoint: Checkpoint, device: torch.device | str = "cpu", matrices: torch.dtype = torch.float32) -> Encoder:
    """The encoder of a checkpoint, in training mode. Its matrices and their biases have the given type.

    Norms, positions and types are float32; so is the word table beside float32 matrices, else it stays as stored.
    """
    weights = Weights(checkpoint.weights, checkpoint.config)
    with torch.device("meta"):  # shapes without memory
        encoder = Encoder(checkpoint.config)
    if matrices != torch.float32:
        for module in encoder.modules():
            if isinstance(module, Linear):
                module.to(matrices)
        encoder.words.to(_STORED[weights.dtype("words")])
    encoder.to_empty(device=device)
    with torch.no_grad():
        for name, slot in slots(encoder).items():
            slot.copy_(torch.from_numpy(weights.float32(name)))
            weights.release(name)
    return encoder


def save(
    encoder: nn.Module,
    folder: Path,
    *,
    tokenizer: Path,
    prompts: Prompts | None,
    matryoshka: Sequence[int] = (),
    dtype: Dtype = "float32",
    overwrite: bool = False,
) -> None:
    """Write an encoder as a complete folder of the published layout, all or nothing.

    `tokenizer` is a tokenizer.json, its two small configs beside it. `matryoshka` are the dimensions that the
    vectors were trained for. Raises `InputError` where the folder exists and may not be overwritten.
    """
    if not isinstance(encoder, Encoder):
        raise TypeError(f"expected an Encoder, got {type(encoder).__name__}; merge adapters into it first")
    with new_folder(folder, overwrite=overwrite) as partial:
        shorter = tuple(dim for dim in sorted(matryoshka) if dim < encoder.config.hidden_size)
        write_layout(partial, replace(encoder.config, matryoshka=shorter), tokenizer, prompts, dtype)
        names = file_names(encoder.config)
        kind = getattr(torch, dtype)
        tensors = {names[name]: slot.to("cpu", kind, copy=True) for name, slot in slots(encoder).items()}
        save_safetensors(tensors, partial / "model.safetensors", save_file)


def slots(encoder: Encoder) -> dict[str, Tensor]:
    """Where every tensor of the table in `weights` lies in the encoder: views, by our names."""
    found: dict[str, Tensor] = {}
    for name, parameter in encoder.named_parameters():
        module, _, kind = name.rpartition(".")
        if module.endswith(".qkv"):
            parts = zip(("query", "key", "value"), parameter.detach().chunk(3), strict=True)
            found |= {f"{module.removesuffix('qkv')}{part}.{kind}": view for part, view in parts}
        else:
            # The tables of embeddings have no second tensor beside `weight`, so their name is enough.
            found[module if module in ("words", "positions", "types") else name] = parameter.detach()
    return found
