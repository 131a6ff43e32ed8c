"""Teacher scores: every positive and negative has one, and none is made twice."""

import planted
import pytest

from me5.data import scoring
from me5.data.dataset import Dataset
from me5.data.jobs import Workspace
from me5.data.scoring import score_relations

E = planted.example


@pytest.fixture
def data(tmp_path):
    return planted.dataset(
        tmp_path / "data",
        [
            E("0 q", "10 right"), E("0 q", "20 n", "negative"), E("0 q", "5 answer", "ignore"),
            E("30 q", "90 wrong", source="web"), E("30 q", "31 better", "negative", source="web"),
        ],
    )  # fmt: skip


def scored(tmp_path, data, teacher, name="out"):
    counts = score_relations(data, teacher, out=tmp_path / name, workspace=Workspace(tmp_path / f"{name}.job"))
    return Dataset.open(tmp_path / name), counts


def test_every_positive_and_negative_has_a_score(tmp_path, data, monkeypatch):
    monkeypatch.setattr(scoring, "SHARD_RELATIONS", 3)
    teacher = planted.Plane()
    out, counts = scored(tmp_path, data, teacher)
    assert planted.told(out) == planted.told(data)
    relations = list(out.relations())
    expected = [0.98481, 0.93969, None, 0.5, 0.99985]
    assert [relation.teacher_score for relation in relations] == [
        score if score is None else pytest.approx(score, abs=1e-4) for score in expected
    ]
    assert [relation.teacher for relation in relations] == ["plane-1", "plane-1", None, "plane-1", "plane-1"]
    assert [(count.source, count.positives, count.negatives, count.above) for count in counts] == [
        ("s", 1, 1, 0), ("web", 1, 1, 1),
    ]  # fmt: skip
    assert counts[1].mean_positive == pytest.approx(0.5, abs=1e-4)
    assert out.steps[-1]["teacher"] == "plane-1"


def test_known_scores_are_not_made_again_and_others_are_replaced(tmp_path, data):
    first, _ = scored(tmp_path, data, planted.Plane(), "first")
    teacher = planted.Plane()
    again, counts = scored(tmp_path, first, teacher, "again")
    assert teacher.scored == 0
    assert sum(count.known for count in counts) == 4
    assert list(again.relations()) == list(first.relations())
    other = planted.Scripted("wrong", version="another")
    replaced, counts = scored(tmp_path, again, other, "replaced")
    assert len(other.scored) == 4
    assert {relation.teacher for relation in replaced.relations()} == {"another", None}
    assert [relation.teacher_score for relation in replaced.relations()] == [0, 0, None, 5, 0]


def test_goes_on_where_it_was(tmp_path, data, monkeypatch):
    monkeypatch.setattr(scoring, "SHARD_RELATIONS", 1)
    scored(tmp_path, data, planted.Plane())
    (tmp_path / "out.job" / "scores" / "00002.npy").unlink()
    teacher = planted.Plane()
    score_relations(data, teacher, out=tmp_path / "again", workspace=Workspace(tmp_path / "out.job"))
    assert teacher.scored == 1
    assert Dataset.open(tmp_path / "again").fingerprint == Dataset.open(tmp_path / "out").fingerprint
