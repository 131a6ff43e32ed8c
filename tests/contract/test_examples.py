"""The programs under examples/ run, and show what they say."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_three_libraries_give_the_same_vectors():
    result = subprocess.run([sys.executable, EXAMPLES / "same_vectors.py"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    differences = [float(found) for found in re.findall(r"largest difference (\S+)", result.stdout)]
    assert len(differences) == 2
    assert max(differences) < 1e-5


def test_search_answers_from_documents_in_other_languages():
    result = subprocess.run([sys.executable, EXAMPLES / "search.py"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    answers = dict(re.findall(r"^(\S.*)\n  (\S+ \(\w+\): .*)$", result.stdout, re.MULTILINE))
    assert answers["temperature of the hot spring bath"].startswith("温泉.txt (ja): ")
    assert answers["Does it snow above 2500 metres?"].startswith("meteo.md (fr): Il peut neiger")
    assert answers["人均每天需要多少水?"].startswith("agua.txt (es): Cada persona necesita")
    assert answers["星を見る"].startswith("звёзды.txt (ru): ")
