"""Batches of the next steps, prepared by other processes while the device computes, and laid out for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from me5.cores import cores
from me5.model.sequences import Sequences, concatenate
from me5.training.batches import Batch, Batches
from me5.training.gradcache import split
from me5.training.targets import Targets

# A batch of 4,096 pairs takes a core 0.2 s to make; a GPU that trains a small network wants ten of them a second.
_MOST_WORKERS = 14
_AHEAD = 4
# Bytes: where tensors of any type may begin.
_ALIGNMENT = 8

Form = tuple[torch.dtype, tuple[int, ...]]


@dataclass(frozen=True)
class Chunked:
    """A batch as it goes through the network: its texts in chunks of a token budget.

    `torch.cat(vectors of all chunks)[back]` is in order: first the `queries`, then the documents. `vectors` (documents,
    dim) stand in for documents where a teacher is learned.
    """

    chunks: tuple[Sequences, ...]
    back: Tensor
    queries: int
    targets: Targets
    vectors: Tensor | None
    groups: tuple[str, ...]
    tokens: int

    def pin_memory(self) -> "Chunked":
        """The same in page-locked memory, as the loader asks for it."""
        vectors = None if self.vectors is None else self.vectors.pin_memory()
        chunks = tuple(chunk.pin() for chunk in self.chunks)
        return replace(self, chunks=chunks, back=self.back.pin_memory(), vectors=vectors)

    def __reduce__(self) -> tuple[Callable[..., "Chunked"], tuple[Any, ...]]:
        """On the way from the process that made it all tensors share a block of memory.

        Each block has to be asked for, and that process answers between two batches: 25 of them took 190 ms.
        """
        of_chunks = [tensor for chunk in self.chunks for tensor in (chunk.ids, chunk.positions, chunk.bounds)]
        of_targets = [getattr(self.targets, item.name) for item in fields(Targets)]
        tensors = [*of_targets, *of_chunks, self.back, *([] if self.vectors is None else [self.vectors])]
        spans = [(chunk.shortest, chunk.longest) for chunk in self.chunks]
        return _arrived, (*_together(tensors), spans, self.queries, self.groups, self.tokens)


def _arrived(
    block: Tensor, forms: Sequence[Form], spans: Sequence[tuple[int, int]], queries: int, groups: tuple[str, ...],
    tokens: int,
) -> Chunked:  # fmt: skip
    """What `Chunked.__reduce__` took apart."""
    tensors = iter(_apart(block, forms))
    targets = Targets.checked(*(next(tensors) for _ in fields(Targets)))
    chunks = tuple(Sequences(next(tensors), next(tensors), next(tensors), *span) for span in spans)
    return Chunked(chunks, next(tensors), queries, targets, next(tensors, None), groups, tokens)


def _together(tensors: Sequence[Tensor]) -> tuple[Tensor, list[Form]]:
    """All in one block, and how to tell them apart."""
    parts = []
    for tensor in tensors:
        flat = tensor.contiguous().view(-1).view(torch.uint8)
        parts += [flat, flat.new_zeros(-len(flat) % _ALIGNMENT)]
    return torch.cat(parts), [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]


def _apart(block: Tensor, forms: Sequence[Form]) -> Iterator[Tensor]:
    """The tensors of a block, without copies."""
    sizes = [prod(shape) * dtype.itemsize for dtype, shape in forms]
    ends = accumulate((size + -size % _ALIGNMENT for size in sizes), initial=0)
    for (dtype, shape), size, (start, _) in zip(forms, sizes, pairwise(ends), strict=True):
        yield block[start : start + size].view(dtype).view(shape)


def chunked(batch: Batch, budget: int, first_position: int) -> Chunked:
    """Lay a batch out in chunks of at most `budget` tokens."""
    sequences = [*batch.queries, *batch.documents]
    parts = split([len(sequence) for sequence in sequences], budget)
    return Chunked(
        tuple(concatenate([sequences[at] for at in chunk], first_position) for chunk in parts.chunks),
        parts.back,
        len(batch.queries),
        batch.targets,
        None if batch.vectors is None else torch.from_numpy(batch.vectors),
        batch.groups,
        batch.tokens,
    )


class Feed(Dataset[Chunked]):
    """The laid-out batch of any step, `budget` tokens at a time."""

    def __init__(self, batches: Batches, budget: int, first_position: int) -> None:
        self._batches, self._budget, self._first_position = batches, budget, first_position

    def __getitem__(self, step: int) -> Chunked:
        """That of a step, counted from 0."""
        return chunked(self._batches.make(step), self._budget, self._first_position)

    def ahead(self, steps: range, device: torch.device, workers: int | None = None) -> Iterator[Chunked]:
        """Those of some steps, in order.

        `workers` processes make them ahead. None is as many as pay: none beside a CPU's own work (a step takes hundreds
        of times longer than its batch), for a GPU one per core, at most 14.
        """
        on_gpu = device.type == "cuda"
        if workers is None:
            workers = min(_MOST_WORKERS, cores()) if on_gpu else 0
        return iter(
            DataLoader(
                self, batch_size=None, sampler=steps, num_workers=workers, pin_memory=on_gpu,
                # Forked, they share the data; they never touch the device.
                multiprocessing_context="fork" if workers else None, prefetch_factor=_AHEAD if workers else None,
            )
        )  # fmt: skip
