"""nDCG@10 of BM25 and the model fused by reciprocal ranks (Cormack et al. 2009), set by set, as JSON."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from me5.evaluation import bm25
from me5.evaluation.encoders import open_encoder
from me5.evaluation.protocols import prompts_of
from me5.evaluation.protocols.ranking import outcome, rank
from me5.evaluation.readers import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.exact import Ranking

CONSTANT = 60
DEPTH = 100  # of each ranking, as `me5 search` takes


def fused(rankings: Sequence[Ranking]) -> Ranking:
    """Return the sums of the reciprocal ranks of each document."""
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, name in enumerate(sorted(ranking, key=ranking.__getitem__, reverse=True)[:DEPTH], 1):
            scores[name] += 1 / (CONSTANT + place)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+", help="BEIR folders, or folders of them")
    parser.add_argument("--cache", type=Path, help="vectors of `me5 eval run`")
    arguments = parser.parse_args()
    encoder = open_encoder(str(arguments.model), precision="f32", cache=arguments.cache)
    found = {}
    for task in (task for path in arguments.sets for task in read(path)):
        asking, answering = prompts_of(task, encoder, None)
        both = zip(bm25.rank(task), rank(task, encoder, asking, answering), strict=True)
        found[task.subset.name] = outcome(task, [fused(pair) for pair in both]).score
        print(task.subset.name, f"{100 * found[task.subset.name]:.1f}", flush=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
