"""The programs under examples/ run, and show what they say."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def printed(monkeypatch, capsys):
    """What a program prints that runs in this process: torch, transformers and lancedb take seconds to import."""

    def run(name: str) -> str:
        monkeypatch.setattr(sys, "argv", [name])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the other libraries
def test_three_libraries_give_the_same_vectors(printed):
    differences = [float(found) for found in re.findall(r"largest difference (\S+)", printed("same_vectors.py"))]
    assert len(differences) == 2
    assert max(differences) < 1e-5


def test_search_answers_from_documents_in_other_languages(printed):
    answers = dict(re.findall(r"^(\S.*)\n  (\S+ \(\w+\): .*)$", printed("search.py"), re.MULTILINE))
    assert answers["temperature of the hot spring bath"].startswith("温泉.txt (ja): ")
    assert answers["Does it snow above 2500 metres?"].startswith("meteo.md (fr): Il peut neiger")
    assert answers["人均每天需要多少水?"].startswith("agua.txt (es): Cada persona necesita")
    assert answers["星を見る"].startswith("звёзды.txt (ru): ")
