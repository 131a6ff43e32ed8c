"""A teacher's vectors of a dataset's queries: computed once, a shard at a time, and mapped from disk thereafter."""

import hashlib
from pathlib import Path

from me5.checkpoint import Checkpoint, resolve
from me5.data.contract import Query
from me5.data.dataset import Dataset
from me5.data.jobs import Workspace
from me5.data.vectors import Vectors, embed_table
from me5.embedder import Embedder
from me5.engine import resolve_precision
from me5.preprocessor import Preprocessor
from me5.progress import Advance
from me5.prompts import NONE, Prompts
from me5.vectors import Float32, join


def open_vectors(dataset: Dataset, model: str, cache: Path, *, advance: Advance, device: str = "cpu") -> Vectors:
    """Unit vectors float16 by row of the dataset's queries, from a folder below `cache`.

    The teacher reads bare texts, or those with its own prompt for symmetric use where it has one. It is loaded only
    where vectors are missing.
    """
    checkpoint = resolve(model)
    embedder: Embedder | None = None

    def embed(queries: list[Query], advance: Advance) -> Float32:
        nonlocal embedder
        embedder = embedder or Embedder.load(checkpoint.path, device=device, prompts=_prompts(checkpoint))
        return join(list(embedder.stream((query.text for query in queries), "both", advance=advance)), embedder.dim)

    version = version_of(checkpoint, device)
    workspace = Workspace(folder_of(cache, dataset, version))
    return embed_table(dataset, "queries", version, embed, workspace, advance=advance)


def folder_of(cache: Path, dataset: Dataset, version: str) -> Path:
    """The folder of a dataset's vectors, named by everything that decides them."""
    made_of = f"{dataset.table_fingerprint('queries')} {version}"
    return cache / f"teacher-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def version_of(checkpoint: Checkpoint, device: str) -> str:
    """A fingerprint of everything that decides the teacher's vector of a text."""
    return Preprocessor(checkpoint, prompts=_prompts(checkpoint)).fingerprint(resolve_precision(device))


def _prompts(checkpoint: Checkpoint) -> Prompts:
    return checkpoint.prompts or NONE
