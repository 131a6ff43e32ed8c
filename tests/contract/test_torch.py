"""The GPU engine on CPU tensors: everything that it does but the kernels, against the slow truth."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import SENTENCES, passages
from vectors import ROUNDING, by_transformers, cosines, load

from me5 import Embedder, EngineError, InputError, verification
from me5.checkpoint import read_folder, resolve
from me5.engine import torch as gpu
from me5.engine.torch import TorchEngine, devices_of
from me5.errors import EngineWarning
from me5.model.encoder import Encoder
from me5.prompts import NONE

CPU = torch.device("cpu")
TEXTS = [*SENTENCES, *passages(8), ""]


def engine_of(folder: Path | None, *, lanes: int = 1, **options) -> TorchEngine:
    return TorchEngine(resolve(folder), [CPU] * lanes, **options)


def embedder_of(folder: Path | None, **options) -> Embedder:
    return Embedder(resolve(folder), engine_of(folder, **options), prompts=NONE)


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_sixteen_bits_keep_the_vectors_of_published_weights(minilm: Path, precision: str) -> None:
    """Measured on CPU tensors: bf16 0.99994, f16 0.999999."""
    texts = [*SENTENCES, *passages(4)]
    found = load(minilm, "torch", precision=precision).encode(texts)
    assert cosines(found, by_transformers(minilm, texts, 256)).min() >= 0.9995


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_sixteen_bits_on_tiny_models(tiny: Path, precision: str) -> None:
    found = load(tiny, "torch", precision=precision).encode(TEXTS)
    assert cosines(found, load(tiny, "reference").encode(TEXTS)).min() >= 0.9995


@pytest.mark.parametrize("lanes", [2, 3])
def test_several_devices_give_the_vectors_of_one(xlmr: Path, lanes: int) -> None:
    """Many more batches than devices, so that some are always on their way."""
    one, several = embedder_of(xlmr), embedder_of(xlmr, lanes=lanes)
    several.engine.batch_tokens = 96
    np.testing.assert_allclose(several.encode(TEXTS), one.encode(TEXTS), rtol=0, atol=ROUNDING)


def test_every_device_gets_its_turn(xlmr: Path) -> None:
    embedder = embedder_of(xlmr, lanes=3)
    embedder.engine.batch_tokens = 96
    counts = [0, 0, 0]
    for number, lane in enumerate(embedder.engine._lanes):
        lane.encoder.register_forward_hook(lambda *_, number=number: counts.__setitem__(number, counts[number] + 1))
    embedder.encode(TEXTS)
    assert min(counts) > 2
    assert max(counts) - min(counts) <= 1


class SmallMemory:
    """An encoder that has room for so many tokens, and says what torch says when there is none."""

    def __init__(self, engine: TorchEngine, tokens: int, monkeypatch) -> None:
        self.tried: list[int] = []
        plain = Encoder.forward

        def forward(encoder, sequences):
            self.tried.append(len(sequences.ids))
            if len(sequences.ids) > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return plain(encoder, sequences)

        monkeypatch.setattr(Encoder, "forward", forward)


def test_out_of_memory_splits_the_batch_and_says_so_once(xlmr: Path, monkeypatch) -> None:
    embedder = embedder_of(xlmr)
    expected = embedder.encode(TEXTS)
    memory = SmallMemory(embedder.engine, 300, monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = embedder.encode(TEXTS)
        memory.tried.clear()
        np.testing.assert_allclose(embedder.encode(TEXTS[::-1]), expected[::-1], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    said = [str(warning.message) for warning in caught if warning.category is EngineWarning]
    assert len(said) == 1
    assert "cpu ran out of memory: the batch was split and run again" in said[0]
    assert sum(tokens > 300 for tokens in memory.tried) <= 1, "batches did not become smaller"


def test_states_survive_out_of_memory(xlmr: Path, monkeypatch) -> None:
    embedder = embedder_of(xlmr)
    sequences = embedder.prepare(TEXTS, "both").sequences
    expected = embedder.engine.states(sequences)
    SmallMemory(embedder.engine, 300, monkeypatch)
    with pytest.warns(EngineWarning, match="out of memory"):
        found = embedder.engine.states(sequences)
    for ours, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, truth, rtol=ROUNDING, atol=ROUNDING)


def test_a_sequence_that_alone_is_too_much_is_an_error(xlmr: Path, monkeypatch) -> None:
    embedder = embedder_of(xlmr)
    SmallMemory(embedder.engine, 10, monkeypatch)
    with pytest.raises(EngineError, match=r"cpu has no memory for a single sequence of \d+ tokens: CUDA out of memory"):
        embedder.encode(TEXTS[1])


def test_small_batches_through_graphs_give_the_same(xlmr: Path) -> None:
    """On a CPU a graph is the same function over the same memory: sizes, copies and slices are those of a GPU."""
    plain, graphed = embedder_of(xlmr), embedder_of(xlmr, graphed=True)
    for texts in (TEXTS[:1], TEXTS[4:9], TEXTS[:3], TEXTS[20:21], TEXTS[:1], TEXTS):
        np.testing.assert_allclose(graphed.encode(texts), plain.encode(texts), rtol=0, atol=ROUNDING)
    assert graphed.engine._lanes[0]._graphs is not None


def test_where_graphs_fail_the_engine_goes_on_without(xlmr: Path) -> None:
    embedder = embedder_of(xlmr, graphed=True)

    def refuse(run):
        raise RuntimeError("operation not permitted when stream is capturing")

    embedder.engine._lanes[0]._graphs._capture = refuse
    with pytest.warns(EngineWarning, match="CUDA graphs failed on cpu.*not permitted"):
        found = embedder.encode(TEXTS)
    np.testing.assert_allclose(found, embedder_of(xlmr).encode(TEXTS), rtol=0, atol=ROUNDING)


def test_fp8_keeps_its_promise_and_says_how_much_it_is(xlmr: Path) -> None:
    expected = load(xlmr, "reference").encode(SENTENCES[:8])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embedder = load(xlmr, "torch", precision="fp8")
    kinds = {type(module).__name__ for module in embedder.engine._lanes[0].encoder.modules()}
    assert embedder.precision == "fp8"
    assert "Float8Linear" in kinds
    assert ("Linear" in kinds) == any("work in matrix products runs in float8" in str(w.message) for w in caught)
    # The promise is made on the built-in texts; these are others.
    assert cosines(embedder.encode(SENTENCES[:8]), expected).min() > 0.997


def test_fp8_without_texts_to_measure_it_on_is_refused(xlmr: Path) -> None:
    with pytest.raises(ValueError, match="fp8 needs probes"):
        engine_of(xlmr, precision="fp8")


def test_fp8_is_the_same_on_every_device(xlmr: Path) -> None:
    tokenized = embedder_of(xlmr).prepare(SENTENCES[:6], "both").sequences
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        engine = engine_of(xlmr, lanes=2, precision="fp8", probes=tokenized)
    one, other = (engine.embed(tokenized) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_verify_judges_the_device_that_it_is_asked_about(xlmr: Path) -> None:
    checks = list(verification.verify(resolve(xlmr), ("f32", "bf16"), device="torch-cpu"))
    assert [check.precision for check in checks] == ["f32", "f32", "bf16", "bf16"]
    assert all(check.passed for check in checks)


def test_the_command_takes_a_device(monkeypatch) -> None:
    script = "import sys; from me5.cli import main; main(); "
    command = [sys.executable, "-c", script, "score", "--json", "-q", "how tall is K2?", "-d", "8,611 m", "-d", "Tea."]
    scores = [
        json.loads(subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout)["scores"]
        for options in (["-p", "f32"], ["--device", "torch-cpu"])
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=100 * ROUNDING)


def test_ids_outside_of_the_vocabulary_never_reach_a_device(xlmr: Path) -> None:
    engine = engine_of(xlmr)
    wrong = np.array([0, read_folder(xlmr).config.vocab_size, 2])
    with pytest.raises(EngineError, match=r"token id \d+ is outside of the model's vocabulary.*does not belong"):
        engine.embed([wrong])


def test_tokenizing_ahead_does_not_change_order_reports_or_errors(xlmr: Path, monkeypatch) -> None:
    import me5.flow as flow
    from me5 import Report

    monkeypatch.setattr(flow, "WINDOW_TEXTS", 64)
    texts = [f"{number} {SENTENCES[number % 20]}" for number in range(400)]
    ahead, in_line = embedder_of(xlmr), load(xlmr, "f32")
    reports = Report(), Report()
    found = ahead.encode(texts, report=reports[0])
    np.testing.assert_allclose(found, in_line.encode(texts, report=reports[1]), rtol=0, atol=ROUNDING)
    assert reports[0] == reports[1]
    with pytest.raises(InputError, match="text 390 is int"):
        ahead.encode([*texts[:390], 5, *texts])


# Where the machine cannot do what was asked for


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_without_a_gpu_the_error_says_what_there_is(device: str) -> None:
    with pytest.raises(EngineError, match=r"no CUDA GPU can be used here \(torch 2.*leave the device out"):
        Embedder.load(device=device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "unknown device 'gpu'; expected cpu, cuda"),
        ({"device": "cuda:x"}, "unknown device 'cuda:x'"),
        ({"device": "torch-cpu", "precision": "int8"}, "unknown precision 'int8' for torch-cpu.*bf16, f16, fp8"),
        ({"precision": "fp8"}, "unknown precision 'fp8' for cpu; expected one of auto, f32, bf16, int8"),
        ({"device": "cuda", "threads": 2}, "threads are for the CPU, and cuda is none"),
    ],
    ids=["no device", "no number", "int8 on torch", "fp8 on the CPU", "threads"],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Embedder.load(**options)


def pretend(monkeypatch, *, gpus: int, capability: tuple[int, int] = (9, 0)) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a pretended GPU")


def test_names_of_devices(monkeypatch) -> None:
    pretend(monkeypatch, gpus=3)
    assert devices_of("cuda") == [torch.device("cuda", at) for at in range(3)]
    assert devices_of("cuda:2") == [torch.device("cuda", 2)]
    with pytest.raises(InputError, match="there is no cuda:3: this machine has 3 visible GPUs"):
        devices_of("cuda:3")


@pytest.mark.parametrize(
    ("capability", "asked", "given"),
    [((9, 0), "auto", "bf16"), ((8, 0), "auto", "bf16"), ((7, 5), "auto", "f16"), ((8, 9), "fp8", "fp8")],
)
def test_precision_follows_the_gpu(monkeypatch, capability, asked, given) -> None:
    pretend(monkeypatch, gpus=1, capability=capability)
    assert gpu.available(asked, devices_of("cuda")) == given


@pytest.mark.parametrize(("capability", "asked"), [((7, 5), "bf16"), ((8, 6), "fp8")])
def test_a_precision_that_a_gpu_lacks_is_refused(monkeypatch, capability, asked) -> None:
    pretend(monkeypatch, gpus=1, capability=capability)
    with pytest.raises(EngineError, match=rf"a pretended GPU \(compute capability .*\) has no {asked} in hardware"):
        gpu.available(asked, devices_of("cuda"))


def test_without_torch_the_error_is_the_command() -> None:
    script = """
import sys
sys.modules["torch"] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else found(name, *rest)
from me5 import Embedder
from me5.errors import MissingExtraError
try:
    Embedder.load(device="torch-cpu")
except MissingExtraError as error:
    print(error)
print(Embedder.load(precision="f32").encode("the CPU needs none").shape)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'me5[gpu]'" in result.stdout
    assert "(1, 384)" in result.stdout
