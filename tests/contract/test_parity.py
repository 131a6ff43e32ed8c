"""me5 gives the vectors of transformers and of sentence-transformers, in every precision, alone and in company."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import BERT, SENTENCES, XLMR, Recipe, passages
from vectors import FAST_ENGINES, by_transformers, cosines, load, sentence_transformer

from me5 import Embedder, TruncationWarning

# Measured: 2e-7 on tiny models, 4e-7 on published ones. A tanh GELU or an epsilon of the other family are over it.
EXACT = 5e-6
# The lowest cosine to float32 that a precision may have on tiny models. Measured: bf16 0.99990, int8 0.99974.
NEAR = {"f32": 0.999999, "bf16": 0.999, "int8": 0.999}

TEXTS = [*SENTENCES, *passages(8), "", " ", "a"]


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert np.abs(ours - theirs).max() <= EXACT
    assert cosines(ours, theirs).min() >= 0.99999


@pytest.mark.parametrize("engine", ["f32", "torch", "reference"])
def test_tiny_models_equal_transformers(tiny: Path, engine: str) -> None:
    assert_same(load(tiny, engine).encode(TEXTS), by_transformers(tiny, TEXTS))


def test_tiny_models_equal_sentence_transformers(tiny: Path) -> None:
    theirs = sentence_transformer(tiny).encode(TEXTS, show_progress_bar=False)
    assert_same(load(tiny).encode(TEXTS), theirs)


VARIANTS = {
    "cls": replace(XLMR, pooling="cls"),
    "float16": replace(XLMR, dtype="float16"),
    "bfloat16": replace(BERT, dtype="bfloat16"),
    "lower-case": replace(XLMR, lower_case=True, prompts={"query": "QUERY: "}),
}


@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS.keys())
def test_variants_equal_sentence_transformers(build_folder, recipe: Recipe) -> None:
    folder = build_folder(recipe)
    theirs = sentence_transformer(folder).encode_query(TEXTS, show_progress_bar=False)
    assert_same(load(folder, prompts=None if recipe.prompts else "none").encode_query(TEXTS), theirs)


def test_without_normalize_the_direction_is_the_same(build_folder) -> None:
    folder = build_folder(replace(XLMR, normalize=False))
    theirs = sentence_transformer(folder).encode(TEXTS, show_progress_bar=False)
    assert np.abs(np.linalg.norm(theirs, axis=1) - 1).max() > 0.1
    ours = load(folder).encode(TEXTS)
    assert cosines(ours, theirs).min() >= 0.99999
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_every_precision_is_near_the_reference(tiny: Path, engine: str) -> None:
    assert cosines(load(tiny, engine).encode(TEXTS), load(tiny, "reference").encode(TEXTS)).min() >= NEAR[engine]


PUBLISHED_TEXTS = [*SENTENCES, *passages(12)]
# The lowest cosine to float32 on real weights and texts. Measured: bf16 0.99993, int8 0.9939.
REAL = {"f32": 0.999999, "bf16": 0.999, "int8": 0.98}


@pytest.fixture(scope="module")
def published_truth(minilm: Path) -> np.ndarray:
    return by_transformers(minilm, PUBLISHED_TEXTS, 256)


def test_published_weights_equal_transformers(minilm: Path, published_truth: np.ndarray) -> None:
    assert_same(load(minilm).encode(PUBLISHED_TEXTS), published_truth)


@pytest.mark.parametrize("engine", REAL)
def test_published_weights_stay_near_in_every_precision(minilm: Path, published_truth: np.ndarray, engine: str) -> None:
    assert cosines(load(minilm, engine).encode(PUBLISHED_TEXTS), published_truth).min() >= REAL[engine]


def test_published_weights_equal_sentence_transformers(minilm: Path) -> None:
    model = sentence_transformer(minilm)
    embedder = load(minilm)
    assert embedder.max_seq_length == model.max_seq_length == 256
    assert_same(embedder.encode(SENTENCES), model.encode(list(SENTENCES), show_progress_bar=False))


def test_published_weights_equal_the_reference(minilm: Path) -> None:
    texts = SENTENCES[:6]
    assert_same(load(minilm).encode(texts), load(minilm, "reference").encode(texts))


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_full_length_texts(tiny: Path, engine: str) -> None:
    """510 tokens and two special ones: the last position of the table is used, and the rest is cut as theirs is."""
    texts = [" ".join(SENTENCES * 2), " ".join(reversed(SENTENCES * 2)), "short"]
    embedder = load(tiny, engine)
    with pytest.warns(TruncationWarning, match="2 of 3"):
        ours = embedder.encode(texts)
    assert [len(s) for s in embedder.prepare(texts, "both").sequences][:2] == [512, 512]
    assert cosines(ours, by_transformers(tiny, texts)).min() >= NEAR[engine]


def test_the_bundled_model_equals_transformers_on_bare_texts(bundled: Path) -> None:
    assert_same(load(None).encode(TEXTS), by_transformers(bundled, TEXTS))


@pytest.mark.parametrize(("engine", "least"), [("bf16", 0.999), ("int8", 0.997)])
def test_the_bundled_model_stays_near_in_every_precision(engine: str, least: float) -> None:
    """Measured: int8 0.9994."""
    assert cosines(load(None, engine).encode(PUBLISHED_TEXTS), load(None).encode(PUBLISHED_TEXTS)).min() >= least


def test_the_bundled_model_equals_sentence_transformers_with_prompts(bundled: Path) -> None:
    """Its folder lists its prompts, so that both libraries put the same words in front of a query."""
    embedder = Embedder.load(precision="f32")
    model = sentence_transformer(bundled)
    assert_same(embedder.encode_query(SENTENCES), model.encode_query(list(SENTENCES), show_progress_bar=False))
    assert_same(embedder.encode_document(SENTENCES), model.encode_document(list(SENTENCES), show_progress_bar=False))
