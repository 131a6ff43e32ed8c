"""nDCG@10 of words and the model joined as `me5 search` joins its two, set by set and weight by weight, as JSON."""

from __future__ import annotations

import argparse
import json
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from me5.evaluation import bm25
from me5.evaluation.encoders import open_encoder
from me5.evaluation.protocols import prompts_of
from me5.evaluation.protocols.ranking import outcome, rank
from me5.evaluation.readers import read
from me5.search.fusion import CANDIDATES, covered, fused
from me5.search.language import detect
from me5.search.searching import COMPARED, is_foreign
from me5.words import terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from me5.evaluation.exact import Ranking


WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def joined(question: str, texts: Mapping[str, str], words: Ranking, cosines: Ranking) -> list[Ranking]:
    """Return the joined scores of the best of both, at each weight of the model."""
    near, matching = (
        dict(sorted(side.items(), key=itemgetter(1), reverse=True)[:CANDIDATES]) for side in (cosines, words)
    )
    nearest = [{"language": detect(texts[name])} for name in list(near)[:COMPARED]]
    best = (texts[name] for name in list(matching)[:COMPARED])
    said = {"coverage": covered(question, best), "foreign": is_foreign(question, nearest)}
    return [fused(near, matching, weight, **said) for weight in WEIGHTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+", help="BEIR folders, or folders of them")
    parser.add_argument("--cache", type=Path, help="vectors of `me5 eval run`")
    arguments = parser.parse_args()
    encoder = open_encoder(str(arguments.model), precision="bf16", cache=arguments.cache)
    found: dict[str, dict[str, float]] = {}
    for task in (task for path in arguments.sets for task in read(path)):
        asking, answering = prompts_of(task, encoder, None)
        texts = dict(task.documents)
        by_words = bm25.rank(task, terms, partial(terms, question=True))
        both = zip(task.queries.values(), by_words, rank(task, encoder, asking, answering).rankings, strict=True)
        rankings = [joined(question, texts, words, cosines) for question, words, cosines in both]
        scores = [outcome(task, list(one)).score for one in zip(*rankings, strict=True)]
        found[task.subset.name] = dict(zip(map(str, WEIGHTS), scores, strict=True))
        print(task.subset.name, *(f"{100 * score:.1f}" for score in scores), flush=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
