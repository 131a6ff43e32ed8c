"""What me5 exports: GGUF files and folders that hold the same model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import gguf
import numpy as np
import pytest
from checkpoints import SENTENCES, Recipe
from typer.testing import CliRunner

from me5 import CheckpointError, Embedder, InputError
from me5.checkpoint import read
from me5.cli import app
from me5.export import export
from me5.weights import Weights

RECIPES = {"xlm-roberta": Recipe(), "bert": Recipe("bert"), "wordpiece": Recipe("bert", "wordpiece", pooling="cls")}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_folder_survives_the_way_through_a_file(
    recipe: str, build_folder: Any, mapped: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder, file, back = mapped(build_folder(RECIPES[recipe])), tmp_path / "tiny.gguf", tmp_path / "back"
    export(read(folder), file, matrices="f32")
    export(read(file), back)
    embedders = [Embedder.load(place, precision="f32", prompts="none") for place in (folder, file, back)]
    truth, *others = (embedder.encode(SENTENCES) for embedder in embedders)
    for vectors in others:
        np.testing.assert_array_equal(vectors, truth)
    assert read(back).config.pooling == RECIPES[recipe].pooling


def test_transformers_reads_the_folder(xlmr_file: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    export(read(xlmr_file), tmp_path / "folder")
    theirs = SentenceTransformer(str(tmp_path / "folder"), device="cpu").encode(list(SENTENCES))
    ours = Embedder.load(tmp_path / "folder", precision="f32", prompts="none").encode(SENTENCES)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_types_and_settings(xlmr_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    export(read(xlmr_folder), path, matrices="q8_0", words="q4_0")
    checkpoint = read(path)
    weights = Weights(checkpoint.weights, checkpoint.config)
    assert [weights.dtype(name) for name in ("words", "layers.1.query.weight", "positions", "layers.0.query.bias")] == [
        "Q4_0", "Q8_0", "F32", "F32",
    ]  # fmt: skip
    assert checkpoint.prompts == read(xlmr_folder).prompts
    reader = gguf.GGUFReader(path)  # theirs
    read_by_them = {name: reader.fields[name].contents() for name in reader.fields}
    assert read_by_them["general.architecture"] == "bert"
    assert read_by_them["bert.pooling_type"] == 1
    assert read_by_them["bert.context_length"] == 512
    assert read_by_them["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    assert {tensor.name for tensor in reader.tensors} >= {"token_embd.weight", "blk.1.layer_output_norm.bias"}
    positions = next(tensor for tensor in reader.tensors if tensor.name == "position_embd.weight")
    assert positions.shape.tolist() == [64, 512]


def test_what_is_rounded_is_not_rounded_again(xlmr_folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    export(read(xlmr_folder), first, matrices="q4_0")
    export(read(first), second, matrices="q4_0")
    one, two = (Weights((path,), read(path).config) for path in (first, second))
    for name in ("words", "layers.0.feedforward_in.weight", "positions"):
        np.testing.assert_array_equal(one.stored(name), two.stored(name))


def test_a_tokenizer_that_gguf_cannot_say(build_folder: Any, tmp_path: Path) -> None:
    """The tiny tokenizer normalises by NFKC itself, for which GGUF has no word."""
    with pytest.raises(CheckpointError, match="would become other tokens"):
        export(read(build_folder(Recipe())), tmp_path / "tiny.gguf")
    assert not list(tmp_path.iterdir())


def test_lower_case_cannot_be_said(xlmr_folder: Path, tmp_path: Path, mapped: Callable[[Path], Path]) -> None:
    folder = mapped(xlmr_folder)
    checkpoints.edit_json(folder / "sentence_bert_config.json", do_lower_case=True)
    with pytest.raises(InputError, match="lower-cases"):
        export(read(folder), tmp_path / "tiny.gguf")


def test_refusals(xlmr_folder: Path, tmp_path: Path) -> None:
    checkpoint = read(xlmr_folder)
    taken = tmp_path / "taken.gguf"
    taken.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        export(checkpoint, taken)
    assert taken.read_text() == "mine"
    with pytest.raises(InputError, match="unknown type 'q9'"):
        export(checkpoint, tmp_path / "a.gguf", matrices="q9")
    with pytest.raises(InputError, match=r"ends in \.gguf"):
        export(checkpoint, tmp_path / "folder", matrices="q8_0")
    with pytest.raises(InputError, match=r"ends in \.gguf"):
        export(checkpoint, tmp_path / "folder", words="f16")
    export(checkpoint, taken, overwrite=True)
    assert taken.read_bytes()[:4] == b"GGUF"


def test_the_command(xlmr_file: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["export", str(xlmr_file), "--to", str(tmp_path / "folder"), "--type", "f16"])
    assert run.exit_code == 0, run.output
    assert "folder" in run.output
    assert Weights(read(tmp_path / "folder").weights, read(tmp_path / "folder").config).dtypes == ["F16"]
    shown = CliRunner().invoke(app, ["info", str(xlmr_file), "--json"])
    assert '"max_tokens": 512' in shown.output
