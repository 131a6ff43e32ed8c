"""Every sequence exactly once, no row over its width, no batch far over the budget, hardly any padding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from me5.batching import _WIDTH_COST, WIDTH_STEP, Batch, lay_out, pick, plan
from me5.engine.packing import EMPTY, pack

LENGTHS = st.lists(st.integers(1, 512), max_size=200)
BUDGETS = st.integers(1, 5000)


@given(LENGTHS, BUDGETS)
def test_every_sequence_occurs_once_and_fits(lengths, budget):
    batches = plan(lengths, budget)
    assert sorted(index for batch in batches for index in batch.order) == list(range(len(lengths)))
    for batch in batches:
        assert all(row for row in batch.rows)
        assert all(sum(lengths[index] for index in row) <= batch.width for row in batch.rows)


@given(LENGTHS, BUDGETS)
def test_a_batch_keeps_the_budget_unless_one_row_exceeds_it(lengths, budget):
    for batch in plan(lengths, budget):
        assert len(batch.rows) == 1 or batch.width * len(batch.rows) <= budget


@given(LENGTHS)
def test_a_plan_is_a_function_of_its_input(lengths):
    assert plan(lengths, 1152) == plan(lengths, 1152)


def cost(batch: Batch) -> int:
    return batch.width * len(batch.rows) * (_WIDTH_COST + batch.width)


@given(LENGTHS.filter(bool), BUDGETS, st.integers(1, 2), st.integers(0, 200))
def test_a_batch_laid_out_again_costs_no_more(lengths, budget, stride, first):
    for batch in (*plan(lengths, budget, stride), pick(lengths, budget, min(first, len(lengths)), stride)):
        again = [lengths[index] for index in batch.order]
        assert cost(lay_out(again, stride)) <= cost(batch)


@given(LENGTHS.filter(bool), st.integers(1, 3))
def test_a_layout_keeps_the_order(lengths, stride):
    batch = lay_out(lengths, stride)
    assert batch.order == list(range(len(lengths)))
    assert batch.width % WIDTH_STEP == 0
    assert all(sum(-(-lengths[index] // stride) * stride for index in row) <= batch.width for row in batch.rows)


def test_no_text_no_batch():
    assert plan([], 1152) == []


def test_one_short_text_pads_by_less_than_a_step():
    (batch,) = plan([17], 1152)
    assert batch.width - 17 < WIDTH_STEP
    assert batch.rows == ((0,),)


def test_mixed_lengths_leave_few_cells_empty():
    lengths = np.clip(np.exp(np.random.default_rng(0).normal(4.2, 0.7, 48)).astype(int), 8, 512).tolist()
    cells = sum(batch.width * len(batch.rows) for batch in plan(lengths, 1152))
    assert sum(lengths) / cells > 0.95


@given(st.lists(st.lists(st.integers(1, 20), max_size=4), min_size=1, max_size=6))
def test_a_grid_holds_each_sequence_once_with_positions_of_its_own(row_lengths):
    rows = [[np.arange(10, 10 + length) for length in row] for row in row_lengths]
    grid = pack(rows, 80, first_position=2)
    sequences = [sequence for row in rows for sequence in row]
    assert len(grid.starts) == len(sequences)
    for start, length, sequence in zip(grid.starts, grid.lengths, sequences, strict=True):
        cells = slice(start, start + length)
        assert grid.ids.ravel()[cells].tolist() == sequence.tolist()
        assert grid.positions.ravel()[cells].tolist() == list(range(2, 2 + length))
        assert len(set(grid.segments.ravel()[cells].tolist())) == 1
    assert (grid.segments != EMPTY).sum() == sum(map(len, sequences))
    for row, segments in zip(rows, grid.segments, strict=True):
        assert len(set(segments.tolist()) - {EMPTY}) == len(row)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=200), BUDGETS, st.integers(0, 20))
def test_one_batch_out_of_many_keeps_its_budget_and_holds_the_first(lengths, budget, first):
    first = min(first, len(lengths))
    batch = pick(lengths, budget, first)
    assert len(set(batch.order)) == len(batch.order) > 0
    assert len(batch.rows) == 1 or batch.width * len(batch.rows) <= budget
    assert all(0 < sum(lengths[index] for index in row) <= batch.width for row in batch.rows)
    if first:
        assert 0 in batch.order


def test_one_batch_out_of_many_is_as_full_as_a_plan():
    lengths = np.clip(np.exp(np.random.default_rng(1).normal(4.2, 0.7, 200)).astype(int), 8, 512).tolist()
    batch = pick(lengths, 1152, 3)
    assert {0, 1, 2} <= set(batch.order)
    assert sum(lengths[index] for index in batch.order) / (batch.width * len(batch.rows)) > 0.95
