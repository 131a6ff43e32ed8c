"""Vectors in the form that is stored: bytes, bits, fewer dimensions; alone and from an Embedder."""

import json
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vectors import load

from me5 import CheckpointError, Embedder, InputError, Me5Warning
from me5.catalog import BY_ID
from me5.checkpoint import read_folder
from me5.layout import write_layout
from me5.quantization import FORMS, quantized, ranges_of, restored, shortened

UNIT = np.random.default_rng(0).standard_normal((40, 44)).astype(np.float32)
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("form", "dtype", "width", "cosine"),
    [
        ("float32", np.float32, 44, 1 - 1e-6),
        ("int8", np.int8, 44, 0.9995),
        ("uint8", np.uint8, 44, 0.9995),
        ("binary", np.int8, 6, 0.6),
        ("ubinary", np.uint8, 6, 0.6),
    ],
)
def test_stored_vectors_come_back_at_nearly_the_same_angle(form, dtype, width, cosine):
    rows = quantized(UNIT, form)
    assert (rows.dtype, rows.shape) == (dtype, (40, width))
    back = restored(rows, form, 44)
    assert back.shape == UNIT.shape
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    assert (back * UNIT).sum(axis=1).min() > cosine
    np.testing.assert_array_equal(quantized(UNIT[7:8], form), rows[7:8])
    assert quantized(UNIT[:0], form).shape == (0, width)


@pytest.mark.parametrize("form", FORMS)
def test_ranges_and_bits_are_those_of_sentence_transformers(form):
    from sentence_transformers.util import quantize_embeddings

    ranges = ranges_of(UNIT[:30])
    theirs = quantize_embeddings(UNIT, form, ranges=ranges)
    np.testing.assert_array_equal(quantized(UNIT, form, ranges), theirs)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="unknown precision 'int4' of stored vectors; expected one of float32, int8"):
        quantized(UNIT, "int4")
    with pytest.raises(InputError, match=r"ranges have the shape \(2, 3\), expected \(2, 44\)"):
        quantized(UNIT, "int8", np.zeros((2, 3)))
    with pytest.raises(InputError, match="vectors stored as int8 are int8, got uint8"):
        restored(quantized(UNIT, "uint8"), "int8")
    with pytest.raises(InputError, match="at least 1 dimension, got 0"):
        shortened(UNIT, 0)
    assert np.linalg.norm(shortened(UNIT, 8, unit=False), axis=1).max() < 1


@pytest.fixture(scope="module")
def embedder(xlmr: Path) -> Embedder:
    return load(xlmr, "fake")


TEXTS = ["how tall is K2?", "8,611 metres", "bread"]


@pytest.mark.filterwarnings("ignore:.*was not trained for vectors:me5.Me5Warning")
def test_an_embedder_gives_any_form(embedder: Embedder):
    whole = embedder.encode_document(TEXTS)
    for encode in (embedder.encode_query, embedder.encode_document, embedder.encode):
        for form in FORMS:
            np.testing.assert_array_equal(
                encode(TEXTS, truncate_dim=16, precision=form), quantized(shortened(whole, 16), form)
            )
    assert embedder.encode([], truncate_dim=16, precision="ubinary").shape == (0, 2)
    with pytest.raises(InputError, match="unknown precision 'int4'"):
        embedder.encode(TEXTS, precision="int4")


@pytest.mark.filterwarnings("ignore:.*was not trained for vectors:me5.Me5Warning")
def test_an_embedder_can_be_loaded_for_shorter_vectors(xlmr: Path):
    whole, short = load(xlmr), load(xlmr, truncate_dim=16)
    vectors = shortened(whole.encode_query(TEXTS), 16)
    assert (short.dim, short.get_embedding_dimension()) == (16, 16)
    np.testing.assert_array_equal(short.encode_query(TEXTS), vectors)
    np.testing.assert_array_equal(short.run(short.prepare(TEXTS, "query")), vectors)
    np.testing.assert_array_equal(np.concatenate(list(short.stream(TEXTS, "query"))), vectors)
    assert short.fingerprint("f32") != whole.fingerprint("f32")
    assert pickle.loads(pickle.dumps(short)).dim == 16
    assert short.encode_query([]).shape == (0, 16)


def test_dimensions_that_a_model_was_not_trained_for_are_warned_of(xlmr: Path):
    embedder = load(xlmr, "fake")
    with pytest.warns(Me5Warning, match=r"was not trained for vectors of 16 dimensions \(none shorter than"):
        embedder.encode(TEXTS, truncate_dim=16)
    width = embedder.dim
    with pytest.raises(InputError, match=f"truncate_dim must lie between 1 and the model's {width} dimensions, got 0"):
        embedder.encode(TEXTS, truncate_dim=0)
    with pytest.raises(InputError, match=f"got {width + 1}"):
        load(xlmr, "fake", truncate_dim=width + 1)
    embedder.checkpoint = replace(embedder.checkpoint, config=replace(embedder.checkpoint.config, matryoshka=(16,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embedder.encode(TEXTS, truncate_dim=16).shape == (3, 16)
        assert embedder.encode(TEXTS, truncate_dim=width).shape == (3, width)


def test_a_folder_says_which_shorter_vectors_its_model_was_trained_for(xlmr: Path, copy_of):
    folder = copy_of(xlmr)
    checkpoint = read_folder(folder)
    assert checkpoint.matryoshka == ()
    config = replace(checkpoint.config, matryoshka=(8, 16))
    write_layout(folder, config, xlmr / "tokenizer.json", None, "float32")
    assert json.loads((folder / "config.json").read_text())["matryoshka_dimensions"] == [8, 16, config.hidden_size]
    assert read_folder(folder).config == config
    assert read_folder(folder, name="Snowflake/snowflake-arctic-embed-l-v2.0").matryoshka == (8, 16)
    assert BY_ID["Snowflake/snowflake-arctic-embed-l-v2.0"].matryoshka == (256,)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "matryoshka_dimensions": [0, 16]}))
    with pytest.raises(CheckpointError, match=r"matryoshka_dimensions is \[0, 16\], expected a list of whole numbers"):
        read_folder(folder)


def test_the_limit_of_tokens_can_be_set(xlmr: Path):
    embedder = load(xlmr, "fake", truncation="error")
    other = embedder.with_prompts(embedder.prompts)
    other.max_seq_length = 8
    with pytest.raises(InputError, match="8"):
        other.encode("word " * 20)
    assert embedder.max_seq_length == 512
    assert embedder.encode("word " * 20).shape == (1, embedder.dim)
    with pytest.raises(InputError, match="between 3 and the model's 512 positions, got 2"):
        other.max_seq_length = 2


def test_pairs_and_the_constructor(xlmr: Path):
    embedder = Embedder(xlmr, prompts="none", precision="f32")
    assert repr(embedder) == repr(load(xlmr))
    a, b = embedder.encode(TEXTS), embedder.encode(TEXTS[::-1])
    np.testing.assert_allclose(embedder.similarity_pairwise(a, b), np.diag(embedder.similarity(a, b)), atol=1e-6)
    with pytest.raises(InputError, match="are not pairs"):
        embedder.similarity_pairwise(a, b[:2])
