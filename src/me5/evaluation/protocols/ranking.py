"""Retrieval and reranking: rankings by cosine, judged by trec_eval's figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from me5.calibration.applied import NEIGHBOURS, Calibration, neighbourhood_of
from me5.calibration.bound import Sides
from me5.calibration.curve import Floats
from me5.evaluation import abstention, reliability
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.exact import Block, Ranking, groups, rerank, search
from me5.evaluation.metrics import DEPTHS, by_query
from me5.evaluation.protocols import shown
from me5.evaluation.task import Corpus, Outcome, Reranking, Retrieval
from me5.progress import Advance

# Documents that are embedded and scored together: 16,384 vectors of 1,024 dimensions are 64 MB.
BLOCK_DOCUMENTS = 16_384
# What counts, as in mteb's tasks.
MAIN = {Retrieval: "ndcg_at_10", Reranking: "map_at_1000"}


@dataclass(frozen=True)
class Ranked:
    """A ranking per query, and the neighbourhood of each (queries,); None in a set with too few documents."""

    rankings: list[Ranking]
    neighbourhood: Floats | None


def retrieval(
    task: Retrieval, encoder: Encoder, asking: Prompt, answering: Prompt, *,
    calibration: Calibration | None = None, advance: Advance | None = None,
) -> Outcome:  # fmt: skip
    """Rank all documents for every query; a calibration of these prompts is judged too, if it tells among so few."""
    ranked = rank(task, encoder, asking, answering, advance=advance)
    judged = outcome(task, ranked.rankings)
    if calibration is None or calibration.sides != Sides(asking.text, answering.text):
        return judged
    if not calibration.tells(len(task.documents)):
        return judged
    run = dict(zip(task.queries, ranked.rankings, strict=True))
    added = reliability.figures(task.relevant, run, ranked.neighbourhood, judged.samples, judged.main, calibration)
    return replace(judged, scores={**judged.scores, **added})


def rank(
    task: Retrieval, encoder: Encoder, asking: Prompt, answering: Prompt, *,
    depth: int = max(DEPTHS), advance: Advance | None = None,
) -> Ranked:  # fmt: skip
    """Rank so many documents, by default as many as the deepest figure looks at."""
    queries = encoder.embed(list(task.queries.values()), asking, advance)
    blocks = _embedded(groups(task.documents, BLOCK_DOCUMENTS), encoder, answering, advance)
    found = search(queries, blocks, max(depth, NEIGHBOURS))
    neighbourhood = [neighbourhood_of(list(ranking.values()), len(task.documents)) for ranking in found]
    known = [value for value in neighbourhood if value is not None]
    rankings = [dict(islice(ranking.items(), depth)) for ranking in found]
    return Ranked(rankings, np.array(known) if len(known) == len(found) else None)


def reranking(
    task: Reranking, encoder: Encoder, asking: Prompt, answering: Prompt, *, advance: Advance | None = None
) -> Outcome:
    """Rank each query's own candidates."""
    return outcome(task, rank_candidates(task, encoder, asking, answering, advance=advance))


def rank_candidates(
    task: Reranking, encoder: Encoder, asking: Prompt, answering: Prompt, *, advance: Advance | None = None
) -> list[Ranking]:
    """Rank each query's own candidates. Documents that nobody asks for are not embedded."""
    queries = encoder.embed(list(task.queries.values()), asking, advance)
    listed = [task.candidates[query] for query in task.queries]
    wanted = set().union(*listed)
    chosen = ((name, text) for name, text in task.documents if name in wanted)
    blocks = _embedded(groups(chosen, BLOCK_DOCUMENTS), encoder, answering, advance)
    return rerank(queries, listed, blocks)


def _embedded(
    blocks: Iterator[tuple[list[str], list[str]]], encoder: Encoder, prompt: Prompt, advance: Advance | None
) -> Iterator[Block]:
    for ids, texts in blocks:
        yield ids, encoder.embed(texts, prompt, advance)


def outcome(task: Retrieval | Reranking, rankings: Sequence[Ranking], *, cosines: bool = True) -> Outcome:
    """The figures of one ranking per query, in the order of the queries: means over all of them.

    `cosines` says whether its scores may be some, which are drawn.
    """
    run = dict(zip(task.queries, rankings, strict=True))
    values = by_query(task.relevant, run)
    scores = {name: float(np.mean(list(of_query.values()))) for name, of_query in values.items()}
    scores["accuracy"] = scores["recall_at_1"]  # mteb's name for it in tasks of choice
    scores |= abstention.gains(values, abstention.confidences([run[query] for query in task.relevant]))
    main = MAIN[type(task)]
    return Outcome(scores, main, values[main], shown=_shown(task, run, values[main], cosines))


# What is shown of a judged document that the corpus lacks.
_NOT_THERE = "(not in the corpus)"


def _shown(
    task: Retrieval | Reranking, run: dict[str, Ranking], samples: dict[str, float], cosines: bool
) -> dict[str, Any]:
    right, wrong = [], []
    for query, ranking in run.items():
        grades = task.relevant[query]
        right += [ranking[name] for name, grade in grades.items() if grade > 0 and name in ranking]
        wrong += [score for name, score in ranking.items() if grades.get(name, 0) <= 0][:1]
    drawn: dict[str, Any] = {"failures": _failures(task, run, shown.worst(samples))}
    if cosines and max((*right, *wrong), default=2.0) <= 1.001:  # and not BM25's scores
        drawn["histogram"] = shown.histogram(right, wrong)
    return drawn


def _failures(task: Retrieval | Reranking, run: dict[str, Ranking], queries: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str, list[str]] = {}
    wanted: dict[str, list[str]] = {}
    for query in queries:
        found[query] = best_first(run[query])[:3]
        wanted[query] = [name for name, grade in task.relevant[query].items() if grade > 0][:2]
    texts = _texts(task.documents, [*found.values(), *wanted.values()])
    failures = []
    for query in queries:
        ranking = run[query]
        places = {name: place for place, name in enumerate(best_first(ranking), 1)}
        found_texts = [shown.text(texts[name], ranking[name], places[name]) for name in found[query]]
        wanted_texts = [
            shown.text(texts.get(name, _NOT_THERE), ranking.get(name), places.get(name)) for name in wanted[query]
        ]
        failures.append(shown.failure(task.queries[query], found_texts, wanted_texts))
    return failures


def best_first(ranking: Ranking) -> list[str]:
    """The documents of a ranking; equal scores by descending id, as trec_eval has them."""
    return sorted(ranking, key=lambda name: (ranking[name], name), reverse=True)


def _texts(documents: Corpus, names: Sequence[Sequence[str]]) -> dict[str, str]:
    return documents.texts({name for some in names for name in some})
