"""Downloads, against a stand-in for the hub: what is fetched, what is kept, and what is said when it fails.

huggingface_hub reads its settings when it is imported. So every load runs in a process of its own: a fork of one that
has imported everything else.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from checkpoints import XLMR
from hubserver import MAIN, Hub

from me5 import catalog

NEEDED = {
    "config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "model.safetensors",
}  # fmt: skip
DECOYS = {
    "pytorch_model.bin": b"a pickle", "onnx/model.onnx": b"a graph", "onnx/config.json": b"{}", "README.md": b"#",
    "openvino/openvino_model.bin": b"weights", ".gitattributes": b"", "tf_model.h5": b"", "training_args.bin": b"",
    "onnx/model.safetensors": b"",
}  # fmt: skip
OWN = "someone/tiny"
KNOWN = catalog.BY_ID["intfloat/multilingual-e5-small"]

# Answers each line (environment, model, revision) with what a load prints, and its exit status.
LOADER = """
import importlib, json, os, signal, sys, time, traceback
time.sleep = lambda seconds: None  # huggingface_hub waits a second before each new try
from me5 import Embedder, Me5Error
for name in ("huggingface_hub.file_download", "me5.engine.openvino", "me5.hub", "safetensors", "tokenizers"):
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
    del sys.modules[name]  # what it imports stays

def load(model, revision):
    if model == "cached":
        from me5.hub import cached
        print("cached:", cached(revision))
        return
    try:
        embedder = Embedder.load(model, revision=revision or None, precision="f32", prompts="none")
        print("loaded", embedder.checkpoint.name, "from", embedder.checkpoint.path, embedder.encode("ok").shape)
    except Me5Error as error:
        print(f"{type(error).__name__}: {error}")

