"""A teacher's vectors of a dataset's queries, made once and mapped; a run that is stopped goes on where it was."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from me5.checkpoint import Checkpoint, resolve
from me5.data.contract import Dataset
from me5.embedder import Embedder
from me5.engine import resolve_precision
from me5.files.atomic import explained
from me5.preprocessor import Preprocessor
from me5.progress import Advance
from me5.prompts import NONE, Prompts


def open_vectors(
    dataset: Dataset, model: str, folder: Path, *, advance: Advance, device: str = "cpu"
) -> npt.NDArray[np.float16]:
    """Unit vectors (queries, dim) float16, in the order of the dataset's queries, from a file below `folder`.

    The teacher reads bare texts, or those with its own prompt for symmetric use where it has one.
    """
    checkpoint = resolve(model)
    path = path_of(folder, dataset, checkpoint, device)
    width, rows = checkpoint.config.hidden_size, dataset.counts["queries"]
    done = path.stat().st_size // (2 * width) if path.exists() else 0
    if done < rows:
        with explained(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
        embedder = Embedder.load(checkpoint.path, device=device, prompts=_prompts(checkpoint))
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(done * 2 * width)  # over a row that was cut short
            for vectors in embedder.stream(_texts(dataset, done), "both", advance=advance):
                with explained(str(path)):
                    file.write(vectors.astype(np.float16).tobytes())
                    file.flush()
    return np.memmap(path, np.float16, "r", shape=(rows, width))


def _texts(dataset: Dataset, first: int) -> Iterator[str]:
    at = 0
    for batch in dataset.queries(["text"]):
        texts = batch.column(0).to_pylist()
        yield from texts[max(first - at, 0) :]
        at += len(texts)


def path_of(folder: Path, dataset: Dataset, checkpoint: Checkpoint, device: str) -> Path:
    """The file of a dataset's vectors, named by everything that decides them."""
    vectors = Preprocessor(checkpoint, prompts=_prompts(checkpoint)).fingerprint(resolve_precision(device))
    return folder / f"teacher-{hashlib.sha256(f'{dataset.fingerprint} {vectors}'.encode()).hexdigest()[:16]}.f16"


def _prompts(checkpoint: Checkpoint) -> Prompts:
    return checkpoint.prompts or NONE
