"""The pipeline: the library's vectors for many callers at once, refusals that say why, nothing left of who gave up."""

import asyncio
import threading
import warnings
from contextlib import asynccontextmanager

import numpy as np
import pytest
from checkpoints import SENTENCES, passages
from vectors import ROUNDING

import me5.service.pipeline
from me5 import Embedder, InputError, Report
from me5.prompts import INSTRUCT
from me5.service.errors import DeadlineExceeded, Overloaded, Unhealthy
from me5.service.inputs import Inputs
from me5.service.pipeline import Pipeline
from me5.service.settings import ServiceSettings
from me5.tokenizer import TRUNCATIONS

LONG = " ".join(SENTENCES * 3)


def run(use, **options):
    """Run `use(pipeline)` on a pipeline of the bundled model, or of a fake engine, with further settings."""
    opener = options.pop("opener", None)
    settings = ServiceSettings(precision="f32", threads=1, **options)

    @asynccontextmanager
    async def opened():
        pipeline = Pipeline(settings, **({"opener": opener} if opener else {}))
        await pipeline.start()
        try:
            yield pipeline
        finally:
            await pipeline.stop()

    async def body():
        async with opened() as pipeline:
            return await use(pipeline)

    return asyncio.run(body())


def inputs(pipeline, texts, side="document", task=None, **options):
    """Texts behind the prompt of a side and a task."""
    return Inputs(texts, side, pipeline.prompts.prefix(side, task), **options)


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(precision="f32", threads=1)


def test_vectors_are_the_embedder_s_whoever_else_asks(embedder):
    texts = {side: passages(30 + at) for at, side in enumerate(("query", "document", "both"))}

    async def use(pipeline):
        return await asyncio.gather(*(pipeline.embed(inputs(pipeline, some, side)) for side, some in texts.items()))

    answers = dict(zip(texts, run(use), strict=True))
    expected = {
        "query": embedder.encode_query(texts["query"]),
        "document": embedder.encode_document(texts["document"]),
        "both": embedder.encode(texts["both"]),
    }
    for side, answer in answers.items():
        np.testing.assert_array_equal(answer.vectors, expected[side])
        assert answer.inputs.prompt == embedder.prompts.prefix(side, None)