for line in sys.stdin:
    assert "huggingface_hub" not in sys.modules
    environment, model, revision = json.loads(line)
    if os.fork() == 0:
        signal.alarm(120)
        os.environ.update(environment)
        try:
            load(model, revision)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            os._exit(1)
        finally:
            sys.stdout.flush()
        os._exit(0)
    _, status = os.wait()
    print("ended with", os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Machine:
    """A machine with an empty cache and nothing but the stand-in for a network."""

    hub: Hub
    cache: Path
    loader: subprocess.Popen[str]

    def load(self, model: str, revision: str = "", *, offline: bool = False) -> str:
        """What a program that loads the model prints."""
        assert self.loader.stdin is not None
        assert self.loader.stdout is not None
        environment = {
            "HF_ENDPOINT": self.hub.address,
            "HF_HOME": str(self.cache.parent),
            "HF_HUB_CACHE": str(self.cache),
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "NO_PROXY": "*",
        }
        print(json.dumps([environment, model, revision]), file=self.loader.stdin, flush=True)
        *printed, ended = _until_ended(self.loader.stdout)
        assert ended == "ended with 0\n", "".join(printed)
        return "".join(printed)


def _until_ended(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith("ended with "):
            return


@pytest.fixture(scope="module")
def loader() -> Iterator[subprocess.Popen[str]]:
    environment = {key: value for key, value in os.environ.items() if not key.upper().endswith(("_PROXY", "_TOKEN"))}
    with subprocess.Popen(
        [sys.executable, "-W", "error::UserWarning", "-c", LOADER],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.stdin.close()


@pytest.fixture
def machine(tmp_path: Path, xlmr: Path, loader: subprocess.Popen[str]) -> Machine:
    hub = Hub()
    hub.add(OWN, xlmr, **DECOYS)
    hub.add(KNOWN.id, xlmr, KNOWN.revision, **DECOYS)
    return Machine(hub, tmp_path / "hub", loader)


def test_only_the_needed_files_are_fetched(machine: Machine) -> None:
    with machine.hub.running():
        assert f"loaded {OWN} from {machine.cache}" in machine.load(OWN)
    assert machine.hub.downloaded() == NEEDED
    stored = [path.name for path in machine.cache.rglob("*")]
    assert not [name for name in stored if name.endswith((".bin", ".onnx", ".md"))]


def test_all_shards_are_fetched(machine: Machine, build_folder) -> None:
    machine.hub.add(OWN, build_folder(replace(XLMR, shards=3)), **DECOYS)
    with machine.hub.running():
        assert "(1, 64)" in machine.load(OWN)
    shards = {f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)}
    assert machine.hub.downloaded() == NEEDED - {"model.safetensors"} | shards | {"model.safetensors.index.json"}


@pytest.mark.parametrize("name", [KNOWN.id, "multilingual-e5-small", "Multilingual-E5-Small"])
def test_a_known_model_comes_at_its_pinned_revision(machine: Machine, name: str) -> None:
    with machine.hub.running():
        assert f"loaded {KNOWN.id} from" in machine.load(name)
    resolved = [line for line in machine.hub.requests if "/resolve/" in line]
    assert resolved
    assert all(f"/resolve/{KNOWN.revision}/" in line for line in resolved)
    assert not [line for line in machine.hub.asked_about(KNOWN.id) if "/main" in line]


def test_another_revision_may_be_asked_for(machine: Machine, xlmr: Path) -> None:
    machine.hub.add(KNOWN.id, xlmr, MAIN)
    with machine.hub.running():
        assert "(1, 64)" in machine.load(KNOWN.id, MAIN)
    assert not [line for line in machine.hub.requests if KNOWN.revision in line]


@pytest.mark.parametrize("model", [OWN, KNOWN.id])
def test_what_was_fetched_once_needs_no_hub(machine: Machine, model: str) -> None:
    with machine.hub.running():
        first = machine.load(model)
        asked = len([line for line in machine.hub.requests if line.startswith("GET") and "/resolve/" in line])
        assert machine.load(model) == first
        again = len([line for line in machine.hub.requests if line.startswith("GET") and "/resolve/" in line])
        assert again == asked == len(NEEDED)
    assert machine.load(model) == first
    assert machine.load(model, offline=True) == first


def test_a_pinned_model_in_the_cache_is_not_asked_for(machine: Machine) -> None:
    with machine.hub.running():
        machine.load(KNOWN.id)
        machine.hub.requests.clear()
        machine.load(KNOWN.id)
    assert machine.hub.asked_about(KNOWN.id) == []


def test_the_cache_can_be_looked_at_without_the_hub(machine: Machine) -> None:
    with machine.hub.running():
        assert machine.load("cached", KNOWN.id) == "cached: None\n"
        assert machine.hub.asked_about(KNOWN.id) == []
        machine.load(KNOWN.id)
        machine.hub.requests.clear()
        assert f"cached: {machine.cache}" in machine.load("cached", KNOWN.id)
        assert machine.hub.asked_about(KNOWN.id) == []


def test_an_unknown_repository_is_named(machine: Machine) -> None:
    with machine.hub.running():
        said = machine.load("someone/no-such-model")
    assert said.startswith("DownloadError: the hub refused 'someone/no-such-model' (revision main): ")
    assert "Check the id and the revision" in said


def test_an_unknown_revision_is_named(machine: Machine) -> None:
    with machine.hub.running():
        said = machine.load(OWN, "v9")
    assert said.startswith(f"DownloadError: the hub refused '{OWN}' (revision v9): ")


@pytest.mark.parametrize(("status", "code"), [(403, "GatedRepo"), (401, "RepoNotFound")])
def test_a_gated_or_private_model_asks_for_a_login(machine: Machine, status: int, code: str) -> None:
    machine.hub.refuse[OWN] = (status, code)
    with machine.hub.running():
        said = machine.load(OWN)
    assert said.startswith(f"DownloadError: the hub refused '{OWN}'")
    assert "`hf auth login`" in said


def test_a_name_that_no_hub_knows_is_refused(machine: Machine) -> None:
    assert "DownloadError: 'a b/c' is neither a folder nor a hub id of the form owner/name" in machine.load("a b/c")


def assert_says_the_way_out(said: str, model_id: str) -> None:
    assert said.startswith(f"DownloadError: '{model_id}'")
    assert f"    hf download {model_id}" in said
    assert f"--local-dir {model_id.partition('/')[2]}" in said
    assert "pass its path as the model" in said
    assert "me5-small needs no network" in said


def switch_off(machine: Machine) -> None:
    with machine.hub.running():
        pass


def break_down(machine: Machine) -> None:
    machine.hub.refuse[OWN] = (503, "")


def show_a_portal(machine: Machine) -> None:
    machine.hub.portal = True


def no_network(machine: Machine) -> None:
    machine.hub.address = "http://hub.invalid"


@pytest.mark.parametrize("trouble", [break_down, show_a_portal], ids=["server error", "portal"])
def test_a_hub_in_trouble_says_the_way_out(machine: Machine, trouble: Callable[[Machine], None]) -> None:
    trouble(machine)
    with machine.hub.running():
        assert_says_the_way_out(machine.load(OWN), OWN)


@pytest.mark.parametrize("trouble", [switch_off, no_network], ids=["refused connection", "unknown host"])
def test_no_hub_and_no_cache_says_the_way_out(machine: Machine, trouble: Callable[[Machine], None]) -> None:
    trouble(machine)
    assert_says_the_way_out(machine.load(OWN), OWN)
    assert_says_the_way_out(machine.load(KNOWN.id, offline=True), KNOWN.id)
    assert f"--revision {KNOWN.revision}" in machine.load(KNOWN.id)


@pytest.mark.parametrize("model", [OWN, KNOWN.id])
@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_an_interrupted_download_is_an_error_and_the_next_try_completes_it(
    machine: Machine, model: str, file: str
) -> None:
    machine.hub.cut[file] = 20_000
    with machine.hub.running():
        assert_says_the_way_out(machine.load(model), model)
    # Half a model is none, with or without a network.
    assert_says_the_way_out(machine.load(model), model)
    assert_says_the_way_out(machine.load(model, offline=True), model)
    machine.hub.cut.clear()
    with machine.hub.running():
        assert "(1, 64)" in machine.load(model)
    assert "(1, 64)" in machine.load(model, offline=True)


def test_a_connection_that_breaks_once_is_taken_up_again(machine: Machine) -> None:
    """The rest is asked for, not the whole file again."""
    machine.hub.cut["model.safetensors"] = 20_000
    requests = machine.hub.requests

    class Repaired(dict):
        def get(self, name: str, default: int) -> int:
            asked = sum("model.safetensors" in line and line.startswith("GET") for line in requests)
            return super().get(name, default) if asked <= 1 else default

    machine.hub.cut = Repaired(machine.hub.cut)
    with machine.hub.running():
        assert "(1, 64)" in machine.load(OWN)
    assert sum(line.endswith("model.safetensors") and line.startswith("GET") for line in requests) == 2


def test_models_are_pulled_measured_and_removed(machine: Machine) -> None:
    def me5(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "HF_ENDPOINT": machine.hub.address or "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(machine.cache.parent), "HF_HUB_CACHE": str(machine.cache), "NO_PROXY": "*",
        }  # fmt: skip
        command = [sys.executable, "-m", "me5", "models", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert json.loads(me5("size", "--json").stdout) == []
    with machine.hub.running():
        pulled = me5("pull", OWN)
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith(f"{OWN}: a model of ")
    (stored,) = json.loads(me5("size", "--json").stdout)
    assert (stored["id"], stored["revisions"]) == (OWN, 1)
    assert stored["bytes"] == sum(path.stat().st_size for path in (machine.cache).rglob("blobs/*"))
    assert "MB in 1 model" in me5("size").stdout
    removed = me5("rm", OWN)
    assert removed.stdout == f"{OWN}: {stored['bytes'] / 1e6:,.1f} MB freed\n"
    assert not [*machine.cache.rglob("model.safetensors")]
    again = me5("rm", OWN)
    assert (again.returncode, "is not in the local cache" in again.stderr) == (2, True)
    assert "is a part of me5" in me5("rm", "me5-small").stderr
