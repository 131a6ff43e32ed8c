"""Node.js clients against live services: openai, cohere-ai, and our own npm package with its tests and types.

They are installed once per lockfile into pytest's cache.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT, blocks
from truth import ALL_OF_IT, LIMITED, SIDES, TEXTS, assert_same, embedder, expected
from vectors import ROUNDING

PROGRAMS = Path(__file__).parent / "node"
PACKAGE = ROOT / "clients" / "node"
EXAMPLES = ROOT / "examples" / "clients"
# How npm says that it reached no registry, or none that would talk to it.
UNREACHABLE = re.compile(
    r"\bcode (EAI_AGAIN|ECONN\w+|ENOTFOUND|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET\w+|E?TIMEDOUT|E40[137]|E50\d)\b"
)
COHERE_SIDES = {"search_query": "query", "search_document": "document"}


def run(command: list[str | Path], folder: Path, **options) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs Node.js")
    return found


@pytest.fixture(scope="session")
def npm(node: str) -> str:
    found = shutil.which("npm")
    if found is None:
        pytest.skip("needs npm")
    return found


@pytest.fixture(scope="session")
def packages(npm: str, request: pytest.FixtureRequest) -> Path:
    """The node_modules of the lockfile."""
    lockfile = PROGRAMS / "package-lock.json"
    digest = hashlib.sha256(lockfile.read_bytes()).hexdigest()[:12]
    folder = Path(request.config.cache.mkdir(f"npm-{digest}"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes install it once
        if not (folder / "installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(PROGRAMS / name, folder)
            install(npm, folder)
            (folder / "installed").touch()
    return folder / "node_modules"


def install(npm: str, folder: Path) -> None:
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode and (said := UNREACHABLE.search(done.stderr)):
        pytest.skip(f"needs an npm registry, which answered {said[1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def workplace(npm: str, packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our programs and examples, where our package lies packed and unpacked, as users get it."""
    folder = tmp_path_factory.mktemp("node")
    modules = folder / "node_modules"
    modules.mkdir()
    for package in packages.iterdir():
        (modules / package.name).symlink_to(package)
    packed = json.loads(run([npm, "pack", "--json", "--pack-destination", folder], PACKAGE))
    name = (packed if isinstance(packed, list) else list(packed.values()))[0]["filename"]
    shutil.unpack_archive(folder / name, folder)
    (folder / "package").rename(modules / "me5-client")
    for program in [*PROGRAMS.iterdir(), *EXAMPLES.glob("*.mjs")]:
        if program.is_file():
            shutil.copy(program, folder)
    return folder


@pytest.fixture(scope="session")
def received(node, workplace, server, locked_server, narrow_server):
    """`received("openai.mjs", key)`: what that program prints; `key` is one of little allowance."""

    def call(program, key):
        told = {
            "texts": TEXTS,
            "open": {"url": server.url, "key": server.key},
            "locked": {"url": locked_server.url, "key": locked_server.key},
            "narrow": {"url": narrow_server.url, "key": key},
            "debt": ALL_OF_IT,
        }
        return json.loads(run([node, program], workplace, input=json.dumps(told)))

    return call


def test_the_lockfile_names_no_machine():
    lockfile = json.loads((PROGRAMS / "package-lock.json").read_text())
    wanted = json.loads((PROGRAMS / "package.json").read_text())["devDependencies"]
    assert lockfile["packages"][""]["devDependencies"] == wanted
    for name, package in lockfile["packages"].items():
        assert not {"resolved", "link"} & set(package), name
        assert name == "" or package["integrity"].startswith("sha512-"), name


def test_openai(received):
    told = received("openai.mjs", LIMITED[2])
    assert len(told["vectors"]) == 19
    for name, vectors in told["vectors"].items():
        if name.endswith("base64"):  # asked for by name, it is handed on as it came
            vectors = [np.frombuffer(base64.b64decode(one), "<f4") for one in vectors]
        assert_same(vectors, expected(name.partition(" ")[0]))
    errors = told["errors"]
    kinds = {name: (error["kind"], error["status"], error["code"]) for name, error in errors.items()}
    assert kinds == {
        "model": ("NotFoundError", 404, "model_not_found"),
        "tokens": ("BadRequestError", 400, "invalid_value"),
        "empty": ("BadRequestError", 400, "invalid_value"),
        "key": ("AuthenticationError", 401, "invalid_api_key"),
        "limit": ("RateLimitError", 429, "rate_limit_exceeded"),
    }
    assert "send the texts" in errors["tokens"]["message"]
    assert errors["tokens"]["param"] == errors["empty"]["param"] == "input"
    assert 1 <= int(errors["limit"]["wait"]) <= 60
    assert told["models"] == ["me5-small", *(f"me5-small:{side}" for side in SIDES)]
    assert (told["model"], told["me5"]["side"]) == ("me5-small", "query")
    assert told["usage"]["total_tokens"] == sum(told["me5"]["tokens"])


