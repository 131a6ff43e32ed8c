"""Tiny models as GGUF files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import checkpoints
import converted
import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A copy of a folder whose tokenizer is as XLM-RoBERTa's own: SentencePiece's map of characters, float32 scores."""

    def copy(folder: Path) -> Path:
        made = tmp_path_factory.mktemp("mapped") / "tiny-model"
        shutil.copytree(folder, made)
        tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
        if tokenizer.model.__class__.__name__ == "Unigram":
            tokenizer.normalizer = normalizers.Precompiled(converted.characters())
            tokenizer.save(str(made / "tokenizer.json"))
            model = json.loads((made / "tokenizer.json").read_text())["model"]
            vocabulary = [[piece, float(np.float32(score))] for piece, score in model["vocab"]]
            checkpoints.edit_json(made / "tokenizer.json", model={**model, "vocab": vocabulary})
        return made

    return copy


@pytest.fixture(scope="session")
def xlmr_folder(build_folder: Callable[[checkpoints.Recipe], Path], mapped: Callable[[Path], Path]) -> Path:
    """A tiny XLM-RoBERTa with E5's prompts."""
    return mapped(build_folder(checkpoints.Recipe(prompts=checkpoints.E5_PROMPTS)))


@pytest.fixture(scope="session")
def xlmr_file(xlmr_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a GGUF file."""
    return converted.convert(xlmr_folder, tmp_path_factory.mktemp("gguf") / "tiny-F32.gguf")
