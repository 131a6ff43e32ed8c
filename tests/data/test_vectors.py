"""Exact search over stored vectors, beside the slow truth."""

import numpy as np
import pytest

from me5 import nearest
from me5.data import vectors as stored
from me5.data.jobs import Workspace
from me5.data.vectors import NONE, Vectors


def kept(folder, vectors, *, size=11):
    """Vectors as a job leaves them, in shards."""
    job = Workspace(folder).job("v", rows=len(vectors), size=size, suffix=".npy", settings={}, inputs={})
    job.run(lambda shard, file: np.save(file, vectors[shard.start : shard.stop]))
    return Vectors(job)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_nearest_is_exact_in_any_blocks(tmp_path, monkeypatch, k):
    monkeypatch.setattr(stored, "BLOCK", 9)
    monkeypatch.setattr(nearest, "_SCORES", 9 * 4)
    rng = np.random.default_rng(k)
    documents = rng.normal(size=(60, 8)).astype(np.float16)
    queries = rng.normal(size=(10, 8)).astype(np.float32)
    pool = np.sort(rng.choice(60, 30, replace=False))
    rows, scores = kept(tmp_path, documents).nearest(queries, pool, k)
    truth = queries @ documents[pool].astype(np.float32).T
    for query in range(10):
        best = sorted(range(30), key=lambda place: -truth[query, place])[:k]
        assert rows[query, : len(best)].tolist() == pool[best].tolist()
        np.testing.assert_allclose(scores[query, : len(best)], truth[query, best], atol=1e-5)
    assert (rows[:, 30:] == NONE).all()
    assert np.isneginf(scores[:, 30:]).all()


def test_nearest_when_all_later_blocks_are_better(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK", 4)
    documents = np.stack([np.arange(30.0), np.ones(30)], axis=1).astype(np.float32)
    rows, _ = kept(tmp_path, documents).nearest(np.array([[1, 0], [-1, 0]], np.float32), np.arange(30), 3)
    assert rows.tolist() == [[29, 28, 27], [0, 1, 2]]


def test_equal_scores_rank_by_row_also_at_the_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK", 3)
    documents = np.ones((20, 2), np.float32)
    rows, _ = kept(tmp_path, documents).nearest(np.ones((1, 2), np.float32), np.arange(2, 20), 5)
    assert rows.tolist() == [[2, 3, 4, 5, 6]]
    rows, _ = kept(tmp_path, documents).nearest(np.ones((1, 2), np.float32), np.arange(5), 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]]