@pytest.mark.parametrize("policy", [policy for policy in TRUNCATIONS if policy != "error"])
def test_long_texts_are_read_as_the_embedder_reads_them(policy):
    texts, report = [LONG, "short", LONG[: len(LONG) // 2]], Report()
    with warnings.catch_warnings(action="ignore"):
        expected = Embedder.load(precision="f32", threads=1, truncation=policy).encode_document(texts, report=report)

    answer = run(lambda pipeline: pipeline.embed(inputs(pipeline, texts, truncation=policy)))
    np.testing.assert_array_equal(answer.vectors, expected)
    for name in ("tokens", "lost", "chunks"):
        assert list(getattr(answer.usage, name)) == list(getattr(report, name))
    assert (max(answer.usage.chunks) > 1) == (policy == "chunk")


def test_states_and_raw_vectors_are_what_unit_vectors_are_made_of(embedder):
    texts = ["how tall is K2?", LONG]

    async def use(pipeline):
        return [
            await pipeline.embed(inputs(pipeline, texts, output=output, truncation="chunk"))
            for output in ("unit", "raw", "states")
        ]

    unit, raw, states = run(use)
    assert len(states.states) == 2
    assert states.states[0].shape == (states.usage.tokens[0], embedder.dim)
    np.testing.assert_allclose(states.states[0].mean(axis=0), raw.vectors[0], rtol=ROUNDING)
    np.testing.assert_allclose(raw.vectors[0] / np.linalg.norm(raw.vectors[0]), unit.vectors[0], rtol=0, atol=ROUNDING)
    assert not np.isclose(np.linalg.norm(raw.vectors), 2**0.5, atol=0.01)


def test_a_task_changes_the_prompt_where_the_model_takes_one():
    async def use(pipeline):
        return [await pipeline.embed(inputs(pipeline, ["K2"], "query", task)) for task in (None, "bitext")]

    first, second = run(use, prompts="instruct", opener="engines:fake")
    assert (first.inputs.prompt, second.inputs.prompt) == (
        INSTRUCT.prefix("query", None),
        INSTRUCT.prefix("query", "bitext"),
    )
    assert first.usage.tokens != second.usage.tokens


def test_no_text_needs_no_engine(embedder):
    answer = run(lambda pipeline: pipeline.embed(inputs(pipeline, [])), opener="engines:fake")
    assert answer.vectors.shape == (0, embedder.dim)


def test_a_text_that_is_none_is_named():
    with pytest.raises(InputError, match="text 1"):
        run(lambda pipeline: pipeline.embed(inputs(pipeline, ["fine", "\ud800"])), opener="engines:fake")


def test_a_text_that_may_not_be_cut_is_refused():
    with pytest.raises(InputError, match=r"text 1 .*tokens"):
        run(
            lambda pipeline: pipeline.embed(inputs(pipeline, ["fine", LONG], truncation="error")), opener="engines:fake"
        )


def test_requests_have_a_bound_in_tokens_and_in_bytes_of_states():
    async def tokens(pipeline):
        await pipeline.embed(inputs(pipeline, ["one two three"] * 20))

    with pytest.raises(InputError, match="the service takes 50; send fewer texts at a time"):
        run(tokens, max_request_tokens=50, opener="engines:fake")

    async def states(pipeline):
        await pipeline.embed(inputs(pipeline, [LONG] * 200, output="states"))

    with pytest.raises(InputError, match="bytes, the service takes"):
        run(states, opener="engines:fake")


@pytest.mark.usefixtures("gate")
def test_a_request_past_its_time_is_given_up_and_forgotten():
    async def use(pipeline):
        with pytest.raises(DeadlineExceeded, match=r"not ready in 0\.2 seconds"):
            await pipeline.embed(inputs(pipeline, ["one"] * 2000, timeout=0.2))
        return pipeline.load().tokens

    assert run(use, opener="engines:fake", drain=0) == 0


@pytest.mark.usefixtures("gate")
def test_who_gives_up_leaves_nothing_in_the_queue():
    async def use(pipeline):
        asked = asyncio.create_task(pipeline.embed(inputs(pipeline, ["one"] * 2000)))
        while not pipeline.load().tokens:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return pipeline.load().tokens

    assert run(use, opener="engines:fake", drain=0) == 0


def test_more_than_may_wait_is_refused(gate):
    async def use(pipeline):
        asked = [asyncio.create_task(pipeline.embed(inputs(pipeline, ["one two three"] * 100))) for _ in range(30)]
        while not any(task.done() for task in asked):  # only a refusal can be
            await asyncio.sleep(0.01)
        gate.touch()
        results = await asyncio.gather(*asked, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Overloaded)]
        served = [result for result in results if not isinstance(result, Exception)]
        assert refused
        assert served
        assert len(refused) + len(served) == len(results)
        assert all(error.retry_after >= 1 for error in refused)

    run(use, max_queue_tokens=4000, max_request_tokens=4000, opener="engines:fake")


def test_a_query_overtakes_bulk_work(gate):
    async def use(pipeline):
        order = []

        async def ask(name, *texts_and_side):
            await pipeline.embed(inputs(pipeline, *texts_and_side))
            order.append(name)

        bulk = asyncio.create_task(ask("bulk", ["one two three"] * 400))
        while not pipeline.load().running:
            await asyncio.sleep(0.01)
        query = asyncio.create_task(ask("query", ["K2"], "query"))
        while pipeline.load().requests < 2:
            await asyncio.sleep(0.01)
        gate.touch()
        await asyncio.gather(bulk, query)
        return order

    assert run(use, opener="engines:slow_as_wide") == ["query", "bulk"]


def test_stopping_finishes_what_was_asked_and_refuses_the_rest(gate, monkeypatch):
    assemble, stopped = me5.service.pipeline._assemble, threading.Event()

    def late(*arguments):  # the last answers are put together when all else has ended
        assert stopped.wait(60)
        return assemble(*arguments)

    monkeypatch.setattr(me5.service.pipeline, "_assemble", late)

    async def body():
        pipeline = Pipeline(ServiceSettings(threads=1), opener="engines:fake")
        await pipeline.start()
        asked = asyncio.gather(*(pipeline.embed(inputs(pipeline, ["one"] * 200)) for _ in range(4)))
        while pipeline.load().requests < 4:
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(pipeline.stop())
        while pipeline.healthy:
            await asyncio.sleep(0.01)
        with pytest.raises(Unhealthy, match="draining"):
            await pipeline.embed(inputs(pipeline, ["late"]))
        gate.touch()
        await stopping
        stopped.set()
        assert [answer.vectors.shape for answer in await asked] == [(200, pipeline.dim)] * 4

    asyncio.run(body())


def test_tokens_show_the_prompt_and_what_is_cut():
    async def use(pipeline):
        return pipeline.prompts.prefix("query", None), await pipeline.tokens(inputs(pipeline, ["K2", LONG], "query"))

    prompt, (short, long) = run(use, opener="engines:fake")
    assert prompt
    of_prompt = [token for token in short if token.prompt]
    assert max(token.end for token in of_prompt) <= len(prompt)
    assert all(token.end > len(prompt) for token in short if not token.prompt and not token.special)
    assert not any(token.lost for token in short)
    assert sum(token.lost for token in long) > 0
