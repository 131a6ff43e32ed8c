"""What operators meet: keys that are none, keys that change, an engine that stops, a log that others write into."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from hashlib import sha256

import pytest
from engines import ids
from prometheus_client.parser import text_string_to_metric_families
from test_logs import logging_to_memory
from waiting import PATIENCE, until

from me5 import InputError
from me5.cli import serve
from me5.errors import EngineWarning
from me5.service import dispatch, logs
from me5.service.auth import Key, Keys, read_keys
from me5.service.dispatch import Dispatcher
from me5.service.errors import RateLimited, Unauthorized
from me5.service.metrics import Metrics
from me5.service.queue import EngineBatch, Job
from me5.service.record import RequestRecord
from me5.service.server import reload_keys
from me5.service.settings import ServiceSettings
from me5.service.worker import EngineOptions

HASH = sha256(b"secret").hexdigest()


@pytest.mark.parametrize("listed", ["", ",", " ", " , ,", "\t\n", "#secret", "#", "good,#commented", " #a , #b"])
def test_a_variable_without_keys_is_refused(listed):
    with pytest.raises(InputError, match="ME5_KEYS"):
        read_keys(None, listed, None)


@pytest.mark.parametrize("content", ["", "\n\n", " \t\n", "#secret", "# one\n  # two\n", "\ufeff\n", "\ufeff#a"])
def test_a_file_without_keys_is_refused(tmp_path, content):
    file = tmp_path / "keys"
    file.write_text(content, "utf-8")
    with pytest.raises(InputError, match="holds no key, which would leave the service open"):
        read_keys(file, None, None)
    with pytest.raises(InputError, match="holds no key"):
        read_keys(file, "another", None)


@pytest.mark.parametrize("line", [f"a:{HASH[:-1]}", f"a:{HASH}0", f"a:{HASH}:0", f"a:{HASH}:many", f"a:{HASH}:"])
def test_what_is_almost_a_hash_is_refused_and_not_taken_for_a_key(tmp_path, line):
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{line}\n")
    with pytest.raises(InputError, match=r"entry 2 of the key file .* is not name:sha256") as caught:
        read_keys(file, None, None)
    assert HASH[:20] not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    file = tmp_path / "keys"
    file.write_text("\ufeffplain-key\n", "utf-8")
    assert read_keys(file, None, None).find({"x-api-key": "plain-key"}).name == "key-1"


def test_the_service_does_not_start_with_keys_that_are_none():
    command = [sys.executable, "-m", "me5", "serve", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"ME5_KEYS": ","})
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stderr)["message"].startswith("the variable ME5_KEYS holds no key")


@pytest.mark.parametrize("variable", ["ME5_KEYS", "ME5_KEYS_FILE"])
def test_a_variable_that_is_empty_does_not_open_the_service(monkeypatch, variable):
    monkeypatch.setenv(variable, "")
    with pytest.raises(InputError, match=f"the variable {variable} is set and empty"):
        serve._settings({})


def allowed(keys, key):
    try:
        return keys.find({"x-api-key": key}).name
    except Unauthorized:
        return None


def test_keys_are_read_again_and_what_they_used_is_kept(tmp_path, caplog):
    file = tmp_path / "keys"
    file.write_text(f"old-key\nsearch:{HASH}:60\n")
    settings = ServiceSettings(keys_file=file, keys="fixed")
    keys = read_keys(file, settings.keys, None)
    spent = keys.find({"x-api-key": "secret"})
    keys.allowance(spent).take(60)
    file.write_text(f"# changed\nnew-key\nsearch:{HASH}:60\n")
    with caplog.at_level("INFO"):
        reload_keys(keys, settings)
    assert [allowed(keys, key) for key in ("old-key", "new-key", "secret", "fixed")] == [
        None,
        "key-2",
        "search",
        "key-3",
    ]
    with pytest.raises(RateLimited):
        keys.allowance(keys.find({"x-api-key": "secret"})).admit()
    assert "3 keys are known" in caplog.text
    assert "new-key" not in caplog.text


@pytest.mark.parametrize("content", ["", "# none\n", f"a:{HASH}\na:{HASH}\n", f"a:{HASH[:-1]}\n", None])
def test_a_bad_key_file_changes_nothing(tmp_path, caplog, content):
    file = tmp_path / "keys"
    file.write_text("old-key\n")
    keys = read_keys(file, None, None)
    file.unlink()
    if content is not None:
        file.write_text(content)
    reload_keys(keys, ServiceSettings(keys_file=file))
    assert allowed(keys, "old-key") == "key-1"
    assert "the keys stay as they were" in caplog.text


def test_a_key_with_another_limit_begins_anew():
    keys = Keys((Key("one", b"", 60),))
    keys.allowance(Key("one", b"", 60)).take(60)
    keys.become(Keys((Key("one", b"", 6000),)))
    keys.allowance(Key("one", b"", 6000)).admit()


@pytest.fixture
def engine(tmp_path):
    """A dispatcher over an engine that does as it is told."""
    made = Dispatcher(EngineOptions(str(tmp_path), "test", opener="engines:slow"), max_tokens=10_000)
    made.start()
    yield made
    made.stop(0)


def test_an_engine_that_was_stopped_is_replaced_also_while_it_works(engine):
    before = engine.worker_pid
    os.kill(before, signal.SIGSTOP)
    until(lambda: engine.worker_pid not in (None, before) and engine.state == "ready")
    over, errors = threading.Event(), []
    job = Job([ids(1)] * 600, done=lambda error: (errors.append(error), over.set()))
    engine.submit(job)
    until(lambda: engine.load().running)
    os.kill(engine.worker_pid, signal.SIGSTOP)
    assert over.wait(PATIENCE)
    assert errors == [None]
    assert len(job.rows) == 600


def batch(cells):
    job = Job([ids(*range(cells))])
    return EngineBatch(cells, (((job, 0),),))


def test_the_patience_with_a_batch_follows_what_it_should_take(tmp_path):
    one = Dispatcher(EngineOptions(str(tmp_path), "test"), max_tokens=100)
    assert dispatch.LEAST_PATIENCE < one._patience(batch(16)) < one._patience(batch(1024)) < dispatch.PATIENCE
    assert one._patience(batch(100_000)) == dispatch.PATIENCE
    one._tokens, one._seconds = 1000.0, 1.0
    assert one._patience(batch(1000)) == dispatch.LEAST_PATIENCE + dispatch.SLACK
    on_gpu = Dispatcher(EngineOptions(str(tmp_path), "test", device="cuda"), max_tokens=100)
    assert on_gpu._patience(batch(16)) == dispatch.PATIENCE


def access_line(style, **fields):
    with logging_to_memory(style, "info") as stream:
        logs.access(RequestRecord("r1", "POST", route="/embed", status=200, **fields))
    return stream.getvalue()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x85", "\u2028", "\x0b", "\x1b[2K\r"], ids=ascii)
def test_a_caller_cannot_write_lines_of_its_own(end):
    forged = f"me{end}00:00:00 info POST /embed 200"
    (line,) = access_line("text", caller=forged).splitlines()
    assert line.count("POST /embed 200") == 2
    assert f"caller={json.dumps(forged)}" in line
    (line,) = access_line("json", caller=forged).splitlines()
    assert json.loads(line)["caller"] == forged


def test_a_message_stays_on_its_line():
    with logging_to_memory("text", "info") as stream:
        logging.getLogger("me5").warning("no file %s", "a\nb\x1b[1m é 次")
    assert stream.getvalue().splitlines() == [stream.getvalue().rstrip("\n")]
    assert r"a\nb\x1b[1m é 次" in stream.getvalue()


def test_warnings_are_lines_of_the_log():
    with warnings.catch_warnings(), logging_to_memory("json", "info") as stream:
        warnings.simplefilter("always")
        warnings.warn("slower than it could be", EngineWarning, stacklevel=1)
        warnings.warn("a text of a caller", UserWarning, stacklevel=1)
    ours, other = map(json.loads, stream.getvalue().splitlines())
    assert ours["message"] == "slower than it could be"
    assert other["message"].startswith("UserWarning at ")
    assert "a text of a caller" not in stream.getvalue()


def test_people_are_written_to_on_a_terminal_only():
    assert logs.for_people("text")
    assert not logs.for_people("json")
    assert not logs.for_people("auto", io.StringIO())


def test_what_the_engines_libraries_write_is_a_line_of_the_log(tmp_path, caplog):
    engine = Dispatcher(EngineOptions(str(tmp_path), "test", opener="engines:no_such_opener"), max_tokens=10)
    with pytest.raises(Exception, match="while it loaded the model"):
        engine.start()
    until(lambda: "engine: AttributeError" in caplog.text)


def test_keys_are_counted_by_name_and_addresses_are_not():
    metrics = Metrics()
    metrics.finished(RequestRecord("r1", "POST", route="/embed", status=200, caller="team", key="team"))
    metrics.finished(RequestRecord("r2", "POST", route="/embed", status=429, caller="team", key="team"))
    metrics.finished(RequestRecord("r3", "POST", route="/embed", status=200, caller="192.0.2.1"))
    families = text_string_to_metric_families(metrics.render().decode())
    found = {(s.name, *s.labels.values()): s.value for f in families for s in f.samples if s.name.startswith("me5_key")}
    assert found == {
        ("me5_key_requests_total", "team", "200"): 1,
        ("me5_key_requests_total", "team", "429"): 1,
        ("me5_key_tokens_total", "team"): 0,
    }
