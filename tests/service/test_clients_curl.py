"""curl against a live service; the examples, and README's section on the service, which anyone may copy."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from truth import SIDES, TEXTS, assert_same, expected

ROOT = Path(__file__).parents[2]
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
    openai = json.loads(curl("/v1/embeddings", {"model": f"me5-mini:{side}", "input": TEXTS}))
    assert_same([item["embedding"] for item in openai["data"]], expected(side))
    assert_same(json.loads(curl("/embed", {"inputs": TEXTS, "prompt_name": side})), expected(side))
    for path, body in (("/v1/embeddings", {"input": TEXTS}), ("/embed", {"inputs": TEXTS})):
        raw = curl(path, {**body, "side": side}, "--header", "accept: application/octet-stream")
        assert_same(np.frombuffer(raw, "<f4").reshape(len(TEXTS), -1), expected(side))


@pytest.mark.parametrize("name", ["python_me5.py", "python_openai.py", "python_cohere.py", "curl.sh"])
def test_examples_find_the_right_document(server, name):
    if name.endswith(".sh") and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if (library := name.removeprefix("python_").removesuffix(".py")) in ("openai", "cohere"):
        pytest.importorskip(library)
    command = ["bash" if name.endswith(".sh") else sys.executable, str(EXAMPLES / name)]
    environment = {**os.environ, "ME5_URL": server.url, "ME5_API_KEY": server.key, "NO_PROXY": "127.0.0.1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    if name.endswith(".sh"):
        assert '"ranking":[[0,1],[1,0]]' in result.stdout
    else:
        assert "how tall is K2?  →  K2 rises to 8,611 metres." in result.stdout
        assert "南瓜的家常做法  →  清炒南瓜丝" in result.stdout
