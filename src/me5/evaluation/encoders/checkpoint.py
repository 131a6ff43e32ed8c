"""An `Embedder` under test: a me5 checkpoint at any precision."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

from me5 import fingerprint
from me5._version import __version__
from me5.embedder import Embedder
from me5.evaluation.encoders.base import Float32, Prompt, prompt_of
from me5.progress import Advance
from me5.prompts import Prompts, Side
from me5.vectors import join


class CheckpointEncoder:
    """See `Encoder`."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = f"{embedder.checkpoint.name} ({embedder.precision})"
        self.embedder = embedder

    @cached_property
    def fingerprint(self) -> str:
        """See `Encoder.fingerprint`. The version and the engine count too: two may differ in the last bits."""
        embedder = self.embedder
        vectors = fingerprint.of_vectors(
            embedder.checkpoint,
            precision=embedder.precision,
            max_tokens=embedder.max_seq_length,
            truncation=embedder.truncation,
            prompts=None,
        )
        return hashlib.sha256(f"{__version__} {type(embedder.engine).__name__} {vectors}".encode()).hexdigest()[:32]

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`."""
        return prompt_of(self.embedder.prompts, side, task)

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`. The model reads `prompt.text` to the letter, whatever its own prompts are."""
        literal = Prompts("prefix", query=prompt.text, document=prompt.text, both=prompt.text)
        embedder = self.embedder.with_prompts(literal)
        return join(list(embedder.stream(texts, prompt.side, advance=advance)), embedder.dim)
