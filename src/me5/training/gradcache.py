"""Large batches in little memory: chunks are encoded, judged together, and encoded again for their gradients.

Gao et al. 2021 ("Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). The loss needs all vectors,
but not all activations: given the gradient of each vector, one chunk after another is run again, its dropout replayed,
and differentiated alone. The last chunk keeps its activations, so that n chunks cost n - 1 forward passes more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Chunk = TypeVar("Chunk")
Figures = TypeVar("Figures")


@dataclass(frozen=True)
class Split:
    """Sequences in chunks of a token budget, and the way back.

    Each chunk holds the numbers of its sequences, longest first. `torch.cat(vectors of all chunks)[back]` is in the
    sequences' own order.
    """

    chunks: list[list[int]]
    back: Tensor


def split(lengths: Sequence[int], budget: int) -> Split:
    """Chunks of at most `budget` tokens; a longer sequence gets one of its own.

    In order of length: sequences of one length share their products on a CPU, and the largest attention comes first,
    so that too little memory shows in the first chunk.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    chunks: list[list[int]] = []
    room = 0
    for number in order:
        if not chunks or lengths[number] > room:
            chunks.append([])
            room = budget
        chunks[-1].append(number)
        room -= lengths[number]
    return Split(chunks, torch.argsort(torch.tensor(order, dtype=torch.int64)))


def cached_step(
    encode: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    loss_of: Callable[[Tensor], tuple[Tensor, Figures]],
    *,
    cached: bool = True,
) -> tuple[Tensor, Figures]:
    """Add the gradients of one step to the parameters; returns the loss, detached, and what came with it.

    `encode` turns a chunk into vectors (sequences, dim); `loss_of` takes those of all chunks, end to end, and gives a
    scalar and any figures. With several processes it gathers and reduces there, once. `cached=False` keeps the
    activations of every chunk, as plain training does: the same gradients for more memory and less time. One chunk
    is never run twice.
    """
    first_kept = len(chunks) - 1 if cached else 0
    vectors, states = [], []
    for number, chunk in enumerate(chunks):
        states.append(_random_state())
        with torch.set_grad_enabled(number >= first_kept):
            vectors.append(_encode(encode, chunk))
    leaf = torch.cat([part.detach() for part in vectors]).requires_grad_()
    loss, figures = loss_of(leaf)
    loss.backward()
    assert leaf.grad is not None
    gradients = leaf.grad.split([len(part) for part in vectors])
    torch.autograd.backward(vectors[first_kept:], gradients[first_kept:])
    del vectors[first_kept:]
    after = _random_state()
    for chunk, state, gradient in zip(chunks[:first_kept], states, gradients, strict=False):
        _set_random_state(state)
        torch.autograd.backward(_encode(encode, chunk), gradient)
    _set_random_state(after)
    return loss.detach(), figures


def _encode(encode: Callable[[Chunk], Tensor], chunk: Chunk) -> Tensor:
    """Chunks must not share the 16-bit copies that autocast keeps of parameters: gradients would add up in 16 bits."""
    torch.clear_autocast_cache()
    return encode(chunk)


def _random_state() -> tuple[Tensor, Tensor | None]:
    """The generators that dropout draws from: the CPU's, and that of this process's GPU if it uses one."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
