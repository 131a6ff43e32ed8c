"""What is saved is the published layout, for every reader of it; a failure leaves nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import BERT, E5_PROMPTS, SENTENCES, XLMR
from networks import small
from safetensors.torch import load_file
from vectors import by_transformers, cosines, sentence_transformer
from vectors import load as embedder_of

from me5 import Embedder, InputError
from me5.checkpoint import read_folder
from me5.model import folder as folders
from me5.model.encoder import Encoder
from me5.model.folder import load, save, slots
from me5.prompts import E5_PREFIX, INSTRUCT, NONE, Prompts
from me5.weights import tensor_table


def saved(source: Path, target: Path, **options) -> Path:
    checkpoint = read_folder(source)
    options.setdefault("prompts", checkpoint.prompts)
    save(load(checkpoint), target, tokenizer=checkpoint.tokenizer, **options)
    return target


def test_the_names_are_those_of_the_table(tiny: Path) -> None:
    encoder = load(read_folder(tiny))
    table = tensor_table(encoder.config)
    assert {name: tuple(slot.shape) for name, slot in slots(encoder).items()} == {
        name: shape for name, (_, shape) in table.items()
    }


def test_a_folder_comes_back_as_it_was(tiny: Path, tmp_path: Path) -> None:
    again = saved(tiny, tmp_path / "again")
    before, after = load_file(tiny / "model.safetensors"), load_file(again / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=0, rtol=0)
    assert read_folder(again).config == read_folder(tiny).config


VARIANTS = {
    "cls": replace(XLMR, pooling="cls"),
    "prompts": replace(XLMR, prompts=E5_PROMPTS),
    "lower-case, short": replace(BERT, lower_case=True, max_seq_length=40),
}


@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS.keys())
def test_settings_survive(build_folder, tmp_path: Path, recipe) -> None:
    source = build_folder(recipe)
    again = saved(source, tmp_path / "again")
    assert read_folder(again).config == read_folder(source).config
    assert read_folder(again).prompts == read_folder(source).prompts


def test_every_reader_gives_the_same_vectors(tiny: Path, tmp_path: Path) -> None:
    again = saved(tiny, tmp_path / "again")
    expected = embedder_of(tiny).encode(SENTENCES)
    for vectors in (
        embedder_of(again).encode(SENTENCES),
        by_transformers(again, SENTENCES),
        sentence_transformer(again).encode(list(SENTENCES), show_progress_bar=False),
    ):
        assert np.abs(vectors - expected).max() < 5e-6


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fewer_bits(xlmr: Path, tmp_path: Path, dtype: str) -> None:
    again = saved(xlmr, tmp_path / "again", dtype=dtype)
    assert {str(tensor.dtype) for tensor in load_file(again / "model.safetensors").values()} == {f"torch.{dtype}"}
    assert json.loads((again / "config.json").read_text())["torch_dtype"] == dtype
    assert cosines(embedder_of(again).encode(SENTENCES), embedder_of(xlmr).encode(SENTENCES)).min() > 0.999


def test_random_weights_become_a_folder(bert: Path, tmp_path: Path) -> None:
    """A new network needs a tokenizer only."""
    tokenizer = read_folder(bert).tokenizer
    torch.manual_seed(0)
    encoder = Encoder(small(vocab_size=2000, hidden_size=64, max_positions=70))
    save(encoder, tmp_path / "new", tokenizer=tokenizer, prompts=E5_PREFIX)
    embedder = Embedder.load(tmp_path / "new", precision="f32")
    assert embedder.prompts.prefix("query") == E5_PREFIX.query
    theirs = sentence_transformer(tmp_path / "new").encode_query(list(SENTENCES[:5]), show_progress_bar=False)
    assert np.abs(embedder.encode_query(SENTENCES[:5]) - theirs).max() < 5e-6


@pytest.mark.parametrize(
    "prompts",
    [
        INSTRUCT,
        replace(INSTRUCT, default_task="Given a claim, find its source"),
        Prompts("prefix", query="q: ", document="d: ", both="s: "),
        NONE,
    ],
    ids=["instruct", "own task", "prefix", "none"],
)
def test_prompts_read_as_they_were_written(xlmr: Path, tmp_path: Path, prompts: Prompts) -> None:
    found = read_folder(saved(xlmr, tmp_path / "again", prompts=prompts)).prompts
    if prompts.style == "none":
        assert found is None
        return
    for side in ("query", "document", "both"):
        assert found.prefix(side) == prompts.prefix(side)


def test_a_folder_that_exists_is_replaced_only_on_request(xlmr: Path, bert: Path, tmp_path: Path) -> None:
    target = saved(xlmr, tmp_path / "model")
    (target / "stale").touch()
    with pytest.raises(InputError, match="exists; replace it"):
        saved(bert, target)
    assert read_folder(target).config.body == "xlm-roberta"
    saved(bert, target, overwrite=True)
    assert read_folder(target).config.body == "bert"
    assert not (target / "stale").exists()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("before", [False, True], ids=["new", "existing"])
def test_a_failure_leaves_what_was_there(xlmr: Path, tmp_path: Path, monkeypatch, before: bool) -> None:
    target = tmp_path / "model"
    if before:
        saved(xlmr, target)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(folders, "save_file", full)
    with pytest.raises(InputError, match="model cannot be written: no space left"):
        saved(xlmr, target, overwrite=True)
    assert list(tmp_path.iterdir()) == ([target] if before else [])
    if before:
        load(read_folder(target))


def test_what_is_no_encoder_is_refused(xlmr: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="expected an Encoder, got Linear"):
        save(torch.nn.Linear(2, 2), tmp_path / "x", tokenizer=read_folder(xlmr).tokenizer, prompts=None)


def test_files_can_be_read_by_others(xlmr: Path, tmp_path: Path) -> None:
    target = saved(xlmr, tmp_path / "model")
    for path in (target, *target.rglob("*")):
        assert path.stat().st_mode & 0o044 == 0o044, path


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_matrices_take_the_type_asked_for_and_norms_stay_exact(build_folder, stored: str) -> None:
    encoder = load(read_folder(build_folder(replace(XLMR, dtype=stored))), matrices=torch.bfloat16)
    layer = encoder.layers[0]
    assert {layer.qkv.weight.dtype, layer.feedforward_in.bias.dtype} == {torch.bfloat16}
    assert {layer.attention_norm.weight.dtype, encoder.positions.weight.dtype} == {torch.float32}
    assert encoder.words.weight.dtype == getattr(torch, stored)
