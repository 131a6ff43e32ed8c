"""The shipped test double: deterministic unit vectors without a model, for testing what stands around an engine."""

from collections.abc import Sequence

import numpy as np

from me5.engine.base import Engine, Float32, TokenIds


class FakeEngine(Engine):
    """Gives every token sequence a random but fixed vector: equal sequences get equal vectors, in any batch."""

    precision = "f32"

    def __init__(self, dim: int = 8, batch_tokens: int = 1152) -> None:
        self.dim = dim
        self.batch_tokens = batch_tokens
        self.calls: list[int] = []

    def embed(self, rows: Sequence[Sequence[TokenIds]], width: int) -> Float32:
        """See `Engine.embed`."""
        if any(sum(map(len, row)) > width for row in rows):
            raise ValueError(f"a row is longer than its width of {width} tokens")
        sequences = [sequence for row in rows for sequence in row]
        self.calls.append(sum(map(len, sequences)))
        vectors = np.stack([np.random.default_rng(sequence).standard_normal(self.dim) for sequence in sequences])
        unit: Float32 = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit
