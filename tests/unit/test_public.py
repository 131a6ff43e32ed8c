"""What users see: names, import cost, version, changelog, README."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, assert_prints, blocks

import me5


def test_public_names_are_these():
    assert me5.__all__ == [
        "TASKS",
        "AsyncClient",
        "CheckpointError",
        "Client",
        "Embedder",
        "EngineError",
        "InputError",
        "Me5Error",
        "Me5Warning",
        "PromptWarning",
        "Prompts",
        "Report",
        "Reranker",
        "ServiceError",
        "TruncationWarning",
        "__version__",
    ]
    assert all(hasattr(me5, name) for name in me5.__all__)


def test_import_loads_no_engine_no_torch_no_web_server():
    heavy = "torch openvino transformers huggingface_hub pyarrow typer rich fastapi uvicorn httpx2 lancedb safetensors"
    heavy += " kitoken me5.calibration me5.files me5.reranker"
    code = f"import sys, me5; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_changelog_tells_this_version():
    assert f"\n## {me5.__version__} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(
    "page", ["README.md", "docs/python.md", "docs/sentence-transformers.md", "docs/search.md", "docs/data.md"]
)
@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_python_in_the_documents_runs_and_prints_what_they_say(page, capsys):
    code, names = blocks(page, "python"), {}
    assert code
    printed = ""
    for block in code:
        exec(compile(block.code, page, "exec"), names)
        output = capsys.readouterr().out
        assert_prints(block, output)
        printed += output
    assert printed


def test_readme_commands_run_and_print_what_it_says(tmp_path):
    commands = [block for block in blocks("README.md", "bash") if "git clone" not in block.code]
    assert [block for block in commands if block.printed]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}  # of this checkout
    for block in commands:
        script = f"set -e\n{block.code}"
        result = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert_prints(block, result.stdout)
