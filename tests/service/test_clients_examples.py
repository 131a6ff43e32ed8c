"""Code to copy, against a live service: README's section on the service, examples/clients, and curl."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pages import ROOT, assert_prints, blocks
from truth import SIDES, TEXTS, assert_same, expected

EXAMPLES = ROOT / "examples" / "clients"


@pytest.fixture
def curl(server):
    """`curl("/embed", body, *flags)`: what it writes."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def call(path, body, *flags):
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", *flags]
        command += ["--header", "content-type: application/json", "--data-binary", "@-", server.url + path]
        return subprocess.run(command, input=json.dumps(body).encode(), capture_output=True, check=True).stdout

    return call


@pytest.mark.parametrize("side", SIDES)
def test_curl(curl, side):
    openai = json.loads(curl("/v1/embeddings", {"model": f"me5-small:{side}", "input": TEXTS}))
    assert_same([item["embedding"] for item in openai["data"]], expected(side))
    assert_same(json.loads(curl("/embed", {"inputs": TEXTS, "prompt_name": side})), expected(side))
    for path, body in (("/v1/embeddings", {"input": TEXTS}), ("/embed", {"inputs": TEXTS})):
        raw = curl(path, {**body, "side": side}, "--header", "accept: application/octet-stream")
        assert_same(np.frombuffer(raw, "<f4").reshape(len(TEXTS), -1), expected(side))


@pytest.mark.parametrize("name", ["python_me5.py", "python_openai.py", "python_cohere.py"])
def test_python_examples_find_the_right_document(server, name):
    if (library := name.removeprefix("python_").removesuffix(".py")) != "me5":
        pytest.importorskip(library)
    told = run([sys.executable, "-W", "error", str(EXAMPLES / name)], server)
    assert "how tall is K2?  →  K2 rises to 8,611 metres." in told
    assert "南瓜的家常做法  →  清炒南瓜丝" in told


def test_the_example_of_curl_finds_the_right_document(curl, server):
    assert '"ranking":[[0,1],[1,0]]' in run(["bash", str(EXAMPLES / "curl.sh")], server)


def run(command, server, **options):
    environment = {**os.environ, "ME5_URL": server.url, "ME5_API_KEY": server.key, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copied(language, server):
    """The blocks of README that need a running service, with the address of ours."""
    return [
        replace(block, code=block.code.replace("http://127.0.0.1:8080", server.url))
        for block in blocks("README.md", language, "served")
    ]


def test_readme_python(server):
    (block,) = copied("python", server)
    assert block.printed
    assert_prints(block, run([sys.executable, "-W", "error", "-c", block.code], server))


def test_readme_curl(curl, server):
    start, ask = copied("bash", server)
    assert start.code == "me5 serve\n"  # which is what `server` is, on a port of its own
    assert ask.printed
    assert_prints(ask, run(["bash", "-e", "-c", ask.code], server))
