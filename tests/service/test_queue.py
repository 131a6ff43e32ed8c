"""The queue: every sequence once, queries first without starving bulk, fair shares, a bound that holds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from me5.batching import plan
from me5.service.queue import AGEING, OUTPUTS, RESERVE, Job, Queue

MANY = 10**9
BATCH = 512


def job(*lengths, caller="", urgent=False, output="unit"):
    return Job([np.zeros(length, np.int64) for length in lengths], caller, urgent, output)


def queue(*jobs, max_tokens=MANY, now=0.0):
    made = Queue(max_tokens)
    for one in jobs:
        assert made.add(one, now)
    return made


def drain(waiting, batch_tokens=BATCH, now=0.0):
    works = []
    while (work := waiting.take(batch_tokens, now)) is not None:
        works.append(work)
    return works


JOBS = st.lists(
    st.builds(
        lambda lengths, caller, urgent, output: job(*lengths, caller=caller, urgent=urgent, output=output),
        st.lists(st.integers(1, 300), min_size=1, max_size=30),
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
        st.sampled_from(OUTPUTS),
    ),
    max_size=8,
)


@given(JOBS, st.integers(1, 2000))
def test_every_sequence_comes_out_once_in_batches_that_keep_the_budget(jobs, batch_tokens):
    waiting = queue(*jobs)
    works = drain(waiting, batch_tokens)
    items = Counter((id(one), index) for work in works for one, index in work.items)
    assert items == Counter((id(one), index) for one in jobs for index in range(len(one.lengths)))
    for work in works:
        assert len({one.output for one, _ in work.items}) == 1
        assert len(work.rows) == 1 or work.cells <= batch_tokens
        assert all(sum(one.lengths[index] for one, index in row) <= work.width for row in work.rows)
    assert (waiting.tokens, waiting.jobs) == (0, 0)


@given(JOBS, st.lists(st.tuples(st.sampled_from(["take", "fail", "crash", "cancel"]), st.integers(0, 7))))
def test_what_is_put_back_or_cancelled_leaves_the_books_in_order(jobs, actions):
    waiting, done, cancelled = queue(*jobs), Counter(), set()
    for action, at in actions:
        if action == "cancel" and jobs:
            waiting.cancel(jobs[at % len(jobs)])
            cancelled.add(id(jobs[at % len(jobs)]))
        elif work := waiting.take(BATCH, 0.0):
            if action == "fail" and not work.alone:
                waiting.put_back_alone(work)
            elif action == "crash":
                waiting.put_back(work)
            else:
                done.update((id(one), index) for one, index in work.items)
    for work in drain(waiting):
        assert not any(one.cancelled for one in work.jobs)
        assert not work.alone or len(work.jobs) == 1
        done.update((id(one), index) for one, index in work.items)
    assert (waiting.tokens, waiting.jobs) == (0, 0)
    assert not done or max(done.values()) == 1
    for one in jobs:
        if id(one) not in cancelled:
            assert all(done[id(one), index] for index in range(len(one.lengths)))


def test_a_query_goes_before_bulk_that_came_first():
    bulk, query = job(*[100] * 50), job(20, urgent=True)
    waiting = queue(bulk)
    waiting.take(BATCH, 0.0)
    assert waiting.add(query, 0.0)
    assert query in waiting.take(BATCH, 0.0).jobs


def test_a_batch_that_a_query_waits_for_is_smaller():
    bulk = job(*[100] * 50)
    waiting = queue(bulk)
    alone = waiting.take(BATCH, 0.0)
    waiting.add(job(20, urgent=True), 0.0)
    beside = waiting.take(BATCH, 0.0)
    assert beside.cells <= BATCH / 2 < alone.cells
    assert {one.urgent for one in beside.jobs} == {True, False}
    for _ in range(40):
        waiting.add(job(20, urgent=True), 0.0)
    assert waiting.take(BATCH, 0.0).tokens > BATCH / 2, "many queries fill a whole one"


def test_a_flood_of_queries_does_not_stop_bulk():
    bulk = job(*[100] * 8)
    waiting = queue(bulk)
    served_at = []
    for step in range(400):
        now = step * 0.05  # a batch takes 50 ms, and more queries than it holds come in meanwhile
        assert waiting.add(job(*[64] * 10, urgent=True), now)
        if bulk in waiting.take(BATCH, now).jobs:
            served_at.append(now)
    assert not bulk.waiting
    assert served_at[0] >= AGEING
    assert np.diff([0.0, *served_at]).max() <= 2 * AGEING


def test_an_aged_turn_leaves_the_batch_to_queries():
    bulk = job(*[100] * 50)
    waiting = queue(bulk)
    queries = [job(64, urgent=True) for _ in range(20)]
    for one in queries:
        waiting.add(one, 0.0)
    work = waiting.take(BATCH, AGEING)
    of_bulk = sum(bulk.lengths[index] for one, index in work.items if one is bulk)
    assert 0 < of_bulk <= BATCH / 2
    assert any(one.urgent for one in work.jobs)


def test_callers_get_equal_shares():
    hog, small = job(*[50] * 1000, caller="hog"), job(*[50] * 100, caller="small")
    waiting = queue(hog, small)
    shares = Counter()
    while small.waiting:
        work = waiting.take(BATCH, 0.0)
        for one, index in work.items:
            shares[one.caller] += one.lengths[index]
    assert 0.5 < shares["hog"] / shares["small"] < 2


def test_a_caller_who_comes_late_does_not_catch_up_on_the_past():
    early, late = job(*[50] * 400, caller="early"), job(*[50] * 200, caller="late")
    waiting = queue(early)
    for _ in range(20):
        waiting.take(BATCH, 0.0)
    waiting.add(late, 0.0)
    tokens = Counter()
    for _ in range(10):
        for one, index in waiting.take(BATCH, 0.0).items:
            tokens[one.caller] += one.lengths[index]
    assert tokens["early"] > 0.25 * sum(tokens.values())


def test_requests_of_one_caller_go_in_order_of_arrival():
    jobs = [job(200) for _ in range(12)]
    waiting = queue(*jobs)
    firsts = [work.items[0][0] for work in drain(waiting, 200)]
    assert firsts == jobs


def test_the_bound_holds_and_an_empty_queue_takes_anything():
    waiting = queue(max_tokens=1000)
    assert waiting.add(job(*[500] * 4), 0.0)
    assert not waiting.add(job(1), 0.0)
    assert not waiting.add(job(1, urgent=True), 0.0)
    drain(waiting)
    assert waiting.add(job(int(1000 * (1 - RESERVE))), 0.0)
    assert not waiting.add(job(10, caller="other"), 0.0)
    assert waiting.add(job(10, caller="other", urgent=True), 0.0), "bulk leaves some of the bound to queries"


def test_a_caller_leaves_some_of_the_bound_to_others():
    waiting = queue(max_tokens=1600)
    jobs = [job(100, caller="greedy", urgent=at > 11) for at in range(14)]
    assert [waiting.add(one, 0.0) for one in jobs] == [True] * 13 + [False]
    assert waiting.excess(100, "greedy", urgent=False) == 200
    assert waiting.excess(1600, "greedy", urgent=False) == 1700
    assert waiting.add(job(200, caller="polite"), 0.0)
    assert not waiting.add(job(100, caller="polite"), 0.0)
    waiting.cancel(jobs[0])
    assert waiting.excess(100, "greedy", urgent=True) == 0
    drain(waiting)
    assert waiting.excess(5000, "greedy", urgent=False) == 0


def test_a_job_knows_what_batches_took_of_it():
    one = job(100, 100, 100)
    waiting = queue(one)
    assert one.taken == 0
    waiting.take(100, 0.0)
    assert one.taken == 100
    waiting.cancel(one)
    assert (one.taken, waiting.tokens) == (100, 0)


def test_a_failed_batch_runs_again_request_by_request_before_all_others():
    one, other, later = job(50, 60), job(70), job(80)
    waiting = queue(one, other)
    work = waiting.take(BATCH, 0.0)
    assert set(work.jobs) == {one, other}
    waiting.put_back_alone(work)
    waiting.add(later, 0.0)
    again = drain(waiting)
    assert [set(work.jobs) for work in again] == [{one}, {other}, {later}]
    assert [work.alone for work in again] == [True, True, False]


@pytest.mark.parametrize("requests", [1, 8, 256])
def test_batches_are_as_full_as_the_library_s(requests):
    lengths = np.clip(np.exp(np.random.default_rng(0).normal(4.2, 0.7, 1024)).astype(int), 8, 512)
    waiting = queue(*[job(*part.tolist(), caller=str(at)) for at, part in enumerate(np.array_split(lengths, requests))])
    works = drain(waiting, 1152)
    fill = lengths.sum() / sum(work.cells for work in works)
    planned = lengths.sum() / sum(batch.width * len(batch.rows) for batch in plan(lengths.tolist(), 1152))
    assert fill > 0.97 * planned
