"""The reference: the encoder in plain numpy float32, slow, one sequence at a time, no packing, no mask, no graph.

`me5 verify` and the tests compare the fast engines with it. It follows the published definition of the network
(post-norm BERT: Devlin et al. 2018; RoBERTa's shifted positions: Liu et al. 2019) and shares no code with them but the
reading of weights.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from me5.checkpoint import Checkpoint
from me5.engine.base import Engine, TokenIds, check_finite
from me5.vectors import Float32
from me5.weights import Weights

# numpy has no erf. Between these points, 6e-5 apart, linear interpolation errs by less than 5e-10, under the
# resolution of float32.
_GRID = np.linspace(-6.0, 6.0, 200_001)
_ERF = np.array([math.erf(x) for x in _GRID])


class ReferenceEngine(Engine):
    """Runs a checkpoint slowly and plainly, in float32."""

    precision = "f32"
    batch_tokens = 1

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.dim = checkpoint.config.outputs
        self._config = checkpoint.config
        self._weights = Weights(checkpoint.weights, checkpoint.config)
        self._read = lru_cache(maxsize=32)(self._weights.float32)

    def embed(self, sequences: Sequence[TokenIds]) -> Float32:
        """See `Engine.embed`."""
        end = self._pool if self._config.head is None else self._head
        return np.stack([end(x) for x in self.states(sequences)])

    def states(self, sequences: Sequence[TokenIds]) -> list[Float32]:
        """See `Engine.states`."""
        states = [self._embed_tokens(sequence) for sequence in sequences]
        for layer in range(self._config.layers):
            self._read.cache_clear()  # a layer's weights are read once for all sequences
            states = [self._layer(x, f"layers.{layer}") for x in states]
        check_finite(np.array([x.sum() for x in states]))
        return states

    def _embed_tokens(self, ids: TokenIds) -> Float32:
        first, weights = self._config.first_position, self._weights
        positions = np.arange(first, first + len(ids))
        vocabulary = self._config.vocab_size
        types = ids // vocabulary if self._config.types > 1 else np.zeros_like(ids)
        words = weights.rows("words", ids - types * vocabulary)
        x = words + weights.rows("positions", positions) + weights.rows("types", types)
        return self._norm(x, "embedding_norm")

    def _layer(self, x: Float32, name: str) -> Float32:
        x = self._norm(x + self._attention(x, name), f"{name}.attention_norm")
        inner = _gelu(self._linear(x, f"{name}.feedforward_in"))
        return self._norm(x + self._linear(inner, f"{name}.feedforward_out"), f"{name}.feedforward_norm")

    def _pool(self, x: Float32) -> Float32:
        vector: Float32 = x.mean(axis=0) if self._config.pooling == "mean" else x[0]
        unit: Float32 = vector / np.maximum(np.linalg.norm(vector), np.float32(1e-12))
        return unit

    def _head(self, x: Float32) -> Float32:
        return self._linear(np.tanh(self._linear(x[0], "head.dense")), "head.logits")

    def _attention(self, x: Float32, name: str) -> Float32:
        """Every token of the sequence attends to every other, per head."""
        tokens, hidden = x.shape
        heads = self._config.heads
        query, key, value = (
            self._linear(x, f"{name}.{part}").reshape(tokens, heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        logits = query @ key.swapaxes(1, 2) / np.float32(math.sqrt(hidden // heads))
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        attended: Float32 = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        return self._linear(attended.swapaxes(0, 1).reshape(tokens, hidden), f"{name}.attention_output")

    def _linear(self, x: Float32, name: str) -> Float32:
        out: Float32 = x @ self._read(f"{name}.weight").T + self._read(f"{name}.bias")
        return out

    def _norm(self, x: Float32, name: str) -> Float32:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(self._config.layer_norm_eps))
        out: Float32 = scaled * self._read(f"{name}.weight") + self._read(f"{name}.bias")
        return out


def _gelu(x: Float32) -> Float32:
    erf = np.interp(x * np.float32(1 / math.sqrt(2)), _GRID, _ERF).astype(np.float32)
    out: Float32 = np.float32(0.5) * x * (np.float32(1) + erf)
    return out
