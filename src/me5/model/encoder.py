"""The encoder on one page: post-norm BERT (Devlin et al. 2018), XLM-RoBERTa by its shifted positions (Liu et al. 2019).

Tensors are (tokens, width): sequences lie end to end, and only attention knows where one ends. The residual stream and
its norms are float32 whatever the matrices are: `engine/openvino.py` tells what bfloat16 loses there. Module names are
those of the table in `weights`, but for `qkv`, which holds three of them.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from me5.checkpoint import ModelConfig
from me5.model.attention import attend
from me5.model.pooling import pool
from me5.model.sequences import Sequences, concatenate

# The standard deviation that BERT and XLM-RoBERTa were initialised with.
_SPREAD = 0.02
# Layers differ in which of their matrices are float8, and each kind of layer is one compilation. torch's own limit, 8,
# would leave the ninth uncompiled without a word.
_COMPILATIONS = 32


class Linear(nn.Linear):
    """A matrix product that computes in the type of its weights, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, in) -> (tokens, out)."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Layer(nn.Module):
    """Attention, then feed-forward, each added to its input and normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.heads = config.heads
        self.dropout, self.attention_dropout = config.hidden_dropout, config.attention_dropout
        self.qkv = Linear(hidden, 3 * hidden)  # query, key and value, one below the other
        self.attention_output = Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps)
        self.feedforward_in = Linear(hidden, inner)
        self.feedforward_out = Linear(inner, hidden)
        self.feedforward_norm = nn.LayerNorm(hidden, eps)
        self._before: Callable[[Tensor], Tensor] = self.before_attention
        self._after: Callable[[Tensor, Tensor], Tensor] = self.after_attention

    def forward(self, x: Tensor, sequences: Sequences) -> Tensor:
        """(tokens, hidden) -> (tokens, hidden), float32."""
        dropout = self.attention_dropout if self.training else None
        return self._after(x, attend(self._before(x), sequences, self.heads, dropout))

    def before_attention(self, x: Tensor) -> Tensor:
        """Queries, keys and values, side by side."""
        projected: Tensor = self.qkv(x)
        return projected

    def after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """All that follows attention, token by token."""
        x = self.attention_norm(x + self._drop(self.attention_output(attended)))
        inner = F.gelu(self.feedforward_in(x))  # the exact GELU, by erf
        normed: Tensor = self.feedforward_norm(x + self._drop(self.feedforward_out(inner)))
        return normed

    def compile_fused(self, *, undo: bool = False) -> None:
        """Let torch.compile fuse all but attention: bias and GELU, residual and norm, casts and float8 scales."""
        self._before = self.before_attention if undo else torch.compile(self.before_attention, dynamic=True)
        self._after = self.after_attention if undo else torch.compile(self.after_attention, dynamic=True)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Head(nn.Module):
    """The head of a cross-encoder, in float32: the first token's state -> a layer with tanh -> logits."""

    def __init__(self, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.dense = nn.Linear(hidden, hidden)
        self.logits = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(sequences, hidden) -> (sequences, outputs)."""
        inner = torch.tanh(self.dense(F.dropout(x.float(), self.dropout, self.training)))
        logits: Tensor = self.logits(F.dropout(inner, self.dropout, self.training))
        return logits


class Encoder(nn.Module):
    """Token sequences -> hidden states, unit vectors or logits.

    New ones have random weights, as transformers draws them. `checkpointing` trades a second forward pass for the
    memory of activations, in training.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        hidden = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, hidden)
        self.positions = nn.Embedding(config.max_positions, hidden)
        self.types = nn.Embedding(config.type_vocab_size, hidden)
        self.embedding_norm = nn.LayerNorm(hidden, config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.head: Head | None = None
        self.apply(_initialise)
        if config.head is not None:
            self.add_head(config)

    def add_head(self, config: ModelConfig) -> None:
        """Become the cross-encoder that a config describes, with random weights in its head."""
        assert config.head is not None
        self.config = config
        self.head = Head(config.hidden_size, config.head.outputs, config.hidden_dropout).apply(_initialise)

    def forward(self, sequences: Sequences) -> Tensor:
        """The last hidden states (tokens, hidden), float32."""
        x = self._words_and_types(sequences.ids) + self.positions(sequences.positions)
        x = F.dropout(self.embedding_norm(x), self.config.hidden_dropout, self.training)
        for layer in self.layers:
            if self.checkpointing and self.training:
                x = checkpoint(layer, x, sequences, use_reentrant=False)
            else:
                x = layer(x, sequences)
        states: Tensor = x
        return states

    def embed(self, sequences: Sequences) -> Tensor:
        """Unit vectors (sequences, hidden), float32, by the checkpoint's pooling; differentiable."""
        return pool(self(sequences), sequences.bounds, self.config.pooling)

    def end(self, hidden: Tensor, bounds: Tensor) -> Tensor:
        """What follows the last layer, of hidden states (tokens, hidden): unit vectors, or the head's logits."""
        if self.head is None:
            return pool(hidden, bounds, self.config.pooling)
        logits: Tensor = self.head(hidden[bounds[:-1]])
        return logits

    def _words_and_types(self, ids: Tensor) -> Tensor:
        if self.config.types == 1:
            words: Tensor = self.words(ids).float()
            return words + self.types.weight[0]
        types = ids // self.config.vocab_size
        both: Tensor = self.words(ids - types * self.config.vocab_size).float() + self.types(types)
        return both

    def fuse(self, device: torch.device, trial: Callable[[Sequences], object]) -> Exception | None:
        """Compile what can be fused, and try it on two short sequences; where that fails, undo it and say why."""
        self.compile_fused()
        try:
            trial(concatenate([np.zeros(length, np.int64) for length in (9, 8)], self.config.first_position).to(device))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler, no Triton, an unknown GPU: torch raises whatever it met
            self.compile_fused(undo=True)
            return error
        return None

    def compile_fused(self, *, undo: bool = False) -> None:
        """Compile what can be fused, once for all layers of a kind, for any number of tokens; or no longer."""
        limit = torch._dynamo.config.recompile_limit
        torch._dynamo.config.recompile_limit = max(limit, _COMPILATIONS)
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.compile_fused(undo=undo)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_SPREAD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
