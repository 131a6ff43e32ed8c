"""me5.Client and me5.AsyncClient against live services: vectors, reports and errors of `Embedder`; real refusals."""

import asyncio
import logging
import re
import time

import numpy as np
import pytest
from truth import ALL_OF_IT, LIMITED, SIDES, TEXTS, assert_same, embedder, expected

from me5 import AsyncClient, Client, InputError, Me5Warning, Report, ServiceError, TruncationWarning

METHODS = {"query": "encode_query", "document": "encode_document", "both": "encode"}
LONG = ["short", "long " * 600, "also short", "longer " * 1200]


def threads(server, method, *args, options=None, **keywords):
    with Client(server.url, **{"api_key": server.key, **(options or {})}) as client:
        return getattr(client, method)(*args, **keywords)


def loop(server, method, *args, options=None, **keywords):
    async def call():
        async with AsyncClient(server.url, **{"api_key": server.key, **(options or {})}) as client:
            return await getattr(client, method)(*args, **keywords)

    return asyncio.run(call())


@pytest.fixture(params=[threads, loop], ids=["threads", "asyncio"])
def ask(request):
    """`ask(server, "encode_query", texts, options={"retries": 0})` through either client."""
    return request.param


def test_the_sides_differ():
    for one, other in (("query", "document"), ("query", "both"), ("document", "both")):
        assert (np.abs(expected(one) - expected(other)).max(axis=1) > 0.01).all()


@pytest.mark.parametrize("side", SIDES)
def test_vectors_are_the_embedders(ask, server, side):
    assert_same(ask(server, METHODS[side], TEXTS), expected(side))
    assert_same(ask(server, METHODS[side], TEXTS[0], report=Report()), expected(side)[:1])
    assert_same(ask(server, METHODS[side], iter(TEXTS), options={"batch_size": 1}), expected(side))


@pytest.mark.parametrize("side", ["query", "both"])
@pytest.mark.parametrize("task", ["bitext", "Given a text, find its recipe"])
def test_tasks_are_the_embedders(ask, server, side, task):
    vectors = ask(server, METHODS[side], TEXTS, task=task)
    assert_same(vectors, getattr(embedder(), METHODS[side])(TEXTS, task=task))
    assert np.abs(vectors - expected(side)).max() > 0.01


@pytest.mark.parametrize("truncation", ["end", "start", "chunk"])
@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_reports_are_the_embedders(ask, server, truncation):
    ours, theirs = Report(), Report()
    texts = LONG * 2
    vectors = ask(server, "encode_document", texts, report=ours, options={"truncation": truncation, "batch_size": 3})
    local = embedder()
    prepared = local.prepare(texts, "document", truncation=truncation)
    theirs.add(prepared.report)
    assert_same(vectors, local.run(prepared))
    assert (ours.tokens, ours.lost, ours.chunks) == (theirs.tokens, theirs.lost, theirs.chunks)
    assert ours.truncated == ([] if truncation == "chunk" else [1, 3, 5, 7])
    assert max(ours.chunks) == (3 if truncation == "chunk" else 1)
    assert str(ours) == str(theirs)


def test_truncation_is_told(ask, server):
    with pytest.warns(TruncationWarning, match=r"cut: 2 of 4 \(among items 0 to 3\)"):
        ask(server, "encode_document", LONG)
    with pytest.raises(InputError, match=r"text 1 .*\(counted from item 2 of the input\)"):
        ask(server, "encode_document", LONG[2:3] * 2 + LONG[:2], options={"truncation": "error", "batch_size": 2})


def test_large_inputs_come_back_in_order(ask, server):
    texts = [f"number {number} " + "of many " * (number % 20) for number in range(300)]
    options = {"batch_size": 50}
    assert_same(ask(server, "encode_document", iter(texts), options=options), embedder().encode_document(texts))


def test_info_and_no_texts(ask, server):
    info = ask(server, "info")
    local = embedder()
    assert (info["model_id"], info["dim"], info["precision"]) == ("me5-small", local.dim, local.precision)
    assert info["max_input_length"] == local.max_seq_length
    assert ask(server, "encode_query", []).shape == (0, local.dim)
    with Client(server.url) as client:
        assert client.dim == local.dim


