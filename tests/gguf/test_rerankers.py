"""GGUF files of cross-encoders: the scores of the folder that they came from, or an error that says why not."""

import re
from collections.abc import Callable
from pathlib import Path

import converted
import crossencoders
import gguf
import numpy as np
import pytest
from checkpoints import SENTENCES

from me5 import CheckpointError, Embedder, InputError, Reranker
from me5.checkpoint import read
from me5.export import export
from me5.weights import Weights

PAIRS = list(zip(SENTENCES[::2], SENTENCES[1::2], strict=True))


@pytest.fixture(scope="module")
def folder(mapped: Callable[[Path], Path], build_reranker: Callable[..., Path]) -> Path:
    return mapped(build_reranker(crossencoders.LAYOUTS["xlm-roberta"]))


@pytest.mark.parametrize("pooling", [None, gguf.PoolingType.RANK])
def test_same_scores_to_the_bit(folder: Path, pooling: int | None, tmp_path: Path) -> None:
    stated = None if pooling is None else int(pooling)
    path = converted.convert(folder, tmp_path / "tiny.gguf", settings={"bert.pooling_type": stated})
    from_folder, from_file = (Reranker.load(place, precision="f32") for place in (folder, path))
    np.testing.assert_array_equal(from_file.score(PAIRS), from_folder.score(PAIRS))
    assert from_file.max_tokens == from_folder.max_tokens
    with pytest.raises(CheckpointError, match="is a cross-encoder"):
        Embedder.load(path)


def test_one_row_may_be_written_as_a_list(folder: Path, tmp_path: Path) -> None:
    """As llama.cpp's quantizer does, for which the last dimension of 1 is none."""

    def flat(tensors: dict[str, np.ndarray]) -> None:
        for name in ("cls.output.weight", "token_types.weight"):
            tensors[name] = tensors[name][0]

    path = converted.convert(folder, tmp_path / "tiny.gguf", change=flat)
    ours = Weights((path,), read(path).config)
    theirs = Weights(read(folder).weights, read(folder).config)
    for name in ("head.logits.weight", "types"):
        np.testing.assert_array_equal(ours.float32(name), theirs.float32(name))


def test_blocks(folder: Path, tmp_path: Path) -> None:
    path = converted.convert(folder, tmp_path / "tiny.gguf", kind="Q8_0")
    logits = [Reranker.load(place, precision="f32").score(PAIRS, activation="identity") for place in (folder, path)]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.1


@pytest.mark.parametrize(
    ("settings", "change", "told"),
    [
        ({"bert.pooling_type": 1}, lambda tensors: None, "pooling_type is 1; expected 4"),
        ({}, lambda tensors: tensors.pop("cls.weight"), "the last layer of a head, cls.output, without the one before"),
        (
            {"bert.pooling_type": 4},
            lambda tensors: tensors.pop("cls.output.weight"),
            "is 4 (rank), and tensor cls.output.weight, the",
        ),
        ({}, lambda tensors: tensors.pop("cls.bias"), "tensor cls.bias is missing"),
    ],
)
def test_a_head_that_is_not_whole_is_refused(folder: Path, settings, change, told: str, tmp_path: Path) -> None:
    path = converted.convert(folder, tmp_path / "tiny.gguf", settings=settings, change=change)
    with pytest.raises(CheckpointError, match=re.escape(told)):
        Reranker.load(path, precision="f32")


def test_the_converter_leaves_berts_pooler_out(build_reranker: Callable[..., Path], tmp_path: Path) -> None:
    bert = build_reranker(crossencoders.LAYOUTS["bert-wordpiece"])
    path = converted.convert(bert, tmp_path / "tiny.gguf")
    with pytest.raises(CheckpointError, match="converter drops the pooler of BERT cross-encoders"):
        Reranker.load(path, precision="f32")


def test_what_me5_writes_has_the_same_scores_and_says_rank(folder: Path, build_reranker, tmp_path: Path) -> None:
    exact, small = tmp_path / "exact.gguf", tmp_path / "small.gguf"
    export(read(folder), exact, matrices="f32")
    export(read(folder), small, matrices="q8_0")
    places = (folder, exact, small)
    logits = [Reranker.load(place, precision="f32").score(PAIRS, activation="identity") for place in places]
    np.testing.assert_array_equal(logits[1], logits[0])
    assert 0 < np.abs(logits[2] - logits[0]).max() < 0.1
    export(read(exact), tmp_path / "again")  # as a BERT, whose pooler is the head's first layer
    np.testing.assert_allclose(crossencoders.by_transformers(tmp_path / "again", PAIRS)[:, 0], logits[0], atol=2e-5)
    file = gguf.GGUFReader(exact)
    assert file.fields["bert.pooling_type"].contents() == gguf.PoolingType.RANK
    assert {tensor.name for tensor in file.tensors if tensor.name.startswith("cls")} == {
        "cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias",
    }  # fmt: skip
    bert = build_reranker(crossencoders.LAYOUTS["bert-wordpiece"])
    with pytest.raises(InputError, match="token the first type"):
        export(read(bert), tmp_path / "bert.gguf")
