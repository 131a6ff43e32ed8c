"""The recipe that draws retrieval sets from training pairs."""

import subprocess
import sys

from evaluation_sets import write_records
from pages import ROOT

from me5.evaluation.readers import read

LONG = "words " * 30 + "end"


def test_sets_are_drawn_by_language_with_every_passage_of_a_question(tmp_path):
    rows = [
        {"query": f"question {at}", "positive": f"passage {at} {LONG}", "positive_lang": "en", "kind": "qa"}
        for at in range(90)
    ]
    rows += [
        {"query": f"question {at}", "positive": f"more {at} {LONG}", "positive_lang": "en", "kind": "qa"}
        for at in range(90)
    ]
    rows += [
        {"query": "q", "positive": LONG, "positive_lang": "de", "kind": "qa"},
        {"query": "word", "positive": "p", "positive_lang": "en", "kind": "qa"},
    ]
    rows += [{"query": "title", "positive": "body", "positive_lang": "en", "kind": "titlebody"}]
    path = write_records(tmp_path / "pairs.jsonl", rows)
    script = ROOT / "recipes" / "calibration" / "draw.py"
    command = [sys.executable, script, tmp_path / "sets", path, "--questions", "60", "--passages", "150"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "de: 1 pair, too few questions" in first.stdout
    (task,) = read(tmp_path / "sets")
    assert len(task.documents) == 150
    texts = dict(task.documents)
    assert 50 <= len(task.queries) <= 60
    for name, query in task.queries.items():
        number = query.removeprefix("question ")
        found = {texts[document] for document in task.relevant[name]}
        assert found == {f"passage {number} {LONG}", f"more {number} {LONG}"}
    before = (tmp_path / "sets" / "drawn-en" / "queries.jsonl").read_bytes()
    subprocess.run(command, capture_output=True, check=True)
    assert (tmp_path / "sets" / "drawn-en" / "queries.jsonl").read_bytes() == before