def test_what_cannot_be_embedded_is_refused_as_the_embedder_refuses_it(ask, server):
    with pytest.raises(InputError, match="unknown task 'nonsense'"):
        ask(server, "encode_query", TEXTS, task="nonsense")
    with pytest.raises(InputError, match="text 1 is None"):
        ask(server, "encode_query", ["a", None])
    with pytest.raises(InputError, match=r"'query' and .*'document'"):
        ask(server, "encode_document", TEXTS, options={"model": "me5-small:query"})
    with pytest.raises(InputError, match=r"at most 2,048 are read at once"):
        ask(server, "encode_document", ["a"] * 2100, options={"batch_size": 2100})


def test_models_that_are_not_there(ask, server, narrow_server):
    with pytest.raises(ServiceError, match=r"there is no model 'other' here.*, after 1 try") as caught:
        ask(server, "encode_query", TEXTS, options={"model": "other"})
    assert caught.value.status == 404
    with pytest.warns(Me5Warning, match="the service says: there is no model 'other' here.*: me5-small answered"):
        assert_same(ask(narrow_server, "encode_query", TEXTS, options={"model": "other"}), expected("query"))


def test_keys(ask, locked_server, monkeypatch):
    assert_same(ask(locked_server, "encode_query", TEXTS), expected("query"))
    monkeypatch.setenv("ME5_API_KEY", locked_server.key)
    assert_same(ask(locked_server, "encode_query", TEXTS, options={"api_key": None}), expected("query"))
    for wrong in ("wrong", ""):
        with pytest.raises(ServiceError, match="Pass api_key=…, or set ME5_API_KEY") as caught:
            ask(locked_server, "encode_query", TEXTS, options={"api_key": wrong})
        assert (caught.value.status, caught.value.tries) == (401, 1)


def test_retry_after_of_a_used_up_key_is_waited_for(ask, narrow_server, caplog):
    options = {"api_key": LIMITED[ask is loop], "truncation": "error"}
    ask(narrow_server, "encode_document", ALL_OF_IT, options=options)
    with pytest.raises(ServiceError, match=r"of its 900 tokens per minute left.* come back in \d+ s") as caught:
        ask(narrow_server, "encode_document", ALL_OF_IT, options={**options, "retries": 0})
    assert caught.value.status == 429
    with caplog.at_level(logging.WARNING, "me5.client"):
        assert_same(ask(narrow_server, "encode_query", TEXTS, options={**options, "retries": 1}), expected("query"))
    assert len(caplog.records) <= 1  # none where all took longer than the key needs


def test_an_overloaded_service_is_asked_again_until_all_is_done(narrow_server, caplog):
    texts = [f"{number} " + "of many " * 45 for number in range(120)]
    options = {"batch_size": 15, "retries": 10}
    with caplog.at_level(logging.WARNING, "me5.client"):
        vectors = loop(narrow_server, "encode_document", texts, options=options)
    assert_same(vectors, embedder().encode_document(texts))
    assert any("429" in record.message for record in caplog.records)


def test_asyncio_takes_several_calls_at_once(server):
    async def call():
        async with AsyncClient(server.url) as client:
            calls = [getattr(client, METHODS[side])(TEXTS) for side in SIDES * 20]
            return await asyncio.gather(*calls)

    for side, vectors in zip(SIDES * 20, asyncio.run(call()), strict=True):
        assert_same(vectors, expected(side))


def test_a_call_that_is_cancelled_leaves_nothing_behind(server):
    def metric(line):
        with server.client() as http:
            told = http.get("/metrics").text
        return float((re.search(rf"^{line} (\S+)$", told, re.MULTILINE) or [0, 0])[1])

    def gone():
        return metric(r'me5_errors_total\{kind="client_gone".*\}')

    async def call():
        async with AsyncClient(server.url, batch_size=128) as client:
            work = asyncio.create_task(client.encode_document(["of many " * 200] * 2000))
            while not await asyncio.to_thread(metric, "me5_queue_tokens"):
                await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return await client.encode_query(TEXTS)

    before = gone()
    assert_same(asyncio.run(call()), expected("query"))
    deadline = time.monotonic() + 60
    while gone() == before:
        assert time.monotonic() < deadline, "the service never noticed"
        time.sleep(0.05)
