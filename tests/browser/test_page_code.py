"""The programs on the try-it page run as they stand, and give the scores that the page shows."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from pagetab import NASTY, new_tab

QUERIES = ["how much protein should a female eat", 'it\'s "quoted" \\ $HOME `id` 南瓜 😀\nsecond line']
DOCUMENTS = ["46 grams per day", *NASTY]
LANGUAGES = ["Python", "Python, openai", "Node.js", "curl"]


@pytest.fixture(scope="module")
def written(chromium, site):
    """One tab for all tests here: they only read it, but for the last one."""
    with new_tab(chromium, site) as tab:
        yield tab.open().write(QUERIES, DOCUMENTS)


def run(command, program, **environment):
    done = subprocess.run(
        command,
        input=program,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(program, **environment):
    """With plain digits: the program itself leaves numpy's defaults alone."""
    digits = "import numpy; numpy.set_printoptions(suppress=True, precision=4, linewidth=1000)\n"
    return run([sys.executable, "-"], digits + program, OMP_NUM_THREADS="1", **environment)


def shown(tab, columns):
    scores = [float(text) for text in tab.texts("#heat td .score")]
    return [scores[at : at + columns] for at in range(0, len(scores), columns)]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e[-+]\d+)?|-?\d+\.", text)]


def compare(scores, printed):
    assert numbers(printed) == pytest.approx(scores, abs=0.05)


def flat(tab):
    return [score for row in shown(tab, len(DOCUMENTS)) for score in row]


@pytest.mark.parametrize("name", ["Python", "Python, openai"])
def test_the_python_programs_run(written, name):
    if name.endswith("openai"):
        pytest.importorskip("openai", reason="this program is run with: pip install openai")
    compare(flat(written), run_python(written.program(name)))


def test_the_curl_command_runs(written):
    if shutil.which("curl") is None:
        pytest.skip("this command is run with curl")
    reply = json.loads(run(["bash", "-s"], written.program("curl")))
    for row, expected in zip(reply["scores"], shown(written, len(DOCUMENTS)), strict=True):
        assert row == pytest.approx(expected, abs=0.0051)


def test_the_node_program_runs(written):
    if shutil.which("node") is None:
        pytest.skip("this program is run with Node.js")
    compare(flat(written), run(["node", "--input-type=module", "-"], written.program("Node.js")))


def test_texts_survive_every_language_unchanged(written):
    for name in ("Python", "Python, openai"):
        tree = ast.parse(written.program(name))
        lists = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
        assert ast.literal_eval(lists["queries"]) == QUERIES
        assert ast.literal_eval(lists["documents"]) == DOCUMENTS
    # A shell gives the program that it starts the body as its last argument.
    body = run(["bash", "-s"], 'curl() { printf %s "${@: -1}"; }\n' + written.program("curl"))
    assert json.loads(body) == {"queries": QUERIES, "documents": DOCUMENTS}


def test_nothing_invisible_turns_the_reading_order_of_code(written):
    for name in LANGUAGES:
        program = written.program(name)
        assert "\u202e" not in program
        assert "\\u202e" in program


def test_task_and_truncation_are_part_of_the_programs(written):
    sentence = 'Given a "dish", find its recipe'
    written.page.locator("#task").select_option(label="a sentence of my own…")
    written.page.locator("#own").fill(sentence)
    written.page.locator("#truncation").select_option("start")
    written.scored()
    for name in LANGUAGES:
        program = written.program(name)
        assert json.dumps(sentence) in program
        assert '"start"' in program
    body = run(["bash", "-s"], 'curl() { printf %s "${@: -1}"; }\n' + written.program("curl"))
    assert json.loads(body)["task"] == sentence
    compare(flat(written), run_python(written.program("Python")))
