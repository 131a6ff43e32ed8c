"""MIRACL, Mr.TyDi and others in TREC's layout."""

import re
from pathlib import Path

from me5.evaluation.languages import UNKNOWN, of_name
from me5.evaluation.readers import ranked
from me5.evaluation.readers.beir import SPLITS
from me5.evaluation.sentences import sentence_of_set
from me5.evaluation.task import Reranking, Retrieval, Subset
from me5.files import trec
from me5.files.trec import Collection

# How papers and mteb write the names.
_TASKS = {"miracl": "MIRACL", "mrtydi": "MrTyDi"}


def collections(folder: Path) -> list[Collection]:
    """The collections of a folder by name, each with the best split of `SPLITS` that has judgements."""
    judged = [one for one in trec.collections(folder) if one.qrels is not None and one.split in SPLITS]
    judged.sort(key=lambda one: (one.name, -SPLITS.index(one.split)))
    return list({one.name: one for one in judged}.values())


def read(collection: Collection) -> Retrieval | Reranking:
    """The task of a collection. Raises `InputError` naming file and line."""
    code = collection.language
    task = _TASKS.get(collection.family, collection.family)
    languages = of_name(code) if re.fullmatch(r"[a-z]{2,3}", code) else UNKNOWN
    return ranked.assemble(
        Subset(task, code, languages, collection.split, sentence_of_set(task)),
        queries=trec.topics(collection.topics),
        corpus=collection.corpus(),
        judged=trec.judgements(collection.judged()),
        source=str(collection.judged()),
    )
