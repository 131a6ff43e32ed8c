"""Hard negatives: which documents are taken, which are spared, and what is counted."""

import math

import planted
import pytest

from me5.data.choosing import MiningSettings
from me5.data.contract import Document
from me5.data.dataset import Dataset
from me5.data.jobs import Workspace
from me5.data.mining import mine
from me5.errors import InputError

E = planted.example
FREE = {"percent_of_positive": None}


def mined(tmp_path, data, *, check=None, name="out", **settings):
    work = Workspace(tmp_path / f"{name}.job", dtype="float32")
    counts = mine(data, planted.Plane(), MiningSettings(**settings), out=tmp_path / name, workspace=work, check=check)
    return Dataset.open(tmp_path / name), counts


@pytest.mark.parametrize("name", ["max_score", "check_margin", "margin", "percent_of_positive"])
def test_a_limit_that_no_score_compares_with_is_refused(name):
    with pytest.raises(InputError, match=f"{name.split('_')[0]}.* got nan"):
        MiningSettings(**{name: float("nan")})


def negatives(out, query):
    return [document for asked, document in planted.told(out, "negative") if asked == query]


def corpus(*angles):
    return [Document(f"{angle} d") for angle in angles]


def test_takes_the_best_that_are_no_known_answers(tmp_path):
    examples = [
        E("0 q", "5 right"), E("0 q", "3 right too"), E("0 q", "1 perhaps", "ignore"), E("0 q", "2 n", "negative"),
    ]  # fmt: skip
    same = [Document("5 RIGHT!"), Document("0 Q"), Document("4 d", title="a"), Document("4 D", title="b")]
    data = planted.dataset(tmp_path / "data", examples, [*same, *corpus(6, 7, 8, 9)])
    out, counts = mined(tmp_path, data, number=3, **FREE)
    assert negatives(out, "0 q") == ["2 n", "4 d", "6 d", "7 d"]
    assert planted.told(out, "positive") == planted.told(data, "positive")
    assert planted.told(out, "ignore") == [("0 q", "1 perhaps")]
    assert (counts[0].queries, counts[0].candidates, counts[0].negatives, counts[0].short) == (1, 5, 3, 0)
    # The positive with the lowest score is at 5 degrees: 4 lies above it.
    assert counts[0].above == 1
    new = [relation for relation in out.relations() if relation.kind == "negative"][-1]
    assert (new.source, new.licence, new.label, new.teacher_score, new.teacher) == ("s", "CC0", None, None, None)


def test_ranks_and_number(tmp_path):
    data = planted.dataset(tmp_path / "data", [E("0 q", "0.5 right")], corpus(*range(1, 12)))
    out, counts = mined(tmp_path, data, skip=2, depth=6, number=2, **FREE)
    assert negatives(out, "0 q") == ["3 d", "4 d"]
    assert counts[0].candidates == 3, "depth counts the positive, skip does not"
    out, counts = mined(tmp_path, data, name="few", depth=4, number=4, **FREE)
    assert negatives(out, "0 q") == ["1 d", "2 d", "3 d"]
    assert counts[0].short == 1


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"percent_of_positive": 95.0}, math.degrees(math.acos(0.95))),
        ({"percent_of_positive": None, "margin": 0.2}, math.degrees(math.acos(0.8))),
        ({"percent_of_positive": None, "max_score": 0.5}, 60),
        ({"percent_of_positive": 95.0, "margin": 0.2, "max_score": 0.9}, math.degrees(math.acos(0.8))),
    ],
)
def test_limits_below_the_positive(tmp_path, settings, first):
    data = planted.dataset(tmp_path / "data", [E("0 q", "0 right")], corpus(*(n + 0.5 for n in range(90))))
    out, counts = mined(tmp_path, data, number=1, **settings)
    assert planted.angle_of(negatives(out, "0 q")[0]) == math.ceil(first - 0.5) + 0.5
    assert counts[0].usable == 90 - math.ceil(first - 0.5)


def test_a_share_of_a_score_below_zero_lies_below_it():
    assert MiningSettings().limit(-1.0) == pytest.approx(-1.05)
    assert MiningSettings().limit(0.8) == pytest.approx(0.76)


def test_the_same_title_is_spared(tmp_path):
    examples = [E("0 q", "1 right", title="Everest")]
    data = planted.dataset(tmp_path / "data", examples, [Document("2 other part", "everest"), Document("3 d", "K2")])
    assert negatives(mined(tmp_path, data, **FREE)[0], "0 q") == ["3 d"]
    out, _ = mined(tmp_path, data, name="all", same_title=True, **FREE)
    assert negatives(out, "0 q") == ["2 other part", "3 d"]


