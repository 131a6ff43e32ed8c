"""docs/service.md: its code runs against a live service, its tables are what the code says."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from me5.service.errors import FAULTS
from me5.service.settings import OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "service.md"
TEXT = PAGE.read_text("utf-8")
URL = "http://127.0.0.1:8080"


def blocks(language):
    """(heading, code) of every block that is meant to run."""
    found = []
    for match in re.finditer(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        heading = re.findall(r"^##+ (.+)$", TEXT[: match.start()], re.MULTILINE)[-1]
        found.append(pytest.param(match[1], id=heading))
    return found


def run(command, code, server, **options):
    # huggingface_hub asks no address at all while it is told to stay offline, as our other tests tell it.
    environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
    code = code.replace(URL, server.url)
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=60, env=environment, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    return done.stdout


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, server):
    run([sys.executable, "-W", "error", "-"], code, server)


@pytest.mark.parametrize("code", blocks("js"))
def test_javascript_runs(code, server):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    run([node, "--input-type=module", "-"], code, server)


@pytest.mark.parametrize("code", blocks("bash"))
def test_curl_runs(code, server):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    reply = json.loads(run(["bash", "-e"], code, server))
    assert "error" not in reply


def test_every_dialect_is_shown_in_every_language():
    for language in ("python", "js", "bash"):
        shown = {block.id for block in blocks(language)}
        assert {"OpenAI", "Text Embeddings Inference", "Cohere", "me5's own"} <= shown


def settings_table():
    lines = ["| flag | variable | default | what |", "|---|---|---|---|"]
    for group in dict.fromkeys(option.about.group for option in OPTIONS):
        lines.append(f"| **{group}** | | | |")
        for option in OPTIONS:
            if option.about.group == group:
                flag = f"`{option.flag}`" if option.flag else "–"
                lines.append(f"| {flag} | `{option.variable}` | {shown(option)} | {option.about.help} |")
    return "\n".join(lines)


def shown(option):
    if option.about.shown:
        return option.about.shown
    if isinstance(option.default, bool):
        return "on" if option.default else "off"
    return f"{option.default:,}" if isinstance(option.default, int) else f"`{option.default}`"


def errors_table():
    rows = []
    for error, fault in sorted(FAULTS.items(), key=lambda row: row[1].status):
        what = "Anything else" if error is Exception else (error.__doc__ or "").strip().splitlines()[0].rstrip(".")
        rows.append(f"| {what} | {fault.status} | {fault.tei_status} `{fault.tei_type}` | `{fault.code}` |")
    return "\n".join(rows)


def test_the_settings_table_is_what_the_code_says():
    assert settings_table() in TEXT, f"docs/service.md needs:\n{settings_table()}"


def test_the_errors_table_is_what_the_code_says():
    assert errors_table() in TEXT, f"docs/service.md needs:\n{errors_table()}"


def test_the_metrics_table_is_what_a_scrape_shows(server):
    with urllib.request.urlopen(f"{server.url}/metrics") as reply:
        text = reply.read().decode()
    exposed = dict(re.findall(r"^# TYPE ((?:me5|te)_\S+) (\S+)$", text, re.MULTILINE))
    exposed = {name: kind for name, kind in exposed.items() if not name.startswith("me5_worker_process_")}
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    told = dict(re.findall(r"^\| `(me5_\w+)` \| (.+) \|$", TEXT, re.MULTILINE))
    expected = {name: f"{kind} | {helps[name]}" for name, kind in exposed.items() if name.startswith("me5_")}
    assert told == expected
    of_tei = set(re.findall(r"`(te_\w+)`", TEXT))
    assert of_tei == {name for name in exposed if name.startswith("te_")}
