"""The loss equals the plain formula, written out here in loops: its value and its gradients, block by block or not."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from me5.errors import InputError
from me5.training.loss import contrastive_loss
from me5.training.recipe import LossSettings
from me5.training.targets import Targets


def pairs(*rows: tuple[int, int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64).view(-1, 2)


def simple(queries: int, documents: int | None = None, **fields: Tensor) -> Targets:
    """Query i belongs to document i; all texts differ."""
    documents = documents or queries
    given = {
        "query_keys": torch.arange(queries),
        "document_keys": torch.arange(documents) + 1000,
        "positives": torch.arange(queries)[:, None].repeat(1, 2),
    }
    return Targets(**given | fields)


def vectors(count: int, dim: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1).to(dtype).requires_grad_()


class Formula:
    """The definition in `loss.py`, one pair at a time. Nothing here is shared with the code under test."""

    def __init__(self, targets: Targets, settings: LossSettings) -> None:
        self.settings = settings
        self.positives = [tuple(pair) for pair in targets.positives.tolist()]
        self.ignore = {tuple(pair) for pair in targets.ignore.tolist()}
        self.query_keys, self.document_keys = targets.query_keys.tolist(), targets.document_keys.tolist()
        self.groups, self.owners = targets.document_groups.tolist(), targets.owners.tolist()
        self.teacher = list(zip(targets.teacher_pairs.tolist(), targets.teacher_scores.tolist(), strict=True))
        texts = [(self.query_keys[q], self.document_keys[d]) for q, d in self.positives]
        self.positive_texts = set(texts)
        self.groups_of_text: dict[int, set[int]] = {}
        for q, d in self.positives:
            if self.groups[d] >= 0:
                self.groups_of_text.setdefault(self.query_keys[q], set()).add(self.groups[d])

    def negative(self, q: int, d: int) -> bool:
        text, other = self.query_keys[q], self.document_keys[d]
        return not (
            (q, d) in self.positives
            or (q, d) in self.ignore
            or text == other
            or (text, other) in self.positive_texts
            or self.groups[d] in self.groups_of_text.get(text, set())
            or (not self.settings.negatives_of_others and self.owners[d] not in (-1, q))
        )

    def __call__(self, queries: Tensor, documents: Tensor) -> Tensor:
        dims = self.settings.matryoshka or (queries.shape[1],)
        weights = self.settings.matryoshka_weights or [1.0] * len(dims)
        total = sum(weight * self.at(queries, documents, dim) for dim, weight in zip(dims, weights, strict=True))
        return total / sum(weights)

    def at(self, queries: Tensor, documents: Tensor, dim: int) -> Tensor:
        if dim < queries.shape[1]:
            queries, documents = queries[:, :dim], documents[:, :dim]
            queries = queries / queries.pow(2).sum(1, keepdim=True).sqrt()
            documents = documents / documents.pow(2).sum(1, keepdim=True).sqrt()
        scores = [[(q * d).sum() for d in documents] for q in queries]
        sides = []
        if self.settings.directions in ("query", "both"):
            sides.append(self.side(scores, list(range(len(queries))), 0))
        if self.settings.directions in ("document", "both"):
            sides.append(self.side(scores, sorted({d for _, d in self.positives}), 1))
        contrastive = sum(sides) / len(sides)
        return self.settings.contrastive * contrastive + self.settings.distillation * self.kl(scores)

    def side(self, scores, items: list[int], side: int) -> Tensor:
        losses = []
        for item in items:
            if side == 0:
                others = [scores[item][d] for d in range(len(scores[0])) if self.negative(item, d)]
            else:
                others = [scores[q][item] for q in range(len(scores)) if self.negative(q, item)]
            own = []
            for q, d in self.positives:
                if (q, d)[side] == item:
                    logits = torch.stack([scores[q][d], *others]) / self.settings.temperature
                    own.append(-torch.log_softmax(logits, 0)[0])
            losses.append(sum(own) / len(own))
        return sum(losses) / len(losses)

    def kl(self, scores) -> Tensor:
        total = []
        for query in {q for (q, _), _ in self.teacher}:
            listed = [(scores[q][d], score) for (q, d), score in self.teacher if q == query]
            temperature = self.settings.student_temperature or self.settings.temperature
            student = torch.log_softmax(torch.stack([score for score, _ in listed]) / temperature, 0)
            teacher = torch.tensor([score for _, score in listed], dtype=student.dtype)
            teacher = torch.softmax(teacher / self.settings.teacher_temperature, 0)
            total.append((teacher * (teacher.log() - student)).sum())
        return sum(total) / len(total) if total else torch.zeros(())


HARD = simple(4, 7, owners=torch.tensor([-1, -1, -1, -1, 0, 2, 2]))
# Query 0 has two positives, queries 1 and 3 are one text, so are documents 2 and 5; document 6 is query 2's text.
EQUAL_TEXTS = Targets(
    query_keys=torch.tensor([1, 2, 3, 2]),
    document_keys=torch.tensor([11, 12, 13, 14, 15, 13, 3]),
    positives=pairs((0, 0), (0, 4), (1, 1), (2, 2), (3, 3)),
)
TAUGHT = replace(
    HARD,
    teacher_pairs=pairs((0, 0), (0, 4), (2, 5), (2, 2), (2, 6), (2, 1)),
    teacher_scores=torch.tensor([2.0, -1.0, 0.5, 3.0, 0.0, 1.0]),
)


def warm(**settings: Any) -> LossSettings:
    return LossSettings(temperature=0.2, **settings)


WARM = warm()
CASES = {
    "plain": (simple(5), LossSettings(temperature=0.05)),
    "cold": (simple(5), LossSettings()),
    "one": (simple(1), WARM),
    "hard": (HARD, WARM),
    "owned": (HARD, warm(negatives_of_others=False)),
    "several": (simple(3, 8, positives=pairs((0, 0), (0, 5), (1, 1), (2, 2), (2, 6), (2, 7))), WARM),
    "shared": (simple(3, 4, positives=pairs((0, 0), (1, 0), (1, 1), (2, 2)), query_keys=torch.arange(3)), WARM),
    "keys": (EQUAL_TEXTS, WARM),
    "keys both": (EQUAL_TEXTS, warm(directions="both")),
    "labels": (simple(4, document_keys=torch.tensor([9, 8, 9, 8])), warm(directions="both")),
    "one label": (simple(3, document_keys=torch.tensor([9, 9, 9])), warm(directions="both")),
    "groups": (simple(4, 6, document_groups=torch.tensor([0, 7, 7, -1, 0, -1])), warm(directions="both")),
    "ignore": (simple(4, 6, ignore=pairs((0, 1), (3, 5), (3, 4))), warm(directions="both")),
    "back": (HARD, warm(directions="document")),
    "matryoshka": (HARD, warm(matryoshka=(8, 3, 5), matryoshka_weights=(1.0, 0.5, 0.25), directions="both")),
    "taught": (TAUGHT, warm(contrastive=0.2, distillation=1.0, teacher_temperature=1.5)),
    "taught only": (TAUGHT, warm(contrastive=0.0, distillation=0.7, student_temperature=0.5)),
    "taught matryoshka": (TAUGHT, warm(distillation=0.7, matryoshka=(8, 4))),
}


def gradients(targets: Targets, settings: LossSettings, dtype=torch.float64, dim: int = 8, seed: int = 0):
    queries, documents = vectors(targets.queries, dim, seed, dtype), vectors(targets.documents, dim, seed + 1, dtype)
    loss, figures = contrastive_loss(queries, documents, targets, settings)
    loss.backward()
    return loss.detach(), queries.grad, documents.grad, figures


def expected(targets: Targets, settings: LossSettings, dim: int = 8, seed: int = 0):
    queries, documents = vectors(targets.queries, dim, seed), vectors(targets.documents, dim, seed + 1)
    loss = Formula(targets, settings)(queries, documents)
    if loss.requires_grad:
        loss.backward()
    zeros = [torch.zeros_like(side) if side.grad is None else side.grad for side in (queries, documents)]
    return loss.detach(), *zeros


@pytest.mark.parametrize("rows", [1, 3, 1024])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_equal_the_formula(case: str, rows: int) -> None:
    targets, settings = CASES[case]
    found, right = gradients(targets, settings.model_copy(update={"rows": rows})), expected(targets, settings)
    for one, other in zip(found, right, strict=False):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def random_targets(seed: int) -> Targets:
    """A batch with everything at once, in small numbers so that texts and groups meet."""
    draw = random.Random(seed)
    queries = draw.randint(1, 7)
    documents = queries + draw.randint(0, 7)
    positives = {(q, draw.randrange(documents)) for q in range(queries)}
    positives |= {(draw.randrange(queries), draw.randrange(documents)) for _ in range(draw.randint(0, 5))}
    owned = [draw.choice([-1, -1, draw.randrange(queries)]) for _ in range(documents)]
    owners = [-1 if (owner, d) in positives else owner for d, owner in enumerate(owned)]
    scored = [q for q in range(queries) if draw.random() < 0.5]
    own = positives | {(owner, d) for d, owner in enumerate(owners) if owner >= 0}
    taught = sorted(pair for pair in own if pair[0] in scored)
    return Targets(
        query_keys=torch.tensor([draw.randrange(12) for _ in range(queries)]),
        document_keys=torch.tensor([draw.randrange(12) for _ in range(documents)]),
        positives=pairs(*draw.sample(sorted(positives), len(positives))),
        ignore=pairs(*{(draw.randrange(queries), draw.randrange(documents)) for _ in range(draw.randint(0, 4))}),
        document_groups=torch.tensor([draw.randrange(-1, 5) for _ in range(documents)]),
        owners=torch.tensor(owners),
        teacher_pairs=pairs(*taught),
        teacher_scores=torch.tensor([draw.gauss(0, 2) for _ in taught]),
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_batches_equal_the_formula(seed: int) -> None:
    settings = LossSettings(
        temperature=[0.01, 0.1, 1.0][seed % 3],
        directions=["both", "query", "document"][seed // 3 % 3],
        distillation=0.5,
        negatives_of_others=seed % 2 == 0,
        matryoshka=(8, 4) if seed % 5 == 0 else (),
        matryoshka_weights=(1.0, 2.0) if seed % 5 == 0 else (),
        rows=seed % 4 + 1,
    )
    targets = random_targets(seed)
    found, right = gradients(targets, settings, seed=seed), expected(targets, settings, seed=seed)
    for one, other in zip(found, right, strict=False):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation gives, forward and backward."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return result


@pytest.mark.parametrize("equal_texts", [False, True], ids=["different texts", "five texts"])
def test_no_tensor_is_as_large_as_queries_times_documents(equal_texts: bool) -> None:
    count, rows = 400, 10
    targets = simple(count, document_keys=torch.arange(count) % 5 + 1000) if equal_texts else simple(count)
    queries, documents = vectors(count, 8, 0), vectors(count, 8, 1)
    with Largest() as largest:
        loss, _ = contrastive_loss(queries, documents, targets, LossSettings(directions="both", rows=rows))
        loss.backward()
    assert count * 8 <= largest.numbers <= 2 * rows * count


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_types_are_as_near_as_their_gradients_can_be(dtype: torch.dtype) -> None:
    targets, settings = simple(60), LossSettings(directions="both", rows=7)
    loss, *found, _ = gradients(targets, settings, dtype, dim=32)
    assert loss.dtype == torch.float32
    exact = [vectors(60, 32, seed, dtype).detach().double().requires_grad_() for seed in (0, 1)]
    right, _ = contrastive_loss(*exact, targets, settings)
    right.backward()
    torch.testing.assert_close(loss.double(), right.detach(), atol=0, rtol=1e-6)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other.grad, atol=2e-6, rtol=4 * torch.finfo(dtype).eps)


def test_autocast_changes_nothing() -> None:
    targets, settings = CASES["taught matryoshka"]
    plain = gradients(targets, settings, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gradients(targets, settings, torch.float32)
    for one, other in zip(plain[:3], inside[:3], strict=True):
        assert torch.equal(one, other)
    assert plain[3] == inside[3]


def test_figures_and_no_gradient() -> None:
    queries = torch.tensor([[1.0, 0], [0, 1], [0.8, 0.6]])
    documents = torch.tensor([[1.0, 0], [0, 1], [0, 1]])
    targets = simple(3)
    with torch.no_grad():
        loss, figures = contrastive_loss(queries, documents, targets, LossSettings(temperature=1.0))
    assert not loss.requires_grad
    # Query 0 finds its own; for query 1 documents 1 and 2 tie, which is not won; query 2 prefers document 0.
    assert figures["accuracy"] == pytest.approx(1 / 3)
    assert figures["positive_score"] == pytest.approx((1 + 1 + 0.6) / 3)
    assert figures["loss"] == figures["contrastive"] == pytest.approx(loss.item())
    assert figures["distillation"] == 0


def test_a_loss_that_is_not_finite_is_returned() -> None:
    queries = torch.full((2, 4), torch.nan, requires_grad=True)
    loss, figures = contrastive_loss(queries, torch.zeros(2, 4), simple(2), LossSettings())
    assert loss.isnan()
    assert figures["loss"] != figures["loss"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temperature": 0.0}, "temperature\n.*greater than 0"),
        ({"student_temperature": -1.0}, "student_temperature\n.*greater than 0"),
        ({"directions": "backwards"}, "'query', 'document' or 'both'"),
        ({"contrastive": 0.0}, "both 0: there is nothing to learn"),
        ({"contrastive": -1.0}, "contrastive\n.*greater than or equal to 0"),
        ({"matryoshka": (0,)}, "matryoshka.0\n.*greater than 0"),
        ({"matryoshka": (8,), "matryoshka_weights": (0.0,)}, "matryoshka_weights.0\n.*greater than 0"),
        ({"matryoshka": (8, 4), "matryoshka_weights": (1.0,)}, "has 1 weight, matryoshka 2"),
        ({"rows": 0}, "rows\n.*greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        LossSettings(**settings)


@pytest.mark.parametrize(
    ("queries", "documents", "settings", "told"),
    [
        ((3, 4), (2, 4), {}, r"queries must be 2 float vectors.*\(3, 4\)"),
        ((2, 4), (3, 4), {}, "documents must be 2 float vectors"),
        ((2, 4), (2, 5), {}, "queries have 4 dimensions, documents 5"),
        ((2, 4), (2, 4), {"matryoshka": (8,)}, "more than the 4 dimensions"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(queries, documents, settings, told) -> None:
    with pytest.raises(InputError, match=told):
        contrastive_loss(torch.zeros(queries), torch.zeros(documents), simple(2), LossSettings(**settings))
