"""A text has the same vector alone, in any batch, beside any neighbour, and at any place of the input.

On a CPU it is the same to the bit, at every precision: the tests of this file know no tolerance, but for torch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SENTENCES, passages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vectors import ENGINES, FAST_ENGINES, ROUNDING, load

from me5 import Embedder
from me5.batching import WIDTH_STEP, Batch, plan
from me5.engine import openvino
from me5.engine.base import Engine, Float32, TokenIds

Sequences = list[TokenIds]
# A pool of lengths: the shortest and the longest that models read, and both sides of where kernels change their ways.
LENGTHS = (3, 4, 5, 8, 15, 16, 17, 32, 33, 47, 64, 65, 100, 129, 255, 256, 511, 512)


def sequences_of(embedder: Embedder, lengths: Sequence[int], seed: int = 0) -> Sequences:
    """Sequences of random tokens, not longer than the model reads them."""
    draw, most = np.random.default_rng(seed), embedder.max_seq_length
    return [draw.integers(5, embedder.checkpoint.config.vocab_size, min(length, most)) for length in lengths]


def in_batches(engine: Engine, sequences: Sequences, budget: int) -> Float32:
    """Vectors in the order of the sequences, run in batches of so many cells."""
    vectors = np.empty((len(sequences), engine.dim), np.float32)
    for batch in plan([len(ids) for ids in sequences], budget, engine.stride):
        vectors[batch.order] = engine.embed([sequences[at] for at in batch.order])
    return vectors


def alone(engine: Engine, sequences: Sequences) -> Float32:
    """Vectors of sequences of which each has a grid for itself."""
    return np.concatenate([engine.embed([ids]) for ids in sequences])


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_any_lengths_in_any_batches(tiny: Path, engine: str) -> None:
    embedder = load(tiny, engine)

    @settings(max_examples=15)
    @given(
        st.lists(st.integers(3, 512), min_size=1, max_size=12), st.integers(1, 3000), st.integers(0, 5), st.randoms()
    )
    def check(lengths: list[int], budget: int, seed: int, order) -> None:
        sequences = sequences_of(embedder, lengths, seed)
        expected = alone(embedder.engine, sequences)
        np.testing.assert_array_equal(in_batches(embedder.engine, sequences, budget), expected)
        places = order.sample(range(len(lengths)), len(lengths))
        shuffled = [sequences[place] for place in places]
        np.testing.assert_array_equal(in_batches(embedder.engine, shuffled, budget), expected[places])
        np.testing.assert_array_equal(embedder.engine.embed(shuffled), expected[places])

    check()


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("model", ["minilm", "bundled"])
def test_real_weights_in_any_batches_on_any_number_of_threads(
    request: pytest.FixtureRequest, model: str, engine: str
) -> None:
    folder = request.getfixturevalue("minilm") if model == "minilm" else None
    embedder = load(folder, engine, threads=2)
    sequences = sequences_of(embedder, LENGTHS)
    expected = alone(load(folder, engine, threads=1).engine, sequences)

    @settings(max_examples=8)
    @given(
        st.lists(st.sampled_from(range(len(LENGTHS))), min_size=2, max_size=9, unique=True), st.sampled_from([64, 1152])
    )
    def check(places: list[int], budget: int) -> None:
        found = in_batches(embedder.engine, [sequences[place] for place in places], budget)
        np.testing.assert_array_equal(found, expected[places])

    check()


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_any_neighbours_at_any_place_of_a_row(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence keeps its vector whatever is beside it, and however far from the start of its row it is."""
    embedder = load(None, engine)
    stride = embedder.engine.stride
    (one,) = sequences_of(embedder, [101])
    (expected,) = alone(embedder.engine, [one])
    for cells in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64):
        offset = cells * stride
        left, right, other = sequences_of(embedder, [offset, 12, 200], seed=offset)
        width = -(-(offset + 102 + 12) // WIDTH_STEP) * WIDTH_STEP
        grid = Batch(width, ((0, 1, 2), (3,)))
        with monkeypatch.context() as patched:
            patched.setattr(openvino, "lay_out", lambda lengths, stride, grid=grid: grid)
            found = embedder.engine.embed([left, one, right, other[:width]])
        np.testing.assert_array_equal(found[1], expected)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_texts_in_windows_and_chunks(engine: str) -> None:
    """The whole way, from texts: hundreds of short ones share rows with long ones that are read in chunks."""
    embedder = load(None, engine, truncation="chunk")
    texts = [*passages(3, most=9), " ".join(SENTENCES * 2), *(f"{at} {SENTENCES[at % 20][:12]}" for at in range(100))]
    together = embedder.encode(texts)
    for index in (0, 1, 3, 77, 102):
        np.testing.assert_array_equal(embedder.encode(texts[index])[0], together[index])


@pytest.mark.parametrize(("engine", "near"), [("bf16", 0.999), ("int8", 0.98)])  # as tests/contract/test_parity.py
def test_where_products_are_made_in_tiles(
    minilm: Path, monkeypatch: pytest.MonkeyPatch, engine: str, near: float
) -> None:
    """AMX adds 32 cells at once. Attention in float32 is right everywhere, so it can be tried on any CPU with bf16."""
    expected = load(minilm, "bf16").encode(SENTENCES)
    monkeypatch.setattr(openvino, "_multiplies_tiles", lambda: True)
    embedder = load(minilm, engine)
    assert embedder.engine.stride == 1
    sequences = sequences_of(embedder, LENGTHS[::2])
    np.testing.assert_array_equal(in_batches(embedder.engine, sequences, 1152), alone(embedder.engine, sequences))
    cosines = (embedder.encode(SENTENCES) * expected).sum(axis=1)
    assert cosines.min() >= near


def test_int8_learns_the_same_whatever_limit_and_however_many_threads() -> None:
    """Its levels come from built-in texts, as long as the model reads: they are part of every vector's bits."""
    expected = load(None, "int8", threads=1).encode(SENTENCES)
    np.testing.assert_array_equal(load(None, "int8", threads=2, max_tokens=100).encode(SENTENCES), expected)


def test_torch_rounds_otherwise_in_company_and_no_more(minilm: Path) -> None:
    embedder = load(minilm, "torch")
    texts = [*SENTENCES, *passages(6)]
    together = embedder.encode(texts)
    for index in (0, 7, 14, 28):
        np.testing.assert_allclose(embedder.encode(texts[index])[0], together[index], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("engine", ENGINES)
def test_results_stand_in_input_order(xlmr: Path, engine: str) -> None:
    embedder = load(xlmr, engine)
    texts = [*SENTENCES[:8], *passages(3)]
    expected = embedder.encode(texts)

    @settings(max_examples=15 if engine != "reference" else 3)
    @given(st.permutations(range(len(texts))))
    def check(order: list[int]) -> None:
        found = embedder.encode([texts[index] for index in order])
        np.testing.assert_allclose(found, expected[order], rtol=0, atol=ROUNDING if engine == "torch" else 0)

    check()
    # The texts are further from each other than rounding, so a swap would show.
    others = expected @ expected.T - 2 * np.eye(len(texts))
    assert others.max() < 0.99


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_texts_keep_their_order_and_count(xlmr: Path, texts: list[str]) -> None:
    embedder = load(xlmr, "fake")
    together = embedder.encode(texts)
    assert together.shape == (len(texts), 64)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(embedder.encode(text)[0], vector)
