"""The one loss: InfoNCE over all negatives of the global batch, and distillation from a teacher's scores.

    query → document: mean over queries, over positives p of   -log( e^(s_p/T) / (e^(s_p/T) + Σ_negatives e^(s_n/T)) )
    document → query: the same over the documents that are positives, with the queries as candidates
    distillation:     mean over scored queries of              KL( softmax(teacher/T_t) ‖ softmax(s/T_s) )

s is the dot product of unit vectors. InfoNCE: van den Oord et al. 2018; E5 (Wang et al. 2022) trains stage 1 with it at
T = 0.01 and stage 2 with distillation + 0.2 × InfoNCE; Matryoshka: Kusupati et al. 2022.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.errors import InputError
from me5.training import distributed
from me5.training.lists import divergence
from me5.training.logsumexp import negatives_logsumexp, pair_scores
from me5.training.negatives import Negatives
from me5.training.recipe import LossSettings
from me5.training.targets import Targets


@dataclass(frozen=True)
class _Parts:
    """The figures of one dimension, each a scalar tensor; the first two with gradient."""

    contrastive: Tensor
    distillation: Tensor
    accuracy: Tensor
    positive_score: Tensor


def contrastive_loss(
    queries: Tensor, documents: Tensor, targets: Targets, settings: LossSettings, *, jointly: bool = False
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, a scalar in float32 (float64 for float64 vectors), and its figures.

    `queries` (queries, dim) and `documents` (documents, dim) are unit vectors of any float type; logits are float32
    whatever autocast says. Memory is `settings.rows` × documents beside the vectors and their gradients. Figures:
    loss, contrastive, distillation (0 without), accuracy (the share of queries with a positive above all negatives) and
    positive_score (mean cosine of positives), the last two of the largest dimension.

    `jointly`: all processes hold the same global batch and call this together; each computes its share of the rows, and
    all get the same loss and the same gradients.
    """
    _check(queries, documents, targets, settings)
    kind = torch.promote_types(torch.promote_types(queries.dtype, documents.dtype), torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        queries, documents = queries.to(kind), documents.to(kind)
        batch = _Batch(targets, settings, queries, jointly)
        dims = settings.weighted_dims(queries.shape[1])
        parts = [batch.parts(_cut(queries, dim), _cut(documents, dim)) for dim, _ in dims]
        weights = queries.new_tensor([weight for _, weight in dims])
        contrastive = torch.stack([part.contrastive for part in parts]) @ weights
        distillation = torch.stack([part.distillation for part in parts]) @ weights
        loss = settings.contrastive * contrastive + settings.distillation * distillation
    figures = {
        "loss": loss,
        "contrastive": contrastive,
        "distillation": distillation,
        "accuracy": parts[-1].accuracy,
        "positive_score": parts[-1].positive_score,
    }
    values = torch.stack([figure.detach() for figure in figures.values()]).tolist()
    return loss, dict(zip(figures, values, strict=True))


class _Batch:
    """What of a batch is the same at every dimension, on the vectors' device."""

    def __init__(self, targets: Targets, settings: LossSettings, like: Tensor, jointly: bool) -> None:
        """On the device of a tensor, and in its type."""
        self.settings, self.jointly = settings, jointly
        self.negatives = Negatives(
            targets,
            of_others=settings.negatives_of_others,
            rows=settings.rows,
            queries=distributed.share(targets.queries) if jointly else range(targets.queries),
            device=like.device,
        )
        self.positives = targets.positives.to(like.device)
        weights = [_mean_of_means(side).to(like.device, like.dtype) for side in targets.positives.unbind(1)]
        self.query_weights, self.document_weights = weights
        self.scored = targets.teacher_pairs.to(like.device)
        self.scores = targets.teacher_scores.to(like.device)
        self.taught = len(targets.teacher_pairs[:, 0].unique())

    def parts(self, queries: Tensor, documents: Tensor) -> _Parts:
        """Everything about vectors of one dimension."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.settings.contrastive > 0):
            contrastive, accuracy, positive_score = self._contrastive(queries, documents)
        distillation = queries.new_zeros(())
        if self.settings.distillation > 0 and self.taught:
            distillation = self._distillation(queries, documents)
        return _Parts(contrastive, distillation, accuracy, positive_score)

    def _contrastive(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        settings = self.settings
        by_query, by_document, best = negatives_logsumexp(
            queries,
            documents,
            settings.temperature,
            self.negatives,
            columns=settings.directions != "query",
            jointly=self.jointly,
        )
        query, document = self.positives.unbind(1)
        cosines = pair_scores(queries, documents, self.positives, settings.rows)
        logits = cosines / settings.temperature
        # -log(e^s / (e^s + e^n)) is -logsigmoid(s - n), exact at both ends and for n = -inf.
        sides = []
        if settings.directions != "document":
            sides.append(-(F.logsigmoid(logits - by_query[query]) * self.query_weights).sum())
        if settings.directions != "query":
            sides.append(-(F.logsigmoid(logits - by_document[document]) * self.document_weights).sum())
        top = torch.full_like(best, -torch.inf).scatter_reduce(0, query, logits.detach(), "amax")
        accuracy = (top > best).to(queries.dtype).mean()
        return torch.stack(sides).mean(), accuracy, (cosines.detach() * self.query_weights).sum()

    def _distillation(self, queries: Tensor, documents: Tensor) -> Tensor:
        student = pair_scores(queries, documents, self.scored, self.settings.rows)
        return divergence(student, self.scores, self.scored[:, 0], self.taught, self.settings)


def _mean_of_means(numbers: Tensor) -> Tensor:
    """Weights (n,) under which a sum is the mean over the distinct numbers (n,) of the mean of each one's values."""
    _, places, counts = numbers.unique(return_inverse=True, return_counts=True)
    weights: Tensor = 1 / (counts[places] * len(counts)).double()
    return weights


def _cut(vectors: Tensor, dim: int) -> Tensor:
    return vectors if dim == vectors.shape[1] else F.normalize(vectors[:, :dim], dim=1)


def _check(queries: Tensor, documents: Tensor, targets: Targets, settings: LossSettings) -> None:
    for name, vectors, count in (
        ("queries", queries, targets.queries),
        ("documents", documents, targets.documents),
    ):
        if vectors.ndim != 2 or len(vectors) != count or not vectors.is_floating_point():
            raise InputError(
                f"{name} must be {count} float vectors, one below the other, got {vectors.dtype} of shape "
                f"{tuple(vectors.shape)}"
            )
    if queries.shape[1] != documents.shape[1]:
        raise InputError(f"queries have {queries.shape[1]} dimensions, documents {documents.shape[1]}")
    if not targets.queries:
        raise InputError("a batch without queries has no loss")
    if any(dim > queries.shape[1] for dim in settings.matryoshka):
        raise InputError(f"matryoshka asks for more than the {queries.shape[1]} dimensions that the vectors have")
