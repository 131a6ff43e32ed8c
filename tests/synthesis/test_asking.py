"""Asking a chat model: limits, retries, refusals, budgets, and servers that die."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from chatserver import prompt_of

from me5.data.contract import Document
from me5.errors import InputError, Me5Warning, ServiceError
from me5.synthesis.asking import Pace
from me5.synthesis.budget import Limits, bound
from me5.synthesis.log import NAME, Answer, open_log
from me5.synthesis.planning import Plan, QuestionPlan
from me5.synthesis.requests import Manners

_log = logging.getLogger(__name__)


def answered(folder):
    """The prompts' keys that a log holds answers to."""
    lines = (folder / "answers" / NAME).read_text("utf-8").splitlines()
    return [line["key"] for line in map(json.loads, lines) if line["at"] == "answer"]


def test_requests_in_flight_are_bounded_and_carry_the_key(run, chat):
    chat.delay = 0.02
    run(manners=Manners(at_once=3))
    assert chat.most == 3
    assert {headers["authorization"] for headers in chat.headers} == {"Bearer secret"}
    assert {body["temperature"] for body in chat.bodies} == {1.0}
    assert {body["response_format"]["type"] for body in chat.bodies} == {"json_schema"}
    schemas = {body["response_format"]["json_schema"]["name"]: body for body in chat.bodies}
    assert set(schemas) == {"tasks", "short_long", "long_short", "short_short", "long_long", "similarity"}


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_may_pass_is_tried_again(run, chat, status):
    chat.fault = lambda number, body: status if number in (2, 9) else None
    result = run()
    assert (result.asked.failed, result.asked.exhausted) == (0, False)
    assert result.report.total.answers == result.report.total.requests
    assert sum(chat.asked.values()) == sum(chat.answered.values()) + 2


def test_requests_keep_their_distance_and_rest_when_told():
    now, sent, rests = 100.0, [], [20]

    async def sleep(seconds):
        nonlocal now
        now += seconds
        if len(sent) == 3 and rests:
            pace.rest(rests.pop())  # another request was told to wait, while this one slept

    async def send(count):
        for _ in range(count):
            await pace.turn()
            sent.append(now)

    pace = Pace(per_minute=30, clock=lambda: now, sleep=sleep)
    asyncio.run(send(3))
    assert sent == [100, 102, 104]
    pace.rest(7)
    asyncio.run(send(2))
    assert sent[3:] == [131, 133]


def test_retry_after_is_waited_for(run, chat, caplog):
    reply = {"status": 429, "headers": {"retry-after": "0.3"}, "body": {"error": {"message": "slow down"}}}
    chat.fault = lambda number, body: reply if number == 3 else None
    assert run(manners=Manners(at_once=4, retries=1)).asked.failed == 0
    (line,) = [record.getMessage() for record in caplog.records if "slow down" in record.getMessage()]
    assert float(line.split()[-2]) >= 0.3


def test_a_connection_that_breaks_is_counted_and_tried_again(run, chat, tmp_path):
    chat.fault = lambda number, body: "drop" if number == 3 else None
    assert run().asked.failed == 0
    lines = [json.loads(line) for line in (tmp_path / "job" / "answers" / NAME).read_text().splitlines()]
    (lost,) = [line for line in lines if line["at"] == "lost"]
    assert lost["tokens_bound"][1] == 500, "an answer may have been written, and paid for"


def test_an_answer_that_does_not_come_is_left_to_the_next_run(run, chat):
    """Another try at once would only be one more for a server that is too slow."""
    slow, plan = threading.Event(), Plan(20, kinds=("similarity",), languages=("en",))
    chat.fault = lambda number, body: slow.wait(60) and None if number == 3 else None
    try:
        result = run(timeout=3.0, plan=plan)
    finally:
        slow.set()
    assert result.asked.failed == 1
    assert re.search("ReadTimeout.*at once.*longer timeout", result.asked.reason)
    assert (result.report.total.answers, chat.asked.total()) == (19, 20)
    assert run(plan=plan).report.total.answers == 20
    assert chat.asked.total() == 21


