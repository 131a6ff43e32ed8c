"""Which documents of a batch belong to which query, and which pairs are no negatives: short lists, never a matrix."""

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from me5.errors import InputError


def _no_pairs() -> Tensor:
    return torch.empty(0, 2, dtype=torch.int64)


def _no_integers() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


def _no_scores() -> Tensor:
    return torch.empty(0, dtype=torch.float64)


@dataclass
class Targets:
    """What the loss must know of a batch beside its vectors. All tensors lie on the CPU; pairs are (query, document).

    query_keys, document_keys (queries,), (documents,) int64: equal texts have equal keys, on both sides (a hash of the
        text alone). Two texts that are a positive pair anywhere in the batch are nowhere negatives, nor is a text of
        itself.
    positives (n, 2) int64: at least one per query.
    ignore (n, 2) int64: neither positives nor negatives.
    document_groups (documents,) int64: documents of one group (chunks of one source) are no negatives of each other's
        queries. -1: none. Left empty: all -1.
    owners (documents,) int64: the query that a hard negative was mined for. -1: not a hard negative. Empty: all -1.
    teacher_pairs (n, 2) int64, teacher_scores (n,) float: what distillation learns. Where a query has any score, all of
        its positives and hard negatives must have one.

    Raises `InputError` that names the query where any of this does not hold.
    """

    query_keys: Tensor
    document_keys: Tensor
    positives: Tensor
    ignore: Tensor = field(default_factory=_no_pairs)
    document_groups: Tensor = field(default_factory=_no_integers)
    owners: Tensor = field(default_factory=_no_integers)
    teacher_pairs: Tensor = field(default_factory=_no_pairs)
    teacher_scores: Tensor = field(default_factory=_no_scores)

    def __post_init__(self) -> None:
        for name in ("document_groups", "owners"):
            if not len(getattr(self, name)):
                setattr(self, name, torch.full((self.documents,), -1, dtype=torch.int64))
        self.teacher_scores = self.teacher_scores.to(torch.float64)
        self._check_shapes()
        self._check_positives()
        self._check_teacher()

    @classmethod
    def checked(cls, *tensors: Tensor) -> "Targets":
        """Those of fields that were checked before, in their order."""
        made = object.__new__(cls)
        for item, tensor in zip(fields(cls), tensors, strict=True):
            setattr(made, item.name, tensor)
        return made

    @property
    def queries(self) -> int:
        """The number of queries."""
        return len(self.query_keys)

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.document_keys)

    def codes(self, pairs: Tensor) -> Tensor:
        """One integer per (query, document): rising in the order of queries, then documents."""
        return pairs[:, 0] * self.documents + pairs[:, 1]

    def _check_shapes(self) -> None:
        for name in ("positives", "ignore", "teacher_pairs"):
            pairs = getattr(self, name)
            if pairs.ndim != 2 or pairs.shape[1] != 2:
                raise InputError(f"{name} must have the shape (pairs, 2), got {tuple(pairs.shape)}")
            limits = torch.tensor([self.queries, self.documents])
            if bool(((pairs < 0) | (pairs >= limits)).any()):
                raise InputError(f"{name} names a pair outside of {self.queries} queries, {self.documents} documents")
        for name, values, expected in (
            ("document_groups", self.document_groups, self.documents),
            ("owners", self.owners, self.documents),
            ("teacher_scores", self.teacher_scores, len(self.teacher_pairs)),
        ):
            if values.shape != (expected,):
                raise InputError(f"{name} must have the shape ({expected},), got {tuple(values.shape)}")
        if bool((self.owners >= self.queries).any()):
            raise InputError(f"owners names query {int(self.owners.max())}, but there are {self.queries}")

    def _check_positives(self) -> None:
        counts = torch.bincount(self.positives[:, 0], minlength=self.queries)
        if bool((counts == 0).any()):
            raise InputError(f"query {int((counts == 0).nonzero()[0])} of the batch has no positive document")
        self._refuse_repeated("positives", self.positives)
        query, document = self.positives.unbind(1)
        if bool((own := self.owners[document] == query).any()):
            raise InputError(
                f"document {int(document[own][0])} of the batch is a positive and a hard negative of query "
                f"{int(query[own][0])}"
            )

    def _check_teacher(self) -> None:
        self._refuse_repeated("teacher_pairs", self.teacher_pairs)
        if bool((wrong := ~self.teacher_scores.isfinite()).any()):
            raise InputError(
                f"a teacher score of query {int(self.teacher_pairs[wrong][0, 0])} of the batch is not finite"
            )
        scored = torch.zeros(self.queries, dtype=torch.bool)
        scored[self.teacher_pairs[:, 0]] = True
        if not bool(scored.any()):
            return
        hard = (self.owners >= 0).nonzero()[:, 0]
        own = torch.cat([self.positives, torch.stack([self.owners[hard], hard], dim=1)])
        own = own[scored[own[:, 0]]]
        missing = own[~torch.isin(self.codes(own), self.codes(self.teacher_pairs))]
        if len(missing):
            query, document = missing[0].tolist()
            raise InputError(
                f"query {query} of the batch has teacher scores, but none for its document {document}: score all of "
                "its documents (me5 data score), or none"
            )

    def _refuse_repeated(self, name: str, pairs: Tensor) -> None:
        codes, counts = self.codes(pairs).unique(return_counts=True)
        if len(codes) < len(pairs):
            query, document = divmod(int(codes[counts > 1][0]), self.documents)
            raise InputError(f"{name} names query {query} and document {document} of the batch more than once")
