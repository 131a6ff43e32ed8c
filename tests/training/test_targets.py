"""Targets: what is refused, by name of the query, and how batches are put together."""

import pytest
import torch

from me5.errors import InputError
from me5.training.targets import Targets


def targets(**changed: object) -> Targets:
    fields = {
        "query_keys": torch.tensor([1, 2]),
        "document_keys": torch.tensor([11, 12, 13]),
        "positives": torch.tensor([[0, 0], [1, 1]]),
        "owners": torch.tensor([-1, -1, 1]),
    }
    return Targets(**fields | {name: torch.tensor(value) for name, value in changed.items()})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"positives": [[0, 0], [0, 1]]}, "query 1 of the batch has no positive"),
        ({"positives": [[0, 0], [1, 3]]}, "positives names a pair outside of 2 queries, 3 documents"),
        ({"positives": [0, 1]}, r"positives must have the shape \(pairs, 2\), got \(2,\)"),
        ({"positives": [[0, 0], [1, 1], [0, 0]]}, "positives names query 0 and document 0 of the batch more than once"),
        (
            {"positives": [[0, 0], [1, 1], [1, 2]]},
            "document 2 of the batch is a positive and a hard negative of query 1",
        ),
        ({"ignore": [[2, 0]]}, "ignore names a pair outside"),
        ({"owners": [-1, 0]}, r"owners must have the shape \(3,\), got \(2,\)"),
        ({"owners": [-1, -1, 2]}, "owners names query 2, but there are 2"),
        ({"document_groups": [1]}, "document_groups must have the shape"),
        ({"teacher_pairs": [[1, 1]], "teacher_scores": [0.5, 1.0]}, "teacher_scores must have the shape"),
        (
            {"teacher_pairs": [[1, 1]], "teacher_scores": [0.5]},
            "query 1 of the batch .* none for its document 2: score all",
        ),
        ({"teacher_pairs": [[1, 2]], "teacher_scores": [0.5]}, "query 1 of the batch .* none for its document 1"),
        ({"teacher_pairs": [[0, 0]], "teacher_scores": [float("nan")]}, "score of query 0 of the batch is not finite"),
        (
            {"teacher_pairs": [[0, 0], [0, 0]], "teacher_scores": [1.0, 2.0]},
            "teacher_pairs names query 0 and document 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(changed: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        targets(**changed)


def test_what_is_left_out_is_filled() -> None:
    plain = Targets(torch.tensor([1]), torch.tensor([2, 3]), torch.tensor([[0, 1]]))
    assert plain.owners.tolist() == plain.document_groups.tolist() == [-1, -1]
    assert (plain.queries, plain.documents, len(plain.ignore), len(plain.teacher_scores)) == (1, 2, 0, 0)
