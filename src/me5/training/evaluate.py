"""Evaluation on the way: the network as a checkpoint folder, judged as `me5 eval` judges any other."""

from collections.abc import Sequence
from pathlib import Path

from me5.evaluation.encoders import open_encoder
from me5.evaluation.readers import read
from me5.evaluation.run import judge


def evaluate(folder: Path, paths: Sequence[Path], out: Path) -> dict[str, float]:
    """The main score of every set, by type and name; whole results go to the folder `out`."""
    tasks = [task for path in paths for task in read(path)]
    encoder = open_encoder(str(folder))
    results = judge(tasks, encoder, yardstick=False, out=out)
    return {f"{result.type}/{result.subset}": result.outcome.score for result in results}
