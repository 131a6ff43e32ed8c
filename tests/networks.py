"""Networks of a few thousand parameters with random weights, and sequences for them."""

from typing import Any

import numpy as np

from me5.checkpoint import ModelConfig
from me5.model.sequences import Sequences, concatenate


def small(**changes: Any) -> ModelConfig:
    """The shape of a tiny XLM-RoBERTa, some of it changed."""
    shape: dict[str, Any] = {
        "body": "xlm-roberta", "vocab_size": 90, "hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 48,
        "max_positions": 66, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "first_position": 2, "pooling": "mean",
        "max_tokens": 64,
    }  # fmt: skip
    return ModelConfig(**(shape | changes))


def random_sequences(lengths: tuple[int, ...] = (9, 9, 5, 3)) -> Sequences:
    """The same ids every time, for `small`."""
    random = np.random.default_rng(0)
    return concatenate([random.integers(0, 90, length) for length in lengths], 2)
