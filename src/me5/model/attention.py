"""Attention within each of many sequences that lie end to end: three ways to the same numbers, chosen by capability.

flash    the variable-length flash attention that torch ships: GPUs from compute capability 8.0, 16-bit numbers, no
         dropout of attention probabilities (torch 2.13 has none there)
jagged   torch's jagged tensors: other GPUs, float32, and dropout
runs     CPUs: neighbours of one length share one call; also the slow truth of the other two
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.model.sequences import Sequences

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # before torch 2.10
    varlen_attn = None  # type: ignore[assignment]

# What torch's flash attention takes (aten/native/transformers/cuda/flash_attn/flash_api.cpp).
_FLASH_WIDTH = 256
_FLASH_CAPABILITY = (8, 0)

Attention = Callable[[Tensor, Tensor, Tensor, Sequences, float | None], Tensor]


def attend(projected: Tensor, sequences: Sequences, heads: int, dropout: float | None = None) -> Tensor:
    """Multi-head attention of every token to those of its own sequence.

    `projected` (tokens, 3 × hidden) holds queries, keys and values side by side; returns (tokens, hidden). `dropout` is
    None outside of training. In training the way is the same with and without gradients: GradCache runs each both ways.
    """
    query, key, value = projected.view(len(projected), 3, heads, -1).unbind(1)
    return choose(query, dropout)(query, key, value, sequences, dropout).flatten(1)


def choose(query: Tensor, dropout: float | None) -> Attention:
    """The fastest way that a device has for queries (tokens, heads, width) of this type and width."""
    if query.device.type == "cpu":
        return runs
    flash_fits = (
        varlen_attn is not None
        and not dropout
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= _FLASH_WIDTH
        and torch.cuda.get_device_capability(query.device) >= _FLASH_CAPABILITY
    )
    return flash if flash_fits else jagged


def flash(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, dropout: float | None) -> Tensor:  # noqa: ARG001
    """Variable-length flash attention. All three take and give (tokens, heads, width)."""
    bounds, longest = sequences.bounds, sequences.longest
    attended: Tensor = varlen_attn(query, key, value, bounds, bounds, longest, longest)  # type: ignore[assignment]
    return attended


def jagged(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, dropout: float | None) -> Tensor:
    """Attention over torch's jagged tensors. Every token must belong to a sequence, and no sequence be empty."""
    bounds = sequences.bounds.to(torch.int64)

    def rows(part: Tensor) -> Tensor:
        """(sequences, heads, jagged length, width). Where nothing else fits, torch wants memory without gaps."""
        return torch.nested.nested_tensor_from_jagged(
            part.contiguous(), bounds, min_seqlen=sequences.shortest, max_seqlen=sequences.longest
        ).transpose(1, 2)

    attended = F.scaled_dot_product_attention(rows(query), rows(key), rows(value), dropout_p=dropout or 0.0)
    return attended.transpose(1, 2).values()


def runs(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, dropout: float | None) -> Tensor:
    """Dense attention, one call for each run of neighbouring sequences of one length."""
    alike = list(_runs(sequences.bounds.diff().tolist()))
    sizes = [count * length for count, length in alike]
    unowned = len(query) - sum(sizes)
    # `split` and not slices: in training each slice would fill a gradient as large as the whole with zeros.
    parts = zip(*(torch.split(part, [*sizes, unowned]) for part in (query, key, value)), strict=True)
    attended = []
    for (count, length), run in zip(alike, parts, strict=False):
        # (sequences, heads, length, width), views of the input
        each = [part.unflatten(0, (count, length)).transpose(1, 2) for part in run]
        attended.append(dense(each[0], each[1], each[2], dropout).transpose(1, 2).flatten(0, 1))
    return torch.cat([*attended, query.new_zeros(unowned, *query.shape[1:])])


def dense(query: Tensor, key: Tensor, value: Tensor, dropout: float | None) -> Tensor:
    """Attention of sequences of one length, (sequences, heads, length, width), on a CPU.

    In training two plain products, with a softmax between: the backward pass of torch's own attention takes five times
    as long in bfloat16 (160 sequences of 25 tokens, 12 heads of 32: 200 ms against 34 on one core of a Zen 4).
    """
    if dropout is None:
        return F.scaled_dot_product_attention(query, key, value)
    weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)).softmax(-1, dtype=torch.float32)
    return F.dropout(weights, dropout).to(value.dtype) @ value


def _runs(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """(sequences, length) of each run of equal lengths that are not 0."""
    return ((sum(1 for _ in run), length) for length, run in groupby(lengths) if length)
