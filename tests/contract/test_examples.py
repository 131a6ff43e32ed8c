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
