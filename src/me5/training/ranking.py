"""The losses of a cross-encoder, over each query's list: its positive, and its own hard negatives.

    listwise      mean over queries of   -log( e^(s_p/T) / (e^(s_p/T) + Σ_negatives e^(s_n/T)) )
    binary        mean over pairs of     -log sigmoid(±s/T), + for the positive
    distillation  mean over scored queries of KL( softmax(teacher/T_t) ‖ softmax(s/T_s) ), as in `loss`

s is the logit. The listwise loss is that of Gao et al. 2021 ("Rethink Training of BERT Rerankers").
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.errors import InputError
from me5.training.lists import divergence, log_softmax
from me5.training.recipe import LossSettings
from me5.training.targets import Targets


def ranking_loss(logits: Tensor, targets: Targets, settings: LossSettings) -> tuple[Tensor, dict[str, float]]:
    """The loss of the logits (documents,) of each document beside its own query, a scalar, and its figures.

    It is float32, or float64 for float64 logits. Figures: loss, contrastive (the listwise or binary part),
    distillation (0 without), accuracy (the share of queries with a positive above all their negatives) and
    positive_score (the mean logit of positives).
    """
    if logits.shape != (targets.documents,):
        raise InputError(f"expected {targets.documents} logits, one a document, got the shape {tuple(logits.shape)}")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    query, document = targets.positives.to(logits.device).unbind(1)
    lists = targets.owners.to(logits.device).scatter(0, document, query)
    if bool((lists < 0).any()):
        raise InputError(f"document {int((lists < 0).nonzero()[0])} of the batch belongs to no query")
    right = torch.zeros_like(lists, dtype=torch.bool).scatter(0, document, True)
    scaled = logits / settings.temperature
    if settings.kind == "listwise":
        own = -log_softmax(scaled, lists, targets.queries)[right].mean()
    else:
        own = F.binary_cross_entropy_with_logits(scaled, right.to(scaled.dtype))
    distillation = logits.new_zeros(())
    if settings.distillation > 0 and len(targets.teacher_pairs):
        distillation = _distillation(logits, lists, targets, settings)
    loss = settings.contrastive * own + settings.distillation * distillation
    found = logits.detach()
    best = found.new_full((targets.queries,), -torch.inf).scatter_reduce(0, lists[~right], found[~right], "amax")
    figures = {
        "loss": loss, "contrastive": own, "distillation": distillation,
        "accuracy": (found[document] > best[query]).to(found.dtype).mean(), "positive_score": found[document].mean(),
    }  # fmt: skip
    values = torch.stack([figure.detach() for figure in figures.values()]).tolist()
    return loss, dict(zip(figures, values, strict=True))


def _distillation(logits: Tensor, lists: Tensor, targets: Targets, settings: LossSettings) -> Tensor:
    query, document = targets.teacher_pairs.to(logits.device).unbind(1)
    if bool((lists[document] != query).any()):
        raise InputError("a teacher score of the batch is for a document of another query")
    return divergence(
        logits[document], targets.teacher_scores.to(logits.device), query, len(query.unique()), settings
    )  # fmt: skip
