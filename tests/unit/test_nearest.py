"""Exact search in blocks, beside sorting everything."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from me5 import nearest
from me5.errors import InputError
from me5.nearest import top_k


@given(st.data())
@settings(max_examples=100)
@pytest.mark.parametrize("kind", [np.int64, object])
def test_blocks_equal_sorting_everything(kind: type, data: st.DataObject) -> None:
    """Vectors of few values, so that many scores are equal; names in any order."""
    size, k = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 45))
    numbers = st.lists(st.integers(-1, 1), min_size=3, max_size=3)
    documents = np.array([data.draw(numbers) for _ in range(size)], np.float32)
    queries = np.array([data.draw(numbers) for _ in range(3)], np.float32)
    order = data.draw(st.permutations(range(size)))
    names = np.array([number if kind is np.int64 else f"d{number}" for number in order], kind)
    step = data.draw(st.integers(1, 12))
    blocks = [(names[at : at + step], documents[at : at + step]) for at in range(0, size, step)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_SCORES", data.draw(st.integers(1, 30)))
        found, scores = top_k(queries, blocks, k)
    assert found.shape == scores.shape == (3, k)
    for at, query in enumerate(queries):
        expected = sorted(zip((documents @ query).tolist(), names.tolist(), strict=True), reverse=True)[:k]
        assert list(zip(scores[at].tolist(), found[at].tolist(), strict=True))[: len(expected)] == expected
        assert np.isneginf(scores[at, len(expected) :]).all()


def test_memory_does_not_grow_with_the_documents(monkeypatch) -> None:
    monkeypatch.setattr(nearest, "_SCORES", 50 * 100)
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((50, 8), dtype=np.float32)

    def peak(blocks: int) -> int:
        many = ((np.arange(100), rng.standard_normal((100, 8), dtype=np.float32)) for _ in range(blocks))
        tracemalloc.start()
        top_k(queries, many, 10)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(200) < 1.2 * peak(5)


def test_no_documents_and_other_dimensions() -> None:
    _, scores = top_k(np.ones((2, 4), np.float32), [], 3)
    assert np.isneginf(scores).all()
    with pytest.raises(InputError, match="4 dimensions and documents of 3"):
        top_k(np.ones((2, 4), np.float32), [(np.arange(1), np.ones((1, 3), np.float32))], 10)
