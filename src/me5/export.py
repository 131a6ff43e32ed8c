"""A checkpoint in another form: a folder of the published layout, or one GGUF file."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from me5.checkpoint import Checkpoint, is_gguf
from me5.errors import InputError
from me5.files.atomic import check_file, check_free, new_folder
from me5.layout import write_layout
from me5.progress import Advance
from me5.weights import Weights, file_names, save_safetensors

# How a folder can store numbers, by the names of GGUF's types.
FOLDER_TYPES: Mapping[str, "np.dtype[np.floating]"] = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16)}
# Forms of a model that are files; a folder of such a name is a mistake. Names such as e5-v1.5 are none.
_FILES = re.compile(
    r"\.(onnx|safetensors|bin|pth?|ckpt|h5|pb|ot|xml|tflite|mlmodel|engine|pkl|joblib|np[yz]|ggml|model|json|txt|zip"
    r"|tar|t?gz)"
)


def export(
    checkpoint: Checkpoint,
    target: Path,
    *,
    matrices: str | None = None,
    words: str | None = None,
    weights: Weights | None = None,
    overwrite: bool = False,
    advance: Advance | None = None,
) -> None:
    """Write a checkpoint to `target`: a GGUF file where it ends in `.gguf`, else a folder of the published layout.

    `matrices` is the type of the numbers: `f32` (what a folder has unless told otherwise) or `f16`; in GGUF files also
    `bf16`, `q8_0` (unless told otherwise) or `q4_0`. `words` is that of the word table, in GGUF files only. `weights`
    are the checkpoint's own unless given (see `trimming`). `advance` is called with (1, 0) after each tensor. Raises
    `InputError` where the target exists, or cannot be written so.
    """
    check_target(target, overwrite=overwrite)
    weights = weights or Weights(checkpoint.weights, checkpoint.config)
    if is_gguf(target):
        _export_file(checkpoint, weights, target, matrices or "q8_0", words, advance)
    else:
        _export_folder(checkpoint, weights, target, matrices or "f32", words, advance, overwrite=overwrite)


def check_target(target: Path, *, overwrite: bool = False) -> None:
    """Raise `InputError`, before any work, where `export` could not write: it makes `.gguf` files, and folders."""
    if is_gguf(target):
        check_file(target, overwrite=overwrite)
        return
    if _FILES.fullmatch(target.suffix.lower()) and not target.is_dir():
        raise InputError(
            f"{target} has the name of a file, and me5 writes no {target.suffix}: expected a file that ends in .gguf, "
            "or a folder (with model.safetensors in it)"
        )
    check_free(target, overwrite=overwrite)


def _export_file(
    checkpoint: Checkpoint, weights: Weights, target: Path, matrices: str, words: str | None, advance: Advance | None
) -> None:
    # Imported here: it loads the gguf package, which folders do without.
    from me5.gguf.writing import TYPES, Type, write_gguf

    kinds: Mapping[str, Type] = {kind: kind for kind in TYPES}
    for name in (matrices, words or matrices):
        if name not in kinds:
            raise InputError(f"unknown type {name!r}; GGUF files are written with {', '.join(kinds)}")
    write_gguf(checkpoint, weights, target, matrices=kinds[matrices], words=kinds[words or matrices], advance=advance)


def _export_folder(
    checkpoint: Checkpoint,
    weights: Weights,
    target: Path,
    kind: str,
    words: str | None,
    advance: Advance | None,
    *,
    overwrite: bool,
) -> None:
    if kind not in FOLDER_TYPES or words not in (None, kind):
        raise InputError(
            f"a folder stores all numbers as {' or as '.join(FOLDER_TYPES)}, got {kind} and {words or kind} for the "
            "word table; other types need a file that ends in .gguf"
        )
    tensors = {}
    for name, theirs in file_names(checkpoint.config).items():
        tensors[theirs] = weights.float32(name).astype(FOLDER_TYPES[kind])
        weights.release(name)
        if advance is not None:
            advance(1, 0)
    with new_folder(target, overwrite=overwrite) as folder:
        write_layout(folder, checkpoint.config, checkpoint.tokenizer, checkpoint.prompts, FOLDER_TYPES[kind].name)
        save_safetensors(tensors, folder / "model.safetensors")
