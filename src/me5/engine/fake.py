"""The shipped test double: deterministic unit vectors without a model, for testing the code around an engine."""

from collections.abc import Sequence

import numpy as np

from me5.engine.base import Engine, TokenIds
from me5.vectors import Float32, normalized


class FakeEngine(Engine):
    """Gives every token sequence a random but fixed vector: equal sequences get equal vectors, in any batch."""

    precision = "f32"

    def __init__(self, dim: int = 8, batch_tokens: int = 1152) -> None:
        self.dim = dim
        self.batch_tokens = batch_tokens
        self.calls: list[int] = []

    def embed(self, sequences: Sequence[TokenIds]) -> Float32:
        """See `Engine.embed`."""
        return normalized(np.stack([state[0] for state in self.states(sequences)]))

    def states(self, sequences: Sequence[TokenIds]) -> list[Float32]:
        """See `Engine.states`."""
        self.calls.append(sum(map(len, sequences)))
        shapes = [(len(sequence), self.dim) for sequence in sequences]
        drawn = [
            np.random.default_rng(ids).standard_normal(shape) for ids, shape in zip(sequences, shapes, strict=True)
        ]
        return [state.astype(np.float32) for state in drawn]
