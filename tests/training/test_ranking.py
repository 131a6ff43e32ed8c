"""The losses of a cross-encoder equal their formulas, written out list by list in plain PyTorch."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from me5.errors import InputError
from me5.training.ranking import ranking_loss
from me5.training.recipe import LossSettings
from me5.training.targets import Targets

# By query: its positive, then its negatives. The last one has none; documents of a list need not be neighbours.
LISTS = [[0, 3, 4, 5], [1, 6], [2]]
SCORES = {0: [4.0, 1.0, -2.0, 3.5], 1: [0.5, 2.0]}


def targets(lists: list[list[int]] = LISTS, scores: dict[int, list[float]] | None = None) -> Targets:
    documents = sum(map(len, lists))
    owners = torch.full((documents,), -1)
    for query, (_, *negatives) in enumerate(lists):
        owners[negatives] = query
    taught = {}
    if scores:
        places = [(query, document) for query in scores for document in lists[query]]
        taught = {
            "teacher_pairs": torch.tensor(places),
            "teacher_scores": torch.tensor([score for of_query in scores.values() for score in of_query]),
        }
    positives = torch.tensor([(query, own[0]) for query, own in enumerate(lists)])
    return Targets(torch.arange(len(lists)), 100 + torch.arange(documents), positives, owners=owners, **taught)


def plain(logits: Tensor, settings: LossSettings, scores: dict[int, list[float]]) -> Tensor:
    scaled = logits / settings.temperature
    own = [
        functional.cross_entropy(scaled[listed][None], torch.tensor([0]))
        if settings.kind == "listwise"
        else functional.binary_cross_entropy_with_logits(scaled[listed], torch.eye(len(listed))[0].double())
        * len(listed)
        for listed in LISTS
    ]
    loss = sum(own) / (len(LISTS) if settings.kind == "listwise" else len(logits))
    temperature = settings.student_temperature or settings.temperature
    apart = [
        functional.kl_div(
            torch.log_softmax(logits[LISTS[query]] / temperature, 0),
            torch.softmax(torch.tensor(of_query, dtype=torch.float64) / settings.teacher_temperature, 0),
            reduction="sum",
        )
        for query, of_query in scores.items()
    ]
    return settings.contrastive * loss + settings.distillation * sum(apart) / max(len(apart), 1)


@pytest.mark.parametrize("kind", ["listwise", "binary"])
@pytest.mark.parametrize(
    ("settings", "scores"),
    [
        ({}, {}),
        ({"temperature": 0.3}, SCORES),  # scores are no part of it without distillation
        ({"distillation": 1.0, "contrastive": 0.2, "teacher_temperature": 2.0}, SCORES),
        ({"distillation": 0.7, "contrastive": 0.0, "temperature": 2.0, "student_temperature": 0.5}, {1: SCORES[1]}),
        ({"distillation": 1.0}, {}),
    ],
)
def test_value_and_gradients_equal_the_formula(kind: str, settings: dict, scores: dict) -> None:
    of_kind = LossSettings(kind=kind, **settings)
    logits = torch.randn(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    other = logits.detach().clone().requires_grad_()
    loss, figures = ranking_loss(logits, targets(scores=scores), of_kind)
    truth = plain(other, of_kind, scores if of_kind.distillation else {})
    assert loss.item() == pytest.approx(truth.item(), abs=1e-12)
    assert figures["loss"] == pytest.approx(truth.item(), abs=1e-6)
    loss.backward()
    truth.backward()
    assert torch.allclose(logits.grad, other.grad, atol=1e-12)
    assert float(logits.grad.abs().sum()) > 0.01


def test_figures() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 1.0, 1.5, 0.0, -0.5])
    _, figures = ranking_loss(logits, targets(), LossSettings(kind="listwise"))
    assert figures["accuracy"] == pytest.approx(2 / 3)  # the second's negative is above its positive
    assert figures["positive_score"] == pytest.approx(0.5)
    assert figures["distillation"] == 0


def test_temperatures_are_those_of_logits() -> None:
    assert LossSettings(kind="listwise").temperature == LossSettings(kind="binary").temperature == 1
    assert LossSettings().temperature == 0.01
    assert LossSettings(kind="listwise", temperature=0.5).temperature == 0.5


def test_what_belongs_to_no_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected 7 logits, one a document, got the shape \(6,\)"):
        ranking_loss(torch.zeros(6), targets(), LossSettings(kind="listwise"))
    loose = targets()
    loose.owners[4] = -1
    with pytest.raises(InputError, match="document 4 of the batch belongs to no query"):
        ranking_loss(torch.zeros(7), loose, LossSettings(kind="listwise"))
    strange = targets(scores=SCORES)
    strange.teacher_pairs[0, 1] = 6
    with pytest.raises(InputError, match="for a document of another query"):
        ranking_loss(torch.zeros(7), strange, LossSettings(kind="listwise", distillation=1.0))
