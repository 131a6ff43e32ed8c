"""Teacher scores of every positive and negative, computed once and stored with the relation.

Distillation makes a student rank a query's documents as its teacher does, so every one of them needs a score by the
same teacher; training refuses a query of which one is missing. A score belongs to (query, document, teacher's version):
those that a dataset has already are not computed again.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from me5.data.contract import Relation
from me5.data.dataset import Dataset
from me5.data.jobs import Shard, Workspace
from me5.data.relations import IGNORE, NEGATIVE, POSITIVE, Relations, number_relations
from me5.data.teachers import Teacher
from me5.data.texts import lay_out
from me5.data.vectors import Sharded
from me5.data.writing import write_dataset
from me5.errors import InputError
from me5.files.atomic import check_free
from me5.vectors import Float32

# Relations that are scored before results are saved: what a kill may cost.
SHARD_RELATIONS = 4096


@dataclass(frozen=True)
class ScoreCounts:
    """One source's scores. `known` were there already; `above` negatives beat their query's lowest positive.

    Means are None where there is nothing.
    """

    source: str
    positives: int
    negatives: int
    known: int
    mean_positive: float | None
    mean_negative: float | None
    above: int


def score_relations(
    dataset: Dataset,
    teacher: Teacher,
    *,
    out: Path,
    workspace: Workspace,
    overwrite: bool = False,
) -> list[ScoreCounts]:
    """Write a dataset with a score by `teacher` on every positive and negative to a new one; report by source.

    Scores by other teachers are replaced. A later run resumes from the workspace.
    """
    check_free(out, overwrite=overwrite)
    relations = number_relations(dataset)
    if not len(relations):
        raise InputError(f"{dataset.folder} has no relations; there is nothing to score")
    documents = lay_out(dataset, "documents", workspace)
    queries = lay_out(dataset, "queries", workspace)
    scores = _known(relations, teacher.version)
    known = ~np.isnan(scores) & (relations.kinds != IGNORE)
    wanted = np.flatnonzero(~known & (relations.kinds != IGNORE))
    if len(wanted):
        scoring = workspace.job(
            "scores", rows=len(wanted), size=SHARD_RELATIONS, suffix=".npy",
            settings={"made": "scores", "teacher": teacher.version}, inputs={"dataset": dataset.fingerprint},
        )  # fmt: skip

        def write(shard: Shard, file: IO[bytes]) -> None:
            places = wanted[shard.start : shard.stop]
            left = queries.queries(relations.queries[places])
            right = documents.documents(relations.documents[places])
            np.save(file, teacher.score(list(zip(left, right, strict=True)), advance), allow_pickle=False)

        with workspace.progress(scoring, "Scoring") as advance:
            scoring.run(write)
        scores[wanted] = Sharded(scoring).take(np.arange(len(wanted)))
    counts = _count(relations, scores, known)
    step = {
        "step": "score", "model": teacher.name, "teacher": teacher.version, "input": dataset.fingerprint,
        "sources": [asdict(count) for count in counts],
    }  # fmt: skip
    scored = dataset.items(relations=_scored(dataset, scores, teacher.version))
    write_dataset(out, scored, step=step, before=dataset, overwrite=overwrite)
    return counts


def _known(relations: Relations, version: str) -> Float32:
    """The scores that are this teacher's already, NaN for none: float32 (relations,)."""
    mine = np.array([name == version for name in relations.teacher_names], bool)
    return np.where(mine[relations.teachers], relations.scores, np.float32(np.nan))


def _scored(dataset: Dataset, scores: Float32, version: str) -> Iterator[Relation]:
    for relation, score in zip(dataset.relations(), scores.tolist(), strict=True):
        ignored = relation.kind == "ignore"
        yield relation if ignored else replace(relation, teacher_score=score, teacher=version)


def _count(relations: Relations, scores: Float32, known: npt.NDArray[np.bool_]) -> list[ScoreCounts]:
    positives, negatives = relations.kinds == POSITIVE, relations.kinds == NEGATIVE
    lowest = np.full(int(relations.queries.max()) + 1, np.inf, np.float32)
    np.minimum.at(lowest, relations.queries[positives], scores[positives])
    above = negatives & (scores > lowest[relations.queries])
    counts = []
    for number, name in enumerate(relations.source_names):
        here = relations.sources == number
        right, wrong = here & positives, here & negatives
        counts.append(
            ScoreCounts(
                name, int(right.sum()), int(wrong.sum()), int((known & here).sum()), _mean(scores[right]),
                _mean(scores[wrong]), int((above & here).sum()),
            )
        )  # fmt: skip
    return counts


def _mean(scores: Float32) -> float | None:
    return float(scores.mean(dtype=np.float64)) if len(scores) else None
