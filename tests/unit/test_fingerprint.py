"""Fingerprints: the same for the same, another for whatever changes a vector."""

from dataclasses import replace

import pytest

from me5 import fingerprint
from me5.checkpoint import Checkpoint, ModelConfig
from me5.prompts import E5_PREFIX, INSTRUCT, Prompts

CONFIG = ModelConfig("bert", 100, 8, 2, 2, 16, 512, 2, 1e-12, 0, "mean", 512)
CHANGES = {
    "precision": {"precision": "int8"},
    "max_tokens": {"max_tokens": 64},
    "truncation": {"truncation": "chunk"},
    "style": {"prompts": INSTRUCT},
    "a prompt": {"prompts": replace(E5_PREFIX, both="")},
    "a named prompt": {"prompts": replace(E5_PREFIX, named={"sts": "s: "})},
    "task": {"task": "sts"},
    "no prompts": {"prompts": None},
}
KEPT = {
    "dropout": replace(CONFIG, hidden_dropout=0.0, attention_dropout=0.5),
    "the limit of the folder": replace(CONFIG, max_tokens=128),
}
NETWORKS = {
    "pooling": replace(CONFIG, pooling="cls"),
    "lower case": replace(CONFIG, lower_case=True),
    "epsilon": replace(CONFIG, layer_norm_eps=1e-5),
    "positions": replace(CONFIG, first_position=2),
}


@pytest.fixture
def checkpoint(tmp_path) -> Checkpoint:
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 4000)
    return Checkpoint(
        "m", tmp_path, CONFIG, (tmp_path / "model.safetensors",), tmp_path / "tokenizer.json", E5_PREFIX, None
    )


def of_vectors(checkpoint: Checkpoint, **changes) -> str:
    settings = {"precision": "f32", "max_tokens": 512, "truncation": "end", "prompts": E5_PREFIX, **changes}
    return fingerprint.of_vectors(checkpoint, **settings)


def test_the_value_for_a_checkpoint_never_changes(checkpoint) -> None:
    """Stores that exist hold such values."""
    assert fingerprint.of_checkpoint(checkpoint) == "760da6039b185054bbc7c1f3d3afd43e"


@pytest.mark.parametrize("change", CHANGES)
def test_each_setting_counts(checkpoint, change: str) -> None:
    assert of_vectors(checkpoint, **CHANGES[change]) != of_vectors(checkpoint)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_trait_of_the_network_counts(checkpoint, network: str) -> None:
    assert of_vectors(replace(checkpoint, config=NETWORKS[network])) != of_vectors(checkpoint)


@pytest.mark.parametrize("config", KEPT)
def test_what_no_vector_depends_on_does_not(checkpoint, config: str) -> None:
    assert of_vectors(replace(checkpoint, name="n", config=KEPT[config])) == of_vectors(checkpoint)


def test_equal_prompts_are_equal(checkpoint) -> None:
    one = Prompts("prefix", named={"a": "1", "b": "2"})
    other = Prompts("prefix", named={"b": "2", "a": "1"})
    assert of_vectors(checkpoint, prompts=one) == of_vectors(checkpoint, prompts=other)


def test_every_byte_of_the_files_counts(checkpoint) -> None:
    before = of_vectors(checkpoint), fingerprint.of_checkpoint(checkpoint)
    raw = bytearray(checkpoint.weights[0].read_bytes())
    raw[5000] ^= 1  # between two of the blocks that the quick fingerprint reads
    checkpoint.weights[0].write_bytes(raw)
    assert fingerprint.of_checkpoint(checkpoint) == before[1]
    assert of_vectors(checkpoint) != before[0]
    checkpoint.weights[0].write_bytes(raw[:-1])
    assert fingerprint.of_checkpoint(checkpoint) != before[1]
    checkpoint.tokenizer.write_bytes(b"{ }")
    assert len({of_vectors(checkpoint), *before}) == 3
