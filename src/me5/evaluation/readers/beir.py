"""A retrieval set in BEIR's layout; with top_ranked.jsonl, reranking."""

from pathlib import Path

from me5.evaluation.languages import of_name
from me5.evaluation.readers import ranked
from me5.evaluation.task import Reranking, Retrieval, Subset
from me5.files import beir, retrieval

# The split to judge on, by preference: MS MARCO and others publish judgements of the dev set only.
SPLITS = ("test", "dev", "validation")


def read(folder: Path) -> Retrieval | Reranking:
    """The set of a folder. Raises `InputError` naming file and line."""
    split = next((name for name in SPLITS if beir.qrels(folder, name).exists()), "test")
    order = folder / "top_ranked.jsonl"
    return ranked.assemble(
        Subset(folder.parent.name, folder.name, of_name(folder.name), split),
        queries=retrieval.queries(beir.part(folder, "queries")),
        corpus=[beir.part(folder, "corpus")],
        judged=beir.judgements(beir.qrels(folder, split)),
        ranked=ranked.candidates([order]) if order.exists() else None,
        source=str(beir.qrels(folder, split)),
    )
