"""Whatever is judged: texts of one side in, unit vectors out; what was said to the model is on record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from me5.errors import EngineError
from me5.progress import Advance
from me5.prompts import Prompts, Side, task_sentence

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """What stood in front of every text of one side: part of every result. `text` is the literal prefix."""

    side: Side
    task: str | None
    text: str


class Encoder(Protocol):
    """A model under test. `name` is for people; `fingerprint` changes with anything that changes a vector."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A short hash of weights, precision and the like: vectors of equal fingerprints may be mixed."""

    def prompt(self, side: Side, task: str) -> Prompt:
        """What this model puts in front of texts."""

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """Unit vectors (texts, dim) in order."""


def prompt_of(prompts: Prompts, side: Side, task: str) -> Prompt:
    """What a model with these prompts is told. Documents of an instruct model stay bare; fixed prompts take no task."""
    sentence = task_sentence(task) if prompts.style == "instruct" and side != "document" else None
    return Prompt(side, sentence, prompts.prefix(side, sentence))


def unit(vectors: Any, texts: int, name: str) -> Float32:
    """Vectors from elsewhere at unit length, float32 (texts, dim). Raises `EngineError` where they are none."""
    try:
        found = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise EngineError(f"{name} gave vectors of mixed dimensions, or something that is not a number") from error
    if found.ndim != 2 or len(found) != texts:
        raise EngineError(f"{name} gave an array of shape {found.shape} for {texts} texts, expected ({texts}, dim)")
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        raise EngineError(f"{name} gave vectors that are zero or not finite")
    scaled: Float32 = found / norms
    return scaled
