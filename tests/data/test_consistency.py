"""The consistency filter, beside a slow one."""

import numpy as np
import planted
import pytest

from me5.data.consistency import FilterSettings, draw_pool, filter_pairs
from me5.data.contract import Document
from me5.data.dataset import Dataset
from me5.data.jobs import Workspace
from me5.data.texts import lay_out
from me5.errors import InputError

E = planted.example


def filtered(tmp_path, data, **settings):
    teacher = planted.Plane()
    counts = filter_pairs(
        data,
        teacher,
        FilterSettings(**settings),
        out=tmp_path / "out",
        workspace=Workspace(tmp_path / "job", dtype="float32"),
    )
    return Dataset.open(tmp_path / "out"), counts


def test_keeps_what_a_slow_filter_keeps(tmp_path):
    rng = np.random.default_rng(3)
    angles = rng.uniform(0, 90, 60)
    noise = rng.choice([1, 30], 60)
    pairs = [(f"{a:.4f} q", f"{a + n:.4f} d") for a, n in zip(angles, noise, strict=True)]
    data = planted.dataset(tmp_path / "data", [E(query, document) for query, document in pairs])
    out, counts = filtered(tmp_path, data, top=3)

    def distance(query, document):
        return abs(planted.angle_of(query) - planted.angle_of(document))

    kept = [
        (query, positive)
        for query, positive in pairs
        if sum(distance(query, other) < distance(query, positive) for _, other in pairs) < 3
    ]
    assert 10 < len(kept) < 50
    assert planted.told(out) == kept
    assert (counts[0].pairs, counts[0].kept, counts[0].removed) == (60, len(kept), 60 - len(kept))
    assert out.steps[-1]["step"] == "filter"
    assert out.steps[-1]["input"] == data.fingerprint


def test_equal_texts_never_count_against_a_pair(tmp_path):
    crowd = [Document("10.1 THE answer", title=f"copy {n}") for n in range(5)]
    crowd += [Document("10 asks", title="the question itself"), Document("10.5 second answer")]
    examples = [
        E("10 asks", "11 the answer"), E("10 asks", "10.1 the answer!"), E("10 asks", "10.5 second answer"),
        E("10 asks", "10.2 nobody knows", "ignore"),
    ]  # fmt: skip
    data = planted.dataset(tmp_path / "data", examples, crowd)
    out, counts = filtered(tmp_path, data, top=1)
    assert len(planted.told(out, "positive")) == 3
    assert counts[0].within[0] == 3


def test_what_goes_and_what_stays(tmp_path):
    lone = Document("300 part of the corpus only")
    examples = [
        E("10 good", "10.1 d"), E("10 good", "80 wrong"), E("10 good", "12 n", "negative"),
        E("50 bad", "90 wrong too", source="web"), E("50 bad", "51 its negative", "negative", source="web"),
        E("20 has only negatives", "21 n", "negative"),
    ]  # fmt: skip
    data = planted.dataset(tmp_path / "data", examples, [lone])
    out, counts = filtered(tmp_path, data, top=1)
    assert planted.told(out) == [
        ("10 good", "10.1 d"), ("10 good", "12 n"), ("20 has only negatives", "21 n"),
    ]  # fmt: skip
    assert [query.text for query in out.queries()] == ["10 good", "20 has only negatives"]
    assert {document.text for document in out.documents()} == {
        "10.1 d", "12 n", "21 n", "300 part of the corpus only",
    }  # fmt: skip
    assert [(count.source, count.pairs, count.kept) for count in counts] == [("s", 2, 1), ("web", 1, 0)]


def test_the_pool_is_drawn_by_seed_without_equal_texts(tmp_path):
    data = planted.dataset(tmp_path / "data", [E("0 q", f"{n // 2} d", title=f"t{n}") for n in range(40)])
    texts = lay_out(data, "documents", Workspace(tmp_path / "job"))
    whole = draw_pool(texts, 1000, 0)
    assert whole.tolist() == list(range(0, 40, 2))
    some = draw_pool(texts, 10, 0)
    assert some.tolist() == sorted(some.tolist())
    assert 5 <= len(some) <= 10
    assert draw_pool(texts, 10, 0).tolist() == some.tolist()
    assert draw_pool(texts, 10, 1).tolist() != some.tolist()


def test_another_k_costs_no_search(tmp_path):
    data = planted.pairs_in_a_line(tmp_path / "data")
    work = Workspace(tmp_path / "job")
    filter_pairs(data, planted.Plane(), FilterSettings(top=1), out=tmp_path / "one", workspace=work)
    teacher = planted.Plane()
    filter_pairs(data, teacher, FilterSettings(top=5), out=tmp_path / "five", workspace=work)
    assert teacher.embedded == 0
    with pytest.raises(InputError, match="pool"):
        filter_pairs(data, teacher, FilterSettings(pool=5), out=tmp_path / "other", workspace=work)


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="top"):
        FilterSettings(top=0)
    with pytest.raises(InputError, match="pool"):
        FilterSettings(pool=0)
    data = planted.dataset(tmp_path / "data", [E("1 q", "1 d", "negative")])
    with pytest.raises(InputError, match="no positives"):
        filtered(tmp_path, data)
    with pytest.raises(InputError, match="exists"):
        filter_pairs(data, planted.Plane(), FilterSettings(), out=data.folder, workspace=Workspace(tmp_path / "job"))
