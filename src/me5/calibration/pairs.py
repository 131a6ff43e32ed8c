"""Labelled pairs in files → their cosines: columns query, document and label, or whatever `me5 eval` reads as such.

Of a retrieval set the pairs are those that a search shows: each question with the first documents that are found for
it. What nobody judged counts as irrelevant, as everywhere in retrieval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from me5.calibration.curve import Floats
from me5.calibration.scored import Bools, Ints, Scored
from me5.embedder import Embedder
from me5.errors import InputError
from me5.evaluation import readers
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.encoders.checkpoint import CheckpointEncoder
from me5.evaluation.exact import groups, rerank
from me5.evaluation.protocols.ranking import BLOCK_DOCUMENTS, rank
from me5.evaluation.task import PairClassification, Reranking, Retrieval, Similarity, Task
from me5.files.place import FileError
from me5.files.records import Record, Records, format_of, records
from me5.progress import Advance
from me5.prompts import Side
from me5.vectors import Float32, paired_cosines

LABELS = ("label", "relevance", "grade", "score")
FORMS = (
    "a .jsonl, .csv, .tsv or .parquet of query, document and label, or a set of retrieval, reranking, pair "
    "classification or similarity that `me5 eval` reads"
)
DEPTH = 10


@dataclass(frozen=True)
class Listed:
    """Pairs of texts with their grades, from one file."""

    name: str
    queries: Sequence[str]
    documents: Sequence[str]
    grades: Sequence[float]
    symmetric: bool = False


Source = Listed | Retrieval | Reranking


@dataclass(frozen=True)
class Set:
    """The pairs of one file or folder: questions numbered from 0, cosines, relevant or not.

    `neighbourhood` is, for each pair, that of its question (`applied.neighbourhood_of`); None where these are pairs
    that somebody chose, or a set with too few passages.
    """

    name: str
    languages: tuple[str, ...]
    question: Ints
    cosine: Floats
    relevant: Bools
    neighbourhood: Floats | None = None


def read(paths: Sequence[Path], *, symmetric: bool | None, graded: bool) -> list[Source]:
    """The sources of labelled pairs in some files and folders.

    Raises `InputError` for data without labels of pairs; for scores of similarity without a grade to start from, where
    not `graded`; and where pairs of two like texts are mixed with pairs of question and document.
    """
    found = [source for path in paths for source in _read(path, graded=graded)]
    kinds = {isinstance(source, Listed) and source.symmetric for source in found}
    if symmetric is None and len(kinds) > 1:
        raise InputError(
            "some of these files have pairs of two like texts, others of question and document, and their cosines mean "
            "different things; calibrate with one kind"
        )
    return found


def is_symmetric(sources: Sequence[Source]) -> bool:
    """Whether these are pairs of two like texts, for which both sides have one prompt."""
    return all(isinstance(source, Listed) and source.symmetric for source in sources)


def texts_of(source: Source) -> int:
    """The number of texts that are embedded, for a progress bar."""
    if isinstance(source, Listed):
        return len(set(source.queries)) + len(set(source.documents))
    return len(source.queries) + len(source.documents)


def score(
    source: Source,
    embedder: Embedder,
    *,
    task: str | None,
    symmetric: bool,
    least: float = 1.0,
    depth: int = DEPTH,
    encoder: Encoder | None = None,
    advance: Advance | None = None,
) -> Set:
    """The cosines of a source's pairs, relevant from the grade `least` on; a search shows `depth` documents.

    `encoder` is what embeds, with the prompts of the embedder: None the embedder itself.
    """
    by = encoder or CheckpointEncoder(embedder)

    def prompt(side: Side) -> Prompt:
        used: Side = "both" if symmetric else side
        sentence = task if used != "document" else None
        return Prompt(used, sentence, embedder.prompts.prefix(used, sentence))

    def asked(texts: Sequence[str]) -> Float32:
        return by.embed(texts, prompt("query"), advance)

    def answering(texts: Sequence[str]) -> Float32:
        return by.embed(texts, prompt("document"), advance)

    if isinstance(source, Listed):
        left, right = (dict.fromkeys(texts) for texts in (source.queries, source.documents))
        at = ({text: place for place, text in enumerate(texts)} for texts in (left, right))
        rows = [
            np.array([places[text] for text in texts])
            for places, texts in zip(at, (source.queries, source.documents), strict=True)
        ]
        cosines = paired_cosines(asked(list(left))[rows[0]], answering(list(right))[rows[1]])
        return Set(source.name, (), rows[0], cosines.astype(float), np.array(source.grades) >= least)
    if isinstance(source, Retrieval):
        ranked = rank(source, by, prompt("query"), prompt("document"), depth=depth, advance=advance)
        return _of_rankings(source, ranked.rankings, ranked.neighbourhood, least)
    wanted = set(chain.from_iterable(source.candidates.values()))
    chosen = ((name, text) for name, text in source.documents if name in wanted)
    blocks = ((ids, answering(texts)) for ids, texts in groups(chosen, BLOCK_DOCUMENTS))
    queries = asked(list(source.queries.values()))
    rankings = rerank(queries, [source.candidates[query] for query in source.queries], blocks)
    return _of_rankings(source, rankings, None, least)


def neighbourhoods_of(sets: Sequence[Set]) -> Floats | None:
    """The neighbourhood of each pair of all sets; None where that of some is not known."""
    found = [one.neighbourhood for one in sets if one.neighbourhood is not None]
    return np.concatenate(found) if len(found) == len(sets) else None


def together(sets: Sequence[Set]) -> Scored:
    """The pairs of all sets; questions of two sets are never one."""
    starts = np.cumsum([0, *(int(one.question.max()) + 1 if len(one.question) else 0 for one in sets)])
    numbered = [one.question + start for one, start in zip(sets, starts, strict=False)]
    # Questions whose lists are empty have no number left.
    _, question = np.unique(np.concatenate(numbered), return_inverse=True)
    return Scored(
        question.astype(np.int64),
        np.concatenate([one.cosine for one in sets]),
        np.concatenate([one.relevant for one in sets]),
    )


def _of_rankings(
    source: Retrieval | Reranking, rankings: Sequence[Mapping[str, float]], neighbourhood: Floats | None, least: float
) -> Set:
    question, cosine, relevant = [], [], []
    for number, (query, ranking) in enumerate(zip(source.queries, rankings, strict=True)):
        grades = source.relevant[query]
        for document, value in ranking.items():
            question.append(number)
            cosine.append(value)
            relevant.append(grades.get(document, 0) >= least)
    asked = np.array(question, np.int64)
    return Set(
        str(source.subset), source.subset.languages, asked, np.array(cosine, float), np.array(relevant, bool),
        None if neighbourhood is None else neighbourhood[asked],
    )  # fmt: skip


def _read(path: Path, *, graded: bool) -> list[Source]:
    if path.is_file() and {"query", "document"} <= _columns(path):
        return [_listed(path)]
    if path.is_file() and format_of(path) == "csv":
        raise InputError(f"{path} has no columns query and document; expected {FORMS}")
    return [_source(path, task, graded=graded) for task in readers.read(path)]


def _columns(path: Path) -> set[str]:
    """The columns of the first record; none where it is not a file of records with a head."""
    if format_of(path) is None:
        return set()
    try:
        first = next(iter(Records(path)), None)
    except FileError:  # whoever reads it then says what is wrong with it
        return set()
    return set() if first is None else set(first.values)


def _listed(path: Path) -> Listed:
    queries, documents, grades = [], [], []
    for record in records(path):
        queries.append(record.text("query"))
        documents.append(record.text("document"))
        grades.append(_grade(record))
    return Listed(path.name, queries, documents, grades)


def _grade(record: Record) -> float:
    value = next((record.values[name] for name in LABELS if record.values.get(name) is not None), None)
    try:
        grade = float(value) if isinstance(value, bool | int | float | str) else math.nan
    except ValueError:
        grade = math.nan
    if not math.isfinite(grade):
        raise FileError(record.place, f"expected a number under one of {', '.join(LABELS)}, got {value!r:.60}")
    return grade


def _source(path: Path, task: Task, *, graded: bool) -> Source:
    if isinstance(task, Retrieval | Reranking):
        return task
    if isinstance(task, PairClassification):
        return Listed(str(task.subset), task.left, task.right, [float(label) for label in task.labels], symmetric=True)
    if isinstance(task, Similarity):
        if not graded:
            raise InputError(
                f"{path} has scores of similarity from {min(task.scores):g} to {max(task.scores):g}; say from which on "
                "two texts belong together, with --relevant-from"
            )
        return Listed(str(task.subset), task.left, task.right, task.scores, symmetric=True)
    raise InputError(f"{path} ({type(task).__name__}) has no labels of pairs; expected {FORMS}")