def test_cohere(received):
    told = received("cohere.mjs", "")
    for input_type, vectors in told["vectors"].items():
        side = COHERE_SIDES.get(input_type)
        assert_same(vectors, expected(side) if side else embedder().encode(TEXTS, task=input_type))
    assert len(told["vectors"]) == 4
    types, truth = told["types"], expected("query")
    assert_same(types["float"], truth)
    assert_same([np.frombuffer(base64.b64decode(one), "<f4") for one in types["base64"]], truth)
    small = np.array(types["int8"], np.float32)
    assert ((small * truth).sum(axis=1) / np.linalg.norm(small, axis=1) > 0.999).all()
    assert (np.array(types["uint8"]) == np.array(types["int8"]) + 128).all()
    bits = np.unpackbits(np.array(types["ubinary"], np.uint8), axis=1)
    assert (bits == (truth > 0)).all()
    assert (np.array(types["ubinary"]) == np.array(types["binary"]) + 128).all()
    assert "1 of 2 (item 1)" in told["meta"]["warnings"][0]
    kinds = {name: (error["kind"], error["status"]) for name, error in told["errors"].items()}
    assert kinds == {
        "long": ("BadRequestError", 400),
        "key": ("UnauthorizedError", 401),
        "model": ("NotFoundError", 404),
    }
    assert "text 1 has" in told["errors"]["long"]["message"]


def test_our_own(received):
    told = received("me5.mjs", LIMITED[3])
    assert_what_our_own_received(told)
    assert_what_our_own_tells(told["warnings"], told["errors"])


def assert_what_our_own_received(told):
    local = embedder()
    for name, vectors in told["vectors"].items():
        if name.endswith("bitext"):
            encode = local.encode_query if name.startswith("query") else local.encode
            assert_same(vectors, encode(TEXTS, task="bitext"))
        else:
            assert_same(vectors, expected(name.partition(" ")[0].strip(",")))
    assert len(told["vectors"]) == 7
    cosines = local.similarity(expected("query"), expected("document"))
    np.testing.assert_allclose(told["cosines"], cosines, rtol=0, atol=ROUNDING)
    assert_same(told["large"], local.encode_document([f"number {number}" for number in range(300)]))
    long = ["short", "long " * 600, "longer " * 600]
    for truncation, vectors in told["cut"].items():
        assert_same(vectors, local.run(local.prepare(long, "document", truncation=truncation)))
    assert (told["info"]["dim"], told["info"]["precision"]) == (local.dim, local.precision)


def assert_what_our_own_tells(warnings, errors):
    assert warnings["notCut"] == warnings["chunkWarnings"] == []
    assert ["cut: 2 of 3 (among items 0 to 2)" in one for one in warnings["cutWarnings"]] == [True]
    waited = ["429 the key 'sk-limited-3'" in one and "try 2 of 2 in" in one for one in warnings["retryWarnings"]]
    assert waited in ([True], [])  # none where all took longer than the key needs
    assert ["there is no model 'other' here" in one for one in warnings["otherWarnings"]] == [True]
    kinds = {name: (error.get("name"), error.get("status"), error.get("tries")) for name, error in errors.items()}
    assert kinds == {
        "key": ("Me5Error", 401, 1),
        "model": ("Me5Error", 404, 1),
        "task": ("Me5Error", 400, 1),
        "long": ("Me5Error", 400, 1),
        "aborted": ("Error", None, None),
        "limit": ("Me5Error", 429, 1),
    }
    assert re.search(r"text 1 has .*counted from item 2 of the input", errors["long"]["message"])
    assert re.search(r"come back in \d+ s", errors["limit"]["message"])
    assert errors["aborted"]["message"] == "enough"


def test_the_own_tests_of_our_package(npm):
    run([npm, "test"], PACKAGE)


def test_our_types(node, workplace):
    run([node, workplace / "node_modules" / "typescript" / "bin" / "tsc", "--project", "tsconfig.json"], workplace)


def test_our_package_is_complete(workplace):
    package = workplace / "node_modules" / "me5-client"
    assert {path.name for path in package.iterdir()} >= {"index.js", "index.d.ts", "package.json", "README.md"}
    about = json.loads((package / "package.json").read_text())
    assert about["license"] == "Apache-2.0"
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert about["version"] in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "dependencies" not in about
    # Node.js and browsers: nothing but what both have.
    assert not re.search(r"""\b(from|import|require)\b\s*\(?["']""", (package / "index.js").read_text())


@pytest.mark.parametrize("name", ["node_me5.mjs", "node_openai.mjs"])
def test_examples_find_the_right_document(node, workplace, server, name):
    environment = {**os.environ, "ME5_URL": server.url, "ME5_API_KEY": server.key}
    told = run([node, name], workplace, env=environment)
    assert "how tall is K2?  →  K2 rises to 8,611 metres." in told
    assert "南瓜的家常做法  →  清炒南瓜丝" in told


def test_javascript_to_copy_runs(node, workplace, server):
    (block,) = blocks("clients/node/README.md", "js")
    code = block.code.replace("http://127.0.0.1:8080", server.url)
    told = run([node, "--input-type=module", "--eval", code], workplace)
    (a, b), (c, d) = re.findall(r"\[ (-?[\d.]+), (-?[\d.]+) \]", told)
    assert float(a) > float(b)
    assert float(d) > float(c)
