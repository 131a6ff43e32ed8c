"""Several processes as torchrun starts them; with one process everything here does nothing.

Every process holds the same parameters, encodes its own part of the global batch, and computes the same loss of the
whole batch. Hence `gather_with_gradient` hands each process the gradient of its own rows, and `reduce_gradients` sums:
what is left in the parameters is the gradient of the one loss, as a single process would have it. Nothing is averaged.
"""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

# Gradients are summed in flat pieces of this many numbers: one call in most models, 256 MB of float32 at the most.
_PIECE = 1 << 26


def start(*, timeout_minutes: float = 24 * 60) -> torch.device:
    """Join the other processes if torchrun started this one; returns the device that is this process's own.

    They wait for each other for so long, which must be enough for what one of them does alone: the token ids of all
    data, a teacher's vectors, an evaluation. Where one dies, torchrun ends the others at once.
    """
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Integers lie on the CPU, so gloo is needed beside NCCL.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=timeout_minutes))
    return device


def stop() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, 0 for the first or only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier()


def share(count: int, number: int | None = None) -> range:
    """The part of so many items that is this process's, or that of another number: parts differ by one item at most."""
    number = rank() if number is None else number
    return range(count * number // world(), count * (number + 1) // world())


def gather(tensor: Tensor) -> list[Tensor]:
    """The tensor of every process, in order of rank. Their lengths may differ, the other dimensions may not."""
    if world() == 1:
        return [tensor]
    lengths = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(world())]
    dist.all_gather(lengths, torch.tensor([len(tensor)], device=tensor.device))
    counts = torch.cat(lengths).tolist()
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return [part[:count] for part, count in zip(parts, counts, strict=True)]


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """The rows of every process end to end, in order of rank, differentiable.

    The gradient that comes back is that of this process's own rows alone: right where every process computes the same
    loss of all rows. It costs no communication.
    """
    return tensor if world() == 1 else _Gather.apply(tensor)


def gather_objects(value: Any) -> list[Any]:
    """What every process gave, in order of rank; anything that JSON can carry."""
    rows = gather(torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8))
    return [json.loads(bytes(row.tolist())) for row in rows]


def sum_in_place(tensor: Tensor) -> Tensor:
    """Add up the tensor over all processes, in each of them. Not differentiable."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def reduce_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients of all processes into each. A missing one counts as zeros if there are several processes."""
    if world() == 1:
        return
    gradients = []
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for group in _pieces(gradients):
        flat = sum_in_place(torch.cat([gradient.flatten() for gradient in group]))
        for gradient, part in zip(group, flat.split([gradient.numel() for gradient in group]), strict=True):
            gradient.copy_(part.view_as(gradient))


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give all processes the first one's values, in place: parameters, buffers, the state of an optimizer."""
    if world() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        parts = gather(tensor)
        start = sum(len(part) for part in parts[: rank()])
        ctx.own = slice(start, start + len(tensor))  # type: ignore[attr-defined]
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        own: slice = ctx.own  # type: ignore[attr-defined]
        return gradient[own]


def _pieces(gradients: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    """Neighbours of one type, as many as fit into a flat piece."""
    piece: list[Tensor] = []
    for gradient in gradients:
        if piece and (gradient.dtype != piece[0].dtype or sum(g.numel() for g in piece) + gradient.numel() > _PIECE):
            yield piece
            piece = []
        piece.append(gradient)
    if piece:
        yield piece
