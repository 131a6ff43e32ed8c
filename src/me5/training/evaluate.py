"""Evaluation on the way: the network as a checkpoint folder, judged as `me5 eval` judges any other."""

from collections.abc import Callable
from pathlib import Path

from me5.files.atomic import new_folder
from me5.training.recipe import EvaluationSettings

Judge = Callable[[Path, Path], dict[str, float]]


def open_judge(settings: EvaluationSettings, *, device: str = "cpu", ranks: bool = False) -> Judge:
    """Read the sets, and give what judges: (checkpoint folder, folder for results) -> main scores by type and set.

    `ranks`: the folder is a cross-encoder, which orders the best documents of `settings.first`. Raises
    `MissingExtraError` without the extra `eval`, and `InputError` where a path holds no set, before training.
    """
    # Imported here: most recipes have no evaluation, and need not have its extra.
    from me5.evaluation.encoders import open_encoder
    from me5.evaluation.exact import Ranking
    from me5.evaluation.readers import read_all
    from me5.evaluation.run import judge
    from me5.evaluation.second import SecondStage, check_ranked
    from me5.evaluation.task import Subset
    from me5.reranker import Reranker

    tasks = read_all(settings.paths)

    first = None
    rankings: dict[Subset, list[Ranking]] = {}
    if ranks:
        for task in tasks:
            check_ranked(task)
        first = open_encoder(settings.first, device=device)

    def judged(folder: Path, out: Path) -> dict[str, float]:
        encoder, second = first, None
        if encoder is not None:
            second = SecondStage(Reranker.load(folder, device=device), settings.depth, rankings)
        with new_folder(out, overwrite=True) as partial:  # a step may be done once more
            results = judge(
                tasks, encoder or open_encoder(str(folder), device=device), second=second, yardstick=False, out=partial
            )
            return {f"{result.type}/{result.subset}": result.outcome.score for result in results}

    return judged
