"""What users see: names, import cost, version, changelog, README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import me5

ROOT = Path(__file__).parents[2]


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
        "ServiceError",
        "TruncationWarning",
        "__version__",
    ]
    assert all(hasattr(me5, name) for name in me5.__all__)


def test_import_loads_no_engine_no_torch_no_web_server():
    heavy = "torch openvino transformers huggingface_hub pyarrow typer rich fastapi uvicorn httpx2 lancedb"
    code = f"import sys, me5; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_changelog_tells_this_version():
    assert f"\n## {me5.__version__} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/search.md", "docs/data.md"])
@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_python_in_the_documents_runs(page, capsys):
    code = blocks("python", page)
    assert code
    exec(compile("\n".join(code), page, "exec"), {})
    assert capsys.readouterr().out


def test_readme_commands_run(tmp_path):
    commands = [block for block in blocks("bash") if "git clone" not in block]
    assert commands
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    for block in commands:
        script = f"set -e\n{block}"
        result = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "vectors.npy").exists()


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text("utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
