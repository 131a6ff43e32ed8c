"""Which documents are negatives of which query, block by block: all but those that could answer it too."""

from typing import Protocol

import torch
from torch import Tensor

from me5.training.targets import Targets

Device = torch.device | str


class Negatives:
    """The negatives among all documents, for blocks of queries.

    Positives and ignored pairs are a list of cells. The other rules are about kinds of documents and say nothing in
    most batches, so they look only at the columns that they concern: few equal texts cost little.
    """

    def __init__(self, targets: Targets, *, of_others: bool, rows: int, queries: range, device: Device = "cpu") -> None:
        """`queries` are those whose rows will be computed, `rows` of them at a time; `of_others`: `LossSettings`."""
        self.blocks = [range(at, min(at + rows, queries.stop)) for at in range(queries.start, queries.stop, rows)]
        self._documents = targets.documents
        self._device = device
        self._pairs = self._pairs_of_blocks(targets)
        self._rules: list[_Rule] = []
        self._add_texts(targets)
        if bool((targets.document_groups >= 0).any()):
            self._add_groups(targets)
        if not of_others and bool((targets.owners >= 0).any()):
            self._rules.append(_Owned(targets.owners, self.blocks, device))

    def exclude(self, logits: Tensor, number: int) -> Tensor:
        """Set all but negatives to -inf, in place, in the logits (rows of a block, documents)."""
        logits.view(-1)[self._pairs[number]] = -torch.inf
        for rule in self._rules:
            left_out = rule.left_out(number)
            if len(rule.columns) == self._documents:
                logits.masked_fill_(left_out, -torch.inf)
            else:
                kept = logits.index_select(1, rule.columns).masked_fill_(left_out, -torch.inf)
                logits.index_copy_(1, rule.columns, kept)
        return logits

    def _pairs_of_blocks(self, targets: Targets) -> list[Tensor]:
        """Of each block the cells of positives and ignored pairs, counted from the block's first cell."""
        codes = targets.codes(torch.cat([targets.positives, targets.ignore])).unique()
        pairs = []
        for block in self.blocks:
            ends = torch.tensor([block.start, block.stop]) * self._documents
            first, last = torch.searchsorted(codes, ends).tolist()
            pairs.append((codes[first:last] - ends[0]).to(self._device))
        return pairs

    def _add_texts(self, targets: Targets) -> None:
        texts = torch.cat([targets.query_keys, targets.document_keys]).unique(return_inverse=True)[1]
        queries, documents = texts[: targets.queries], texts[targets.queries :]
        query, document = targets.positives.unbind(1)
        answers = torch.stack([queries[query], documents[document]], dim=1)
        themselves = torch.arange(int(texts.max()) + 1).repeat(2, 1).t()
        self._add_kinds(targets, queries, documents, torch.cat([answers, themselves]))

    def _add_groups(self, targets: Targets) -> None:
        queries = targets.query_keys.unique(return_inverse=True)[1]
        groups = targets.document_groups.unique(return_inverse=True)[1]
        query, document = targets.positives.unbind(1)
        pairs = torch.stack([queries[query], groups[document]], dim=1)
        self._add_kinds(targets, queries, groups, pairs[targets.document_groups[document] >= 0])

    def _add_kinds(self, targets: Targets, queries: Tensor, documents: Tensor, pairs: Tensor) -> None:
        """Leave out all cells of `pairs` (n, 2) of kinds of queries and of documents, if that says anything new."""
        width = 1 + int(torch.cat([queries, documents]).max())
        codes = (pairs[:, 0] * width + pairs[:, 1]).unique()
        pairs = torch.stack([codes // width, codes % width], dim=1)
        # Cells that the rule leaves out in the columns of each kind, and those among them that are positives anyway.
        queries_of = torch.bincount(queries, minlength=width)[pairs[:, 0]]
        cells = torch.zeros(width, dtype=torch.int64).index_add_(0, pairs[:, 1], queries_of)
        cells *= torch.bincount(documents, minlength=width)
        covered = torch.bincount(documents[targets.positives[:, 1]], minlength=width)
        new = cells > covered
        if bool(new.any()):
            self._rules.append(_Kinds(queries, documents, pairs, new, self.blocks, self._device))


class _Rule(Protocol):
    """A reason for which documents are no negatives of some queries. `columns`: those that it may concern, rising."""

    columns: Tensor

    def left_out(self, number: int) -> Tensor:
        """Of a block: (rows, columns) bool."""


class _Kinds:
    """Some kinds of documents are no negatives of some kinds of queries."""

    def __init__(
        self, queries: Tensor, documents: Tensor, pairs: Tensor, new: Tensor, blocks: list[range], device: Device
    ) -> None:
        columns = new[documents].nonzero()[:, 0]
        numbers = new.cumsum(0) - 1  # kinds of documents, counted among those of `columns`
        pairs = pairs[new[pairs[:, 1]]]
        self.columns = columns.to(device)
        self._width = int(new.sum())
        self._documents = numbers[documents[columns]].to(device)
        self._blocks = []
        for block in blocks:
            kinds, rows = queries[block.start : block.stop].unique(return_inverse=True)
            inside = pairs[torch.isin(pairs[:, 0], kinds)]
            cells = torch.searchsorted(kinds, inside[:, 0].contiguous()) * self._width + numbers[inside[:, 1]]
            self._blocks.append((len(kinds), rows.to(device), cells.to(device)))

    def left_out(self, number: int) -> Tensor:
        count, rows, cells = self._blocks[number]
        table = torch.zeros(count * self._width, dtype=torch.bool, device=rows.device)
        table[cells] = True
        return table.view(count, self._width)[rows].index_select(1, self._documents)


class _Owned:
    """Hard negatives are left out for all queries but the one that they were mined for."""

    def __init__(self, owners: Tensor, blocks: list[range], device: Device) -> None:
        columns = (owners >= 0).nonzero()[:, 0]
        self.columns = columns.to(device)
        self._owners = owners[columns].to(device)
        self._rows = [torch.arange(block.start, block.stop, device=device) for block in blocks]

    def left_out(self, number: int) -> Tensor:
        return self._owners != self._rows[number][:, None]
