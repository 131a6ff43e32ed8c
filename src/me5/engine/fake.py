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
        vectors = np.stack([state[0] for state in self.states(rows, width)])
        unit: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def states(self, rows: Sequence[Sequence[TokenIds]], width: int) -> list[Float32]:
        """See `Engine.states`."""
        if any(sum(map(len, row)) > width for row in rows):
            raise ValueError(f"a row is longer than its width of {width} tokens")
        sequences = [sequence for row in rows for sequence in row]
        self.calls.append(sum(map(len, sequences)))
        shapes = [(len(sequence), self.dim) for sequence in sequences]
        drawn = [
            np.random.default_rng(ids).standard_normal(shape) for ids, shape in zip(sequences, shapes, strict=True)
        ]
        return [state.astype(np.float32) for state in drawn]