def test_a_request_that_fails_for_good_is_left_out_and_asked_by_the_next_run(run, chat):
    seen = []

    def fault(number, body):
        if '"S1"' in prompt_of(body):
            seen.append(prompt_of(body))
            return 500 if prompt_of(body) == seen[0] else None
        return None

    chat.fault = fault
    result = run()
    assert result.asked.failed == 1
    assert "500" in result.asked.reason
    assert result.report.total.answers == result.report.total.requests - 1
    chat.fault = lambda number, body: None
    before = Counter(chat.answered)
    assert run().report.total.answers == result.report.total.requests
    assert chat.answered - before == Counter({seen[0]: 1})


def test_a_server_that_dies_ends_the_run_and_nothing_is_asked_twice(run, chat, tmp_path):
    chat.fault = lambda number, body: 503 if number > 15 else None
    with pytest.raises(ServiceError, match="503"):
        run()
    assert not (tmp_path / "out").exists()
    had = len(answered(tmp_path / "job"))
    assert 12 <= had <= 15
    known = Counter(chat.answered)
    chat.fault = lambda number, body: None
    result = run()
    assert result.report.total.answers == result.report.total.requests
    assert all(chat.answered[prompt] == number or prompt not in known for prompt, number in known.items())
    assert len(answered(tmp_path / "job")) == len(set(answered(tmp_path / "job"))) == result.report.total.answers


def test_a_server_that_is_not_there(run, chat):
    chat.address = "http://127.0.0.1:9/v1"
    with pytest.raises(ServiceError, match="is the chat model's server running there"):
        run(manners=Manners(at_once=2, retries=0))


def test_why_no_answer_came_is_told(run, chat):
    chat.fault = lambda number, body: 503
    plan = QuestionPlan(
        (Document("Tea is a drink that is made from leaves, boiling water and quite some patience."),), ("en",)
    )
    with pytest.raises(InputError, match=r"no answer came \(.*503.*\)"):
        run(plan=plan, manners=Manners(at_once=1, retries=0))


@pytest.mark.parametrize(("status", "hint"), [(401, "the key is wrong"), (404, "GET /v1/models"), (400, "status 400")])
def test_what_would_be_refused_always_ends_the_run(run, chat, status, hint):
    chat.fault = lambda number, body: status
    with pytest.raises((ServiceError, InputError), match=hint):
        run(manners=Manners(at_once=1, retries=5))
    assert sum(chat.asked.values()) == 1


def test_what_is_no_chat_ends_the_run(run, chat):
    chat.fault = lambda number, body: {"body": "<html>Please accept our terms</html>"}
    with pytest.raises(ServiceError, match=r"not a chat completion.*--endpoint"):
        run(manners=Manners(at_once=1))
    assert sum(chat.asked.values()) == 3


def test_a_refusal_of_one_request_is_final(run, chat):
    def fault(number, body):
        refusal = {"error": {"message": "This prompt is not allowed", "code": "content_filter"}}
        return {"status": 400, "body": refusal} if number in (1, 20) else None

    chat.fault = fault
    result = run()
    assert result.report.total.refused["the model refuses"] == 2
    chat.fault = lambda number, body: None
    before = sum(chat.asked.values())
    assert run().report.total.refused == result.report.total.refused
    assert sum(chat.asked.values()) == before


def test_servers_without_schemas_are_asked_in_the_way_that_they_know(run, chat):
    """From a schema to JSON mode, from there to plain text; each is said once."""

    def fault(number, body):
        form = body.get("response_format", {}).get("type")
        message = {"json_schema": "json_schema is not supported", "json_object": "response_format is unknown"}.get(form)
        return {"status": 400, "body": {"error": {"message": message}}} if message else None

    chat.fault = fault
    with pytest.warns(Me5Warning, match="refused a parameter") as said:
        result = run()
    told = [str(one.message) for one in said]
    assert ["plain JSON mode" in one for one in told] == [True, False]
    assert "without a format" in told[1]
    assert result.report.total.answers == result.report.total.requests
    assert "JSON schema" in prompt_of(chat.bodies[-1])
    assert "response_format" not in chat.bodies[-1]


def test_parameters_that_a_server_does_not_know_are_left_out(run, chat):
    def fault(number, body):
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        elif "temperature" in body:
            message = "Unsupported value: 'temperature' does not support 1.0 with this model."
        else:
            return None
        return {"status": 400, "body": {"error": {"message": message}}}

    chat.fault = fault
    with pytest.warns(Me5Warning) as said:
        run(manners=Manners(at_once=4, retries=0))
    assert len(said) == 2
    assert set(chat.bodies[-1]) == {"model", "messages", "max_completion_tokens", "top_p", "response_format"}


def test_the_number_of_requests_is_kept_over_all_runs(run, chat):
    result = run(limits=Limits(max_requests=20))
    assert sum(chat.asked.values()) == 20
    assert result.asked.exhausted
    assert 0 < result.report.total.kept < 30
    assert run(limits=Limits(max_requests=20)).report.total == result.report.total
    assert sum(chat.asked.values()) == 20
    assert run(limits=Limits(max_requests=100)).report.total.kept == 30
    assert sum(chat.asked.values()) == run(replay=True).report.total.requests


@pytest.mark.parametrize("counted", [True, False])
def test_the_cost_is_never_above_its_limit(run, chat, counted):
    chat.usage = counted
    limits = Limits(1.0, 10.0, max_cost=0.05)
    result = run(limits=limits, answer_tokens=300)
    assert result.asked.exhausted
    assert 0 < result.report.total.cost <= 0.05
    assert bool(result.report.total.uncounted) != counted
    assert run(limits=limits, answer_tokens=300).report.total.cost == result.report.total.cost
    dearest = bound((prompt_of(chat.bodies[-1]) * 2, "s" * 2000), 300)
    assert result.report.total.cost > 0.05 - limits.cost(*dearest) or not counted
    with pytest.raises(InputError, match="--price-in and --price-out"):
        Limits(max_cost=1.0)


def test_a_budget_that_ends_before_the_first_answer(run):
    with pytest.raises(InputError, match="the budget ended before the first answer"):
        run(limits=Limits(max_requests=0))


def test_a_log_with_half_a_line_is_mended_and_a_damaged_one_refused(tmp_path):
    first, second = (Answer("0" * 31 + digit, f"answer {digit} \ud800 ü", tokens_in=3, tokens_out=4) for digit in "12")
    with open_log(tmp_path) as log:
        log.add(first)
        log.add_lost("0" * 32, "500", (5, 0))
        with pytest.raises(InputError, match="another process"), open_log(tmp_path):
            pass
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"at": "answer", "key"')
    with open_log(tmp_path) as log:
        assert (len(log), log.tries, log.tokens_in, log.tokens_out) == (1, 2, 8, 4)
        log.add(second)
        assert (log.get(first.key), log.get(second.key), log.get("f" * 32)) == (first, second, None)
    assert len((tmp_path / NAME).read_bytes().splitlines()) == 3
    (tmp_path / NAME).write_bytes(b'{"at": "answer"}\n')
    with pytest.raises(InputError, match="line 1"), open_log(tmp_path):
        pass


# More by hand: ME5_TEST_KILLS=20, and --log-cli-level INFO shows the figures.
KILLS = int(os.environ.get("ME5_TEST_KILLS", "2"))


def test_kill_9_loses_no_answer(run, chat, tmp_path):
    """What the log held at a kill is never asked for again, and the result is that of a run that nobody killed."""
    chat.delay, chat.turns = 0.02, False
    whole = run("whole", job="whole.job", plan=Plan(60, languages=("en",)), answer_tokens=2048).dataset.folder
    asked = chat.asked.total()
    chat.asked.clear()
    chat.answered.clear()
    killed = tmp_path / "killed"
    command = [
        sys.executable, "-m", "me5", "data", "synthesize", "--endpoint", chat.address, "--model", "stand-in", "-n",
        "60", "--languages", "en", "--no-judge", "--at-once", "3", "-o", str(killed), "--quiet",
    ]  # fmt: skip
    for kill in range(KILLS):
        goal = asked * (kill + 1) // (KILLS + 1)
        process = subprocess.Popen(command)
        while process.poll() is None and chat.answered.total() < goal:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -9
    subprocess.run(command, check=True)
    keys = answered(tmp_path / "killed.job")
    _log.info("%d kills: %d answers, %d requests, %d without a kill", KILLS, len(keys), chat.asked.total(), asked)
    assert len(keys) == len(set(keys)) == asked, "no request was asked for again after its answer was logged"
    assert chat.asked.total() - asked <= 3 * KILLS, "only what was in flight was asked for again"
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in killed.iterdir())
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
