"""A retrieval set in BEIR's form: corpus.jsonl, queries.jsonl and qrels/test.tsv; with top_ranked.jsonl, reranking."""

from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.evaluation.languages import of_name
from me5.evaluation.readers import ranked
from me5.evaluation.readers.tables import lines
from me5.evaluation.task import Reranking, Retrieval, Subset

_HEADER = ["query-id", "corpus-id", "score"]
# The split to judge on, by preference: MS MARCO and others publish judgements of the dev set only.
SPLITS = ("test", "dev", "validation")


def is_one(folder: Path) -> bool:
    """Whether a folder looks like a set in this form."""
    return _corpus(folder).exists()


def _corpus(folder: Path) -> Path:
    packed = folder / "corpus.jsonl.gz"
    return packed if packed.exists() else folder / "corpus.jsonl"


def read(folder: Path) -> Retrieval | Reranking:
    """The set of a folder. Raises `InputError` naming file and line."""
    split = next((name for name in SPLITS if (folder / "qrels" / f"{name}.tsv").exists()), "test")
    judgements = folder / "qrels" / f"{split}.tsv"
    order = folder / "top_ranked.jsonl"
    return ranked.assemble(
        Subset(folder.parent.name, folder.name, of_name(folder.name), split),
        asked=ranked.queries([folder / "queries.jsonl"]),
        corpus=[_corpus(folder)],
        judged=_judgements(judgements),
        ranked=ranked.candidates([order]) if order.exists() else None,
        source=str(judgements),
    )


def _judgements(path: Path) -> Iterator[ranked.Judgement]:
    for number, line in lines(path):
        fields = line.split("\t")
        if number == 1 and fields == _HEADER:
            continue
        if len(fields) != 3 or not fields[2].lstrip("-").isdigit():
            raise InputError(
                f"{path}, line {number}: expected query-id TAB corpus-id TAB whole number, got {line[:60]!r}"
            )
        yield f"{path}, line {number}", fields[0], fields[1], int(fields[2])
