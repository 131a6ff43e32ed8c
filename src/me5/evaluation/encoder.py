"""Whatever is judged: texts of one side in, unit vectors out; what was said to the model is on record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from me5.embedder import Embedder
from me5.progress import Advance
from me5.prompts import Side

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """What stood in front of every text of one side: part of every result. `text` is the literal prefix."""

    side: Side
    task: str | None
    text: str


class Encoder(Protocol):
    """A model under test; `name` is for people."""

    name: str

    def prompt(self, side: Side, task: str) -> Prompt:
        """What this model puts in front of texts."""

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """Unit vectors (texts, dim) in order."""


class CheckpointEncoder:
    """An `Embedder` under test. A model with fixed prompts, or none, is given no task."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = f"{embedder.checkpoint.name} ({embedder.precision})"
        self._embedder = embedder

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`. Documents of an instruct model stay bare."""
        prompts = self._embedder.prompts
        told = task if prompts.style == "instruct" and side != "document" else None
        return Prompt(side, told, prompts.prefix(side, told))

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`."""
        blocks = list(self._embedder.stream(texts, prompt.side, task=prompt.task, advance=advance))
        return np.concatenate(blocks) if blocks else np.empty((0, self._embedder.dim), np.float32)
