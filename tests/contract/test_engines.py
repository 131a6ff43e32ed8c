"""What every engine promises, over all of them: shapes, unit length, order, threads, processes, damaged weights."""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checkpoints import SENTENCES, Recipe, change_weights, passages
from vectors import ENGINES, FAST_ENGINES, cosines, load

from me5 import Embedder, EngineError, InputError
from me5.checkpoint import resolve
from me5.engine import graph, open_engine, openvino
from me5.engine.openvino import OpenVinoEngine

TEXTS = [*SENTENCES[:12], *passages(3), ""]
REAL_ENGINES = (*FAST_ENGINES, "torch", "reference")


@pytest.fixture(scope="module", params=ENGINES)
def embedder(request: pytest.FixtureRequest, xlmr: Path) -> Embedder:
    return load(xlmr, request.param)


def test_vectors_are_float32_rows_of_unit_length(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dim) == (len(TEXTS), 64)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_one_string_gives_one_row(embedder: Embedder) -> None:
    assert embedder.encode("ok").shape == (1, embedder.dim)


@pytest.mark.parametrize("nothing", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_no_texts_give_no_rows(embedder: Embedder, nothing) -> None:
    vectors = embedder.encode(nothing)
    assert vectors.shape == (0, embedder.dim)
    assert vectors.dtype == np.float32


def test_the_same_call_gives_the_same_bits(embedder: Embedder) -> None:
    np.testing.assert_array_equal(embedder.encode(TEXTS), embedder.encode(TEXTS))


def test_results_belong_to_the_caller(embedder: Embedder) -> None:
    """Another call must not overwrite a result that was handed out, and a result may be written to."""
    first = embedder.encode(TEXTS)
    kept = first.copy()
    embedder.encode(TEXTS[::-1])
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(embedder.encode(TEXTS), kept)


def test_different_texts_get_different_vectors(embedder: Embedder) -> None:
    cosines = embedder.similarity(embedder.encode(TEXTS), embedder.encode(TEXTS))
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    assert (cosines - 2 * np.eye(len(TEXTS))).max() < 0.999


def test_threads_share_one_embedder(embedder: Embedder) -> None:
    jobs = [TEXTS[at:] + TEXTS[:at] for at in range(12)]
    alone = [embedder.encode(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(embedder.encode, jobs))
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def sequences_of(embedder: Embedder) -> list[np.ndarray]:
    return embedder.prepare(TEXTS, "document").sequences


@pytest.mark.parametrize("engine", ENGINES)
def test_a_plan_holds_every_sequence_once(xlmr: Path, engine: str) -> None:
    planned = load(xlmr, engine).engine.plan([3, 512, 3, 40, 7] * 60)
    assert sorted(index for batch in planned for index in batch) == list(range(300))
    assert len(planned) > 1


def test_vectors_come_in_the_order_of_the_sequences(embedder: Embedder) -> None:
    sequences = sequences_of(embedder)
    vectors = embedder.engine.embed(sequences)
    assert vectors.shape == (len(sequences), embedder.dim)
    np.testing.assert_allclose(embedder.engine.embed(sequences[::-1]), vectors[::-1], rtol=0, atol=1e-5)
    batches = [sequences[:1], sequences[1:4], sequences[4:]]
    np.testing.assert_allclose(np.concatenate([*embedder.engine.embed_all(batches)]), vectors, rtol=0, atol=1e-5)


def test_states_are_what_vectors_are_made_of(embedder: Embedder) -> None:
    sequences = sequences_of(embedder)
    states = embedder.engine.states(sequences)
    assert [state.shape for state in states] == [(len(ids), embedder.dim) for ids in sequences]
    assert {state.dtype for state in states} == {np.dtype(np.float32)}
    fake = embedder.engine.__class__.__name__ == "FakeEngine"
    pooled = np.stack([state[0] if fake else state.mean(axis=0) for state in states])
    expected = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.engine.embed(sequences), expected, atol=1e-5)


def test_states_belong_to_the_caller(embedder: Embedder) -> None:
    sequences = sequences_of(embedder)
    first = embedder.engine.states(sequences)
    kept = [state.copy() for state in first]
    embedder.engine.states(sequences[::-1])
    for state, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(state, copy)


@pytest.mark.parametrize("engine", [*FAST_ENGINES, "torch"])
def test_states_equal_those_of_the_reference(xlmr: Path, engine: str) -> None:
    fast, slow = load(xlmr, engine), load(xlmr, "reference")
    sequences = sequences_of(fast)
    for found, expected in zip(fast.engine.states(sequences), slow.engine.states(sequences), strict=True):
        if engine in ("f32", "torch"):
            np.testing.assert_allclose(found, expected, atol=1e-4)
        # Token by token no figure averages out: int8 leaves cosines of 0.99.
        assert cosines(found, expected).min() > {"f32": 0.99999, "torch": 0.99999, "bf16": 0.999, "int8": 0.97}[engine]


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_what_is_to_be_done_meanwhile_is_done_once_and_may_fail(xlmr: Path, device: str) -> None:
    calls: list[int] = []
    open_engine(resolve(xlmr), device=device, precision="f32", meanwhile=lambda: calls.append(1))
    assert calls == [1]
    with pytest.raises(KeyError):
        open_engine(resolve(xlmr), device=device, precision="f32", meanwhile=lambda: {}["nothing"])


def test_int8_without_texts_to_learn_from_is_refused(xlmr: Path) -> None:
    load(xlmr, "int8")  # skips where there is none
    with pytest.raises(ValueError, match="int8 needs probes"):
        OpenVinoEngine(resolve(xlmr), precision="int8", threads=1)


def test_int8_with_weights_for_processors_without_vnni(xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have half as many levels, so that pairs of products fit 16 bits: that is right on any CPU."""
    expected = load(xlmr, "reference").encode(TEXTS)
    monkeypatch.setattr(openvino, "_features", lambda: "flags : avx2")
    assert openvino._largest_weight() == 64
    assert cosines(load(xlmr, "int8").encode(TEXTS), expected).min() >= 0.998
    monkeypatch.setattr(openvino, "_features", lambda: "flags : avx2 avx_vnni")
    assert openvino._largest_weight() == 127
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core")
    assert openvino._largest_weight() == 64


@pytest.mark.parametrize("engine", ENGINES)
def test_two_embedders_live_in_one_process(xlmr: Path, bert: Path, engine: str) -> None:
    one, other = load(xlmr, engine), load(bert, engine)
    expected = one.encode(TEXTS)
    if engine != "fake":
        assert np.abs(expected - other.encode(TEXTS)).max() > 0.1
    np.testing.assert_array_equal(one.encode(TEXTS), expected)
    del other
    np.testing.assert_array_equal(one.encode(TEXTS), expected)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_the_number_of_threads_does_not_change_vectors(xlmr: Path, engine: str) -> None:
    np.testing.assert_array_equal(
        load(xlmr, engine, threads=1).encode(TEXTS), load(xlmr, engine, threads=2).encode(TEXTS)
    )


@pytest.mark.parametrize(("quota", "asked", "used"), [(1, None, 1), (1, 2, 2), (2, None, 2)])
def test_a_container_with_a_limit_gets_no_more_threads(
    xlmr: Path, monkeypatch: pytest.MonkeyPatch, quota: int, asked: int | None, used: int
) -> None:
    monkeypatch.setattr(openvino, "allowed", lambda: 2)
    monkeypatch.setattr(openvino, "cores", lambda: quota)
    settings: dict[str, object] = {}
    compiled = openvino._core().compile_model

    def spy(model: object, device: str, chosen: dict[str, object]) -> object:
        settings.update(chosen)
        return compiled(model, device, chosen)

    monkeypatch.setattr(openvino, "_core", lambda: SimpleNamespace(compile_model=spy))
    monkeypatch.setattr(openvino, "available", lambda _: "f32")
    Embedder.load(xlmr, precision="f32", threads=asked, prompts="none")
    assert settings.get("INFERENCE_NUM_THREADS", 2) == used


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("threads", [1, None])
def test_threads_are_tied_to_no_core(xlmr: Path, engine: str, threads: int | None) -> None:
    """Else those of all processes meet on the first cores, and leave the others idle."""
    embedder, allowed = load(xlmr, engine, threads=threads), os.sched_getaffinity(0)
    seen, over = [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            for thread in Path("/proc/self/task").iterdir():
                with suppress(OSError):  # it has ended
                    seen.append(os.sched_getaffinity(int(thread.name)))

    watching = threading.Thread(target=watch)
    watching.start()
    embedder.encode(passages(64))
    over.set()
    watching.join()
    assert seen
    assert all(cores == allowed for cores in seen)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_large_layers_may_be_given_back(
    build_folder: Callable[[Recipe], Path], monkeypatch: pytest.MonkeyPatch, engine: str, stored: str
) -> None:
    folder = build_folder(Recipe(dtype=stored))
    expected = load(folder, engine).encode(TEXTS)
    monkeypatch.setattr(graph, "_LARGE_LAYERS", 0)
    embedder = load(folder, engine)
    # Before anything is given back, and after; then in other shapes.
    np.testing.assert_array_equal([embedder.encode(text)[0] for text in TEXTS], expected)
    np.testing.assert_array_equal(embedder.encode(TEXTS), expected)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_an_engine_says_what_it_computes_in(xlmr: Path, engine: str) -> None:
    assert load(xlmr, engine).precision == engine


def test_auto_is_bfloat16_where_the_cpu_has_it(xlmr: Path) -> None:
    try:
        expected = Embedder.load(xlmr, precision="bf16", prompts="none").precision
    except EngineError:
        expected = "f32"
    assert Embedder.load(xlmr, prompts="none").precision == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "f16"}, "unknown precision 'f16'.*f32, bf16, int8"),
        ({"threads": 0}, "threads.*at least 1, got 0"),
    ],
    ids=["precision", "threads"],
)
def test_impossible_options_are_refused(xlmr: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Embedder.load(xlmr, prompts="none", **options)


@pytest.fixture(scope="module", params=["bias", "matrix", "infinite norm"])
def damaged(request: pytest.FixtureRequest, xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a value in its last layer that is not a number."""
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(xlmr, folder)

    def damage(tensors: dict) -> None:
        if request.param == "bias":
            tensors["encoder.layer.1.output.dense.bias"][3] = np.nan
        elif request.param == "matrix":
            tensors["encoder.layer.1.output.dense.weight"][3, 5] = np.nan
        else:
            tensors["encoder.layer.1.output.LayerNorm.weight"][3] = np.inf

    change_weights(folder, damage)
    return folder


@pytest.mark.parametrize("engine", REAL_ENGINES)
def test_damaged_weights_are_an_error_not_a_vector(damaged: Path, engine: str) -> None:
    with pytest.raises(EngineError, match=r"not finite.*weights may be damaged"):
        load(damaged, engine).encode(TEXTS)


@pytest.mark.parametrize("engine", REAL_ENGINES)
def test_damaged_weights_are_an_error_not_states(damaged: Path, engine: str) -> None:
    embedder = load(damaged, engine)
    with pytest.raises(EngineError, match=r"not finite.*weights may be damaged"):
        embedder.engine.states(sequences_of(embedder))
