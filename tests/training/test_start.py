"""Where a network starts, what adapters train, and what is left of them in the saved folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from me5.embedder import Embedder
from me5.errors import InputError
from me5.model.folder import save
from me5.model.sequences import concatenate
from me5.prompts import INSTRUCT
from me5.training.optimizer import open_optimizer, set_rates
from me5.training.recipe import Lora, Network, OptimizerSettings, Shape
from me5.training.start import merged, start
from me5.training.state import load_state, save_state

SHAPE = Shape(layers=2, hidden=16, heads=2, intermediate=24)


def network(workshop: Path, **more: object) -> Network:
    return Network(tokenizer=workshop / "tokenizer", shape=SHAPE, max_tokens=32, **more)


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory) -> Path:
    """A checkpoint of the prefix style with random weights."""
    begun = start(network(workshop, prompts="prefix"), 1)
    path = tmp_path_factory.mktemp("start") / "checkpoint"
    save(begun.encoder, path, tokenizer=begun.tokenizer_file, prompts=begun.prompts)
    return path


def test_random_weights_follow_from_the_seed(workshop) -> None:
    first, again, other = (start(network(workshop), seed).encoder for seed in (1, 1, 2))
    assert torch.equal(first.words.weight, again.words.weight)
    assert not torch.equal(first.words.weight, other.words.weight)
    assert first.training
    assert (first.config.max_positions, first.config.first_position, first.config.hidden_dropout) == (34, 2, 0.1)
    bert = start(network(workshop).model_copy(update={"shape": SHAPE.model_copy(update={"body": "bert"})}), 1)
    assert (bert.encoder.config.max_positions, bert.encoder.config.first_position) == (32, 0)
    assert bert.prompts is INSTRUCT


def test_a_checkpoint_keeps_what_is_its_own(folder) -> None:
    begun = start(Network(start=str(folder), max_tokens=20, dropout=0.25), 1)
    assert (begun.prompts.style, begun.prompts.query, begun.prompts.document) == ("prefix", "query: ", "passage: ")
    assert start(Network(start=str(folder), max_tokens=20, prompts="instruct"), 1).prompts == INSTRUCT
    config = begun.encoder.config
    assert (config.hidden_dropout, config.attention_dropout, config.max_tokens) == (0.25, 0.25, 20)
    chunk = sequences()
    assert not torch.equal(begun.encoder.embed(chunk), begun.encoder.embed(chunk))
    still = start(Network(start=str(folder), max_tokens=20, dropout=0.0), 1).encoder
    assert torch.equal(still.embed(chunk), still.embed(chunk))
    with pytest.raises(InputError, match=r"max_tokens is 33, .* has 32 positions"):
        start(Network(start=str(folder), max_tokens=33), 1)
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        start(Network(shape=SHAPE, tokenizer=folder / "nothing"), 1)


def sequences() -> object:
    rng = np.random.default_rng(0)
    return concatenate([rng.integers(5, 50, size=length) for length in (9, 7, 7, 2)], 2)


def test_frozen_words_stay_and_the_rest_learns(folder, tmp_path) -> None:
    settings = Network(start=str(folder), max_tokens=32, dropout=0.0, freeze_words=True)
    encoder, before = start(settings, 1).encoder, start(settings, 1).encoder
    optimizer = open_optimizer(encoder, OptimizerSettings(rate=0.1, warmup=0))
    set_rates(optimizer, OptimizerSettings(rate=0.1, warmup=0), 0, 4)
    encoder.embed(sequences())[:, 0].sum().backward()
    optimizer.step()
    for (name, now), then in zip(encoder.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then) == (name == "words.weight"), name
    save_state(tmp_path / "state", encoder, optimizer, 1)
    resumed = start(settings, 2).encoder
    load_state(tmp_path / "state", resumed, open_optimizer(resumed, OptimizerSettings(rate=0.1)))
    with torch.no_grad():
        assert torch.equal(resumed.embed(sequences()), encoder.embed(sequences()))


def test_adapters_alone_learn_and_then_are_merged(folder, tmp_path) -> None:
    settings = Network(start=str(folder), max_tokens=32, dropout=0.0, lora=Lora(rank=2, alpha=8))
    begun = start(settings, 1)
    encoder, before = begun.encoder, start(settings, 1).encoder
    trained = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert len(trained) == 2 * 4 * SHAPE.layers
    optimizer = open_optimizer(encoder, OptimizerSettings(rate=0.1, warmup=0))
    for step in range(3):
        set_rates(optimizer, OptimizerSettings(rate=0.1, warmup=0), step, 4)
        optimizer.zero_grad()
        encoder.embed(sequences())[:, 0].sum().backward()
        optimizer.step()
    for (name, now), then in zip(encoder.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then) == ("lora_" not in name), name
    with torch.no_grad():
        adapted = encoder.embed(sequences())
        assert (adapted - before.embed(sequences())).abs().max() > 1e-2
        plain = merged(encoder)
        torch.testing.assert_close(plain.embed(sequences()), adapted, atol=1e-6, rtol=0)
        torch.testing.assert_close(encoder.embed(sequences()), adapted, atol=0, rtol=0)  # as it was
    assert merged(plain) is plain
    save_state(tmp_path / "state", encoder, optimizer, 3)
    resumed = start(settings, 2).encoder
    assert load_state(tmp_path / "state", resumed, open_optimizer(resumed, OptimizerSettings(rate=0.1))) == 3
    with torch.no_grad():
        assert torch.equal(resumed.embed(sequences()), adapted)
    save(plain, tmp_path / "model", tokenizer=begun.tokenizer_file, prompts=begun.prompts)
    texts = ["ok", "Canberra est la capitale"]
    vectors = Embedder.load(tmp_path / "model", precision="f32").encode_query(texts)
    prepared = begun.tokenizer.prepare(texts, "query: ", "end").sequences
    with torch.no_grad():
        ours = torch.cat([encoder.embed(concatenate([ids], 2)) for ids in prepared]).numpy()
    np.testing.assert_allclose(vectors, ours, atol=1e-5)