def test_within_a_language_or_source(tmp_path):
    examples = [
        E("0 q", "1 recht", lang="de", source="a"), E("0 other", "1.5 d", lang="en", source="b"),
        E("0 other", "2 nein", "negative", lang="de", source="b"),
        E("0 other", "2.5 no", "negative", lang="en", source="b"),
    ]  # fmt: skip
    data = planted.dataset(tmp_path / "data", examples, [Document("9 frei", lang="de")])
    assert negatives(mined(tmp_path, data, name="language", within="language", **FREE)[0], "0 q") == [
        "2 nein",
        "9 frei",
    ]
    out, counts = mined(tmp_path, data, name="source", within="source", **FREE)
    assert negatives(out, "0 q") == ["9 frei"]
    assert [(count.source, count.negatives) for count in counts] == [("a", 1), ("b", 1)]
    assert len(negatives(mined(tmp_path, data, name="all", **FREE)[0], "0 q")) == 4


def test_random_ones_come_by_seed(tmp_path):
    data = planted.dataset(tmp_path / "data", [E("0 q", "0 right")], corpus(*range(1, 60)))
    settings = {"choice": "random", "number": 5, **FREE}
    one = negatives(mined(tmp_path, data, name="one", **settings)[0], "0 q")
    assert len(set(one)) == 5
    assert negatives(mined(tmp_path, data, name="again", **settings)[0], "0 q") == one
    assert negatives(mined(tmp_path, data, name="other", seed=1, **settings)[0], "0 q") != one


def test_what_the_check_takes_for_an_answer_is_ignored(tmp_path):
    documents = [Document(f"{n} {'answer' if n in (1, 2, 4) else 'd'}") for n in range(1, 12)]
    examples = [E("0 q", "0 answer"), E("40 q", "39 other"), E("60 no positive", "61 n", "negative")]
    data = planted.dataset(tmp_path / "data", examples, documents)
    teacher = planted.Scripted("answer")
    # The positive is an answer too, so that only a margin makes others look like one.
    out, counts = mined(tmp_path, data, check=teacher, number=3, check_margin=0.5, percent_of_positive=99.99)
    ignored = [document for query, document in planted.told(out, "ignore") if query == "0 q"]
    assert ignored == ["1 answer", "2 answer", "4 answer"]
    assert negatives(out, "0 q") == ["3 d", "5 d", "6 d"], "others take their place"
    assert len(teacher.scored) == len(set(teacher.scored)), "nothing is read twice"
    count = counts[0]
    assert count.queries == 2, "queries without a positive are not mined"
    read = [relation for relation in out.relations() if relation.teacher]
    assert count.read == len(read)
    assert 0 < count.suspected <= count.read
    assert {relation.teacher for relation in read} == {"scripted-1"}
    assert {relation.teacher_score for relation in read if relation.kind == "negative"} == {0.0}
    assert out.steps[-1]["check"] == {"model": "scripted", "teacher": "scripted-1"}


def test_a_query_that_suspects_everything_is_given_up(tmp_path):
    data = planted.dataset(tmp_path / "data", [E("0 q", "0 wrong")], [Document(f"{n} answer") for n in range(1, 60)])
    out, counts = mined(tmp_path, data, check=planted.Scripted("answer"), number=4, **FREE)
    assert (counts[0].read, counts[0].suspected, counts[0].negatives, counts[0].short) == (12, 12, 0, 1)
    assert len(planted.told(out, "ignore")) == 12


def test_given_negatives_can_be_replaced(tmp_path):
    data = planted.dataset(
        tmp_path / "data", [E("0 q", "0 d"), E("0 q", "1 n", "negative"), E("0 q", "9 n", "negative")]
    )
    out, _ = mined(tmp_path, data, number=1, replace=True, **FREE)
    assert negatives(out, "0 q") == ["1 n"]


def test_other_limits_take_vectors_and_search_from_before(tmp_path):
    data = planted.pairs_in_a_line(tmp_path / "data")
    work = Workspace(tmp_path / "job")
    mine(data, planted.Plane(), MiningSettings(), out=tmp_path / "one", workspace=work)
    with pytest.raises(InputError, match=r"number \(7 then, 2 now\)"):
        mine(data, planted.Plane(), MiningSettings(number=2), out=tmp_path / "two", workspace=work)
    teacher = planted.Plane()
    again = Workspace(tmp_path / "job", restart=True)
    searched = (tmp_path / "job" / "search" / "00000.npy").stat().st_mtime_ns
    mine(data, teacher, MiningSettings(number=2), out=tmp_path / "two", workspace=again)
    assert teacher.embedded == 0
    assert (tmp_path / "job" / "search" / "00000.npy").stat().st_mtime_ns == searched
    other = planted.pairs_in_a_line(tmp_path / "other", 20)
    with pytest.raises(InputError, match="content of"):
        mine(other, teacher, MiningSettings(number=2), out=tmp_path / "three", workspace=work)


@pytest.mark.parametrize(
    "settings",
    [{"skip": 200}, {"number": 0}, {"percent_of_positive": 0}, {"percent_of_positive": 101}, {"margin": -1}],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        MiningSettings(**settings)
