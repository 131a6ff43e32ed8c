"""The sum over all negatives, in blocks: the only part of the loss that looks at every (query, document).

Its memory is a block of rows, forward and backward. What a block's logits were is computed again in the backward pass,
one more matrix product beside the three that there are anyway.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from me5.training import distributed
from me5.training.negatives import Negatives


def negatives_logsumexp(
    queries: Tensor, documents: Tensor, temperature: float, negatives: Negatives, *, columns: bool, jointly: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logsumexp of similarity / temperature over negatives, exact and differentiable, in the type of the vectors.

    Returns (queries,) that of each query over its negative documents; (documents,) that of each document over its
    negative queries, or (0,) without `columns`; and (queries,) the largest such logit of each query, without gradient.
    All are -inf where there are no negatives. `jointly`: all processes call this with equal tensors, each computes its
    share of the rows, and all get the whole.
    """
    result: tuple[Tensor, Tensor, Tensor] = _LogSumExp.apply(
        queries, documents, 1 / temperature, negatives, columns, jointly
    )
    return result


def pair_scores(queries: Tensor, documents: Tensor, pairs: Tensor, rows: int) -> Tensor:
    """The dot product of each (query, document) of `pairs` (n, 2), `rows` at a time so that no copies pile up."""
    scores: Tensor = _PairScores.apply(queries, documents, pairs, rows)
    return scores


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        documents: Tensor,
        scale: float,
        negatives: Negatives,
        columns: bool,
        jointly: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        by_row, largest = [], []
        by_column = queries.new_full((len(documents) if columns else 0,), -torch.inf)
        for _, _, logits, spare in _blocks(queries, documents, scale, negatives, columns):
            if columns:
                top = logits.amax(dim=0)
                sums = torch.sub(logits, _finite(top), out=spare).exp_().sum(dim=0)
                by_column = torch.logaddexp(by_column, sums.log_().add_(_finite(top)))
            top = logits.amax(dim=1)
            sums = logits.sub_(_finite(top)[:, None]).exp_().sum(dim=1)
            by_row.append(sums.log_().add_(_finite(top)))
            largest.append(top)
        rows = torch.stack([torch.cat([queries.new_empty(0), *part]) for part in (by_row, largest)], dim=1)
        if jointly:
            rows = torch.cat(distributed.gather(rows))
            by_column = torch.stack(distributed.gather(by_column)).logsumexp(dim=0)
        by_query, best = rows.unbind(1)
        ctx.save_for_backward(queries, documents, by_query, by_column)
        ctx.scale, ctx.negatives, ctx.columns, ctx.jointly = scale, negatives, columns, jointly
        ctx.mark_non_differentiable(best)
        return by_query, by_column, best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_query: Tensor, of_column: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        queries, documents, by_query, by_column = ctx.saved_tensors
        by_query, by_column = _finite(by_query), _finite(by_column)
        gradient = queries.new_zeros(len(queries) + len(documents), queries.shape[1])
        for_queries, for_documents = gradient[: len(queries)], gradient[len(queries) :]
        for block, scaled, logits, spare in _blocks(queries, documents, ctx.scale, ctx.negatives, ctx.columns):
            rows = slice(block.start, block.stop)
            if ctx.columns:
                torch.sub(logits, by_column, out=spare).exp_().mul_(of_column)
            weights = logits.sub_(by_query[rows, None]).exp_().mul_(of_query[rows, None])
            if ctx.columns:
                weights.add_(spare)
            torch.mm(weights, documents, out=for_queries[rows])
            for_documents.addmm_(weights.t(), scaled)
        for_queries.mul_(ctx.scale)
        if ctx.jointly:
            distributed.sum_in_place(gradient)
        return for_queries, for_documents, None, None, None, None


class _PairScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, documents: Tensor, pairs: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(queries, documents, pairs)
        ctx.rows = rows
        parts = [(queries[part[:, 0]] * documents[part[:, 1]]).sum(dim=1) for part in pairs.split(rows)]
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, documents, pairs = ctx.saved_tensors
        for_queries, for_documents = torch.zeros_like(queries), torch.zeros_like(documents)
        for part, weights in zip(pairs.split(ctx.rows), gradient.split(ctx.rows), strict=True):
            query, document = part.unbind(1)
            for_queries.index_add_(0, query, documents[document] * weights[:, None])
            for_documents.index_add_(0, document, queries[query] * weights[:, None])
        return for_queries, for_documents, None, None


def _blocks(
    queries: Tensor, documents: Tensor, scale: float, negatives: Negatives, columns: bool
) -> Iterator[tuple[range, Tensor, Tensor, Tensor]]:
    """Each block: its queries' numbers, their scaled vectors, their logits, and the same memory again for columns.

    All blocks share their memory: new pages for each would cost more than what is done with them. Autocast leaves
    products that are written to given memory as they are, and nothing else here is on its list for lower precision.
    """
    most = max(map(len, negatives.blocks), default=0)
    memory = queries.new_empty(1 + columns, most, len(documents))
    for number, block in enumerate(negatives.blocks):
        scaled = queries[block.start : block.stop] * scale
        logits = torch.mm(scaled, documents.t(), out=memory[0, : len(block)])
        yield block, scaled, negatives.exclude(logits, number), memory[-1, : len(block)]


def _finite(exponents: Tensor) -> Tensor:
    """With 0 for -inf, so that -inf minus it stays -inf."""
    return exponents.masked_fill(exponents == -torch.inf, 0)
