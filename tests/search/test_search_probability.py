"""Searches that know what a cosine means: probabilities, percentiles, and the answer that nothing fits."""

from dataclasses import replace

import numpy as np
import pytest
from checkpoints import SENTENCES, passages

from me5.calibration.applied import Calibration, Cut
from me5.calibration.background import ANY, PERCENTILES, Background
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Curve
from me5.errors import CalibrationError, InputError
from me5.search import Document, Index, chance
from me5.search.scale import keep

TEXTS = {
    "k2.txt": "K2 rises to 8,611 metres. It is in the Karakoram.",
    "bread.txt": "Bread needs flour, water, salt and yeast. Bake it for an hour in a hot oven.",
    "brot.txt": "Brot braucht Mehl, Wasser, Salz und Hefe. Es wird eine Stunde lang gebacken.",
    "fuji.txt": "富士山は標高3,776メートルで、日本の最高峰である。冬は雪が多い。",
    "code.txt": "The error E1042 means that the valve is closed.",
}
QUESTION = "how is bread made?"
CURVE = Curve("isotonic", cosines=(-1.0, 1.0), probabilities=(0.001, 0.999))


@pytest.fixture
def filled(index, docs, monkeypatch):
    # Whatever lies beside the bundled model is no matter of these tests.
    embedder = index.embedder
    monkeypatch.setattr(embedder, "_beside", ((embedder.precision, embedder.dim), None))
    for name, text in TEXTS.items():
        (docs / name).write_text(text, encoding="utf-8")
    index.add([docs])
    index.finish()
    return index


def calibration_of(index, *, curve=CURVE, cuts=(), **changes):
    embedder = index.embedder
    vectors = replace(Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim), **changes)
    return Calibration(vectors, Sides.of(embedder.prompts), curve, 0.1, 0.1, cuts)


def test_an_empty_store_says_nothing_of_chance(index):
    with pytest.raises(InputError, match=r"my\.lance holds no passages; index documents first"):
        chance.measure(index.store, index.embedder)


def test_without_a_calibration_nobody_knows(filled):
    for by in ("both", "vectors", "words"):
        for hit in filled.search(QUESTION, 9, by=by):
            assert (hit.probability, hit.percentile) == (None, None)
    for asked in ({"min_probability": 0.5}, {"max_risk": 0.2}):
        with pytest.raises(InputError, match="has no calibration, nor has its model"):
            filled.search(QUESTION, **asked)


@pytest.mark.parametrize("by", ["both", "vectors"])
def test_probabilities_are_those_of_the_cosines(filled, by):
    """Also of passages that were found by their words alone, whose cosines no search by vectors has looked at."""
    keep(filled.store, calibration_of(filled))
    hits = filled.search(QUESTION, 9, by=by)
    assert len(hits) == len(TEXTS)
    embedder = filled.embedder
    expected = embedder.encode_document([f"{hit.title} {hit.text}".strip() for hit in hits])
    expected = expected @ embedder.encode_query(QUESTION)[0]
    np.testing.assert_allclose([hit.cosine for hit in hits], expected, atol=1e-5)
    np.testing.assert_allclose([hit.probability for hit in hits], CURVE(expected), atol=1e-5)


def test_a_passage_that_only_its_words_find_has_its_cosine_too(filled, monkeypatch):
    """As if an index over the vectors had missed it."""
    keep(filled.store, calibration_of(filled))
    question = "error E1042"
    (first, *_) = filled.search(question, 1)
    assert first.source == "docs/code.txt"
    snapshot = type(filled.store.snapshot())
    nearest = snapshot.nearest
    monkeypatch.setattr(snapshot, "nearest", lambda self, *a, **k: [
        row for row in nearest(self, *a, **k) if row["_rowid"] not in missed
    ])  # fmt: skip
    rows = filled.store.snapshot().take(range(len(TEXTS)))
    missed = {at for at, row in rows.items() if row["source"] == "docs/code.txt"}
    assert len(missed) == 1
    found = {hit.source: hit for hit in filled.search(question, 9)}
    assert found["docs/code.txt"].cosine == pytest.approx(first.cosine, abs=1e-5)
    assert found["docs/code.txt"].probability == pytest.approx(first.probability, abs=1e-5)


def test_what_does_not_fit_is_left_out_and_order_stays(filled):
    keep(filled.store, calibration_of(filled))
    for by in ("both", "vectors"):
        hits = filled.search(QUESTION, 9, by=by)
        middle = sorted(hit.probability for hit in hits)[2]
        kept = filled.search(QUESTION, 9, by=by, min_probability=middle)
        assert kept == [hit for hit in hits if hit.probability >= middle]
        assert len(kept) == 3
        assert filled.search(QUESTION, 9, by=by, min_probability=0.998) == []
    with pytest.raises(InputError, match="words alone looks at no vectors"):
        filled.search(QUESTION, by="words", min_probability=0.5)
    with pytest.raises(InputError, match="min_probability must lie between 0 and 1, got 50"):
        filled.search(QUESTION, min_probability=50)


def test_a_cut_keeps_its_risk_or_says_that_there_is_none(filled):
    hits = filled.search(QUESTION, 9, by="vectors")
    cosine = hits[1].cosine
    keep(filled.store, calibration_of(filled, cuts=(Cut(0.5, 0.9, cosine - 1e-6), Cut(0.1, 0.9, None))))
    assert [hit.id for hit in filled.search(QUESTION, 9, by="vectors", max_risk=0.5)] == [hit.id for hit in hits[:2]]
    with pytest.raises(InputError, match=r"no cut for a risk of 0\.2, only for 0\.5, 0\.1"):
        filled.search(QUESTION, max_risk=0.2)
    with pytest.raises(CalibrationError, match="no cosine keeps"):
        filled.search("zzz", max_risk=0.1)


def test_the_models_own_calibration_serves_where_the_store_has_none(filled):
    embedder = filled.embedder
    embedder.calibration = calibration_of(filled)
    try:
        (hit, *_) = filled.search(QUESTION, 1)
        assert hit.probability == pytest.approx(float(CURVE(hit.cosine)))
        flat = Curve("isotonic", cosines=(0.0,), probabilities=(0.25,))
        keep(filled.store, calibration_of(filled, curve=flat))
        assert filled.search(QUESTION, 1)[0].probability == pytest.approx(0.25)
    finally:
        embedder.calibration = None


def test_cosines_are_measured_against_the_neighbourhood_of_the_question(filled, monkeypatch):
    """Where there are enough passages to tell; else nothing is told, and what asks for it is refused."""
    filled.add_documents({f"{at}": Document(text) for at, text in enumerate(passages(30))})
    hits = filled.search(QUESTION, 40, by="vectors", fold=False)
    assert len(hits) > 30
    cut = hits[1].cosine
    keep(filled.store, replace(calibration_of(filled, cuts=(Cut(0.5, 0.9, cut),)), neighbourhood=0.3))
    few = filled.search(QUESTION, 9, by="vectors", fold=False)
    assert few == hits[:9]
    for asked in ({"min_probability": 0.5}, {"max_risk": 0.5}):
        with pytest.raises(CalibrationError, match=r"has 35 passages, .* at least 100; leave out"):
            filled.search(QUESTION, **asked)
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", 35)
    after = float(np.mean([hit.cosine for hit in hits[10:20]]))
    for by in ("both", "vectors"):
        told = {hit.id: hit.probability for hit in filled.search(QUESTION, 9, by=by, fold=False)}
        expected = {hit.id: float(CURVE(hit.cosine - after + 0.3)) for hit in hits}
        assert told == pytest.approx({name: expected[name] for name in told}, abs=1e-5)
    shown = filled.search(QUESTION, 40, by="vectors", fold=False, max_risk=0.5)
    assert len(shown) == sum(hit.cosine - after + 0.3 >= cut for hit in hits)


def test_the_bundled_calibration_tells_where_a_probability_is_asked_for(index, monkeypatch):
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", 30)
    index.add_documents({f"{at}": Document(text) for at, text in enumerate(passages(30))})
    index.finish()
    hits = index.search(SENTENCES[0], 9)
    assert {hit.probability for hit in hits} == {None}
    told = index.search(SENTENCES[0], 9, min_probability=1e-4)
    assert [hit.id for hit in told] == [hit.id for hit in hits]
    after = index.store.snapshot().neighbourhood(index.embedder.encode_query(SENTENCES[0])[0])
    expected = index.embedder.calibration.probability([hit.cosine for hit in told], after)
    assert [hit.probability for hit in told] == pytest.approx(expected.tolist())
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", 31)
    with pytest.raises(CalibrationError, match="has 30 passages, and its calibration says"):
        index.search(SENTENCES[0], 9, min_probability=1e-4)


def test_a_calibration_for_another_task_tells_nothing_and_is_named_where_it_is_needed(filled):
    own = calibration_of(filled)
    keep(filled.store, replace(own, sides=Sides("another: ", own.sides.document)))
    assert filled.search(QUESTION, 1)[0].probability is None
    with pytest.raises(CalibrationError, match="made with the query prompt 'another: '"):
        filled.search(QUESTION, min_probability=0.5)


def test_a_store_keeps_calibrations_of_its_model_alone(filled, tmp_path):
    for changes, said in (({"weights": "0" * 32, "model": "other"}, "made with other"), ({"dim": 3}, "3 numbers")):
        with pytest.raises(CalibrationError, match=said):
            keep(filled.store, calibration_of(filled, **changes))
    kept = calibration_of(filled)
    keep(filled.store, kept)
    keep(filled.store, background_of(filled))
    assert Index.open(filled.store.uri).store.snapshot().calibration.to_json() == kept.to_json()
    (tmp_path / "docs" / "more.txt").write_text("Salt is a mineral.", "utf-8")
    filled.add([tmp_path / "docs"])
    filled.finish()
    again = Index.open(filled.store.uri).store.snapshot()
    assert again.calibration.to_json() == kept.to_json()
    assert again.background == background_of(filled)


def background_of(index):
    embedder = index.embedder
    cosines = {
        ANY: tuple(np.linspace(-1, 1, len(PERCENTILES)).tolist()),
        "en>de": tuple(np.linspace(-1, 0, len(PERCENTILES)).tolist()),
    }
    vectors = Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim)
    return Background(vectors, Sides.of(embedder.prompts), cosines, {"pairs": 1})


def test_a_background_tells_percentiles_by_language_and_no_probabilities(filled):
    background = background_of(filled)
    keep(filled.store, background)
    hits = {hit.source: hit for hit in filled.search(QUESTION, 9)}
    for hit in hits.values():
        assert hit.probability is None
        name = "en>de" if hit.language == "de" else ANY
        assert hit.percentile == pytest.approx(float(np.interp(hit.cosine, background.cosines[name], PERCENTILES)))
    assert {hit.language for hit in hits.values()} >= {"de", "en"}
    with pytest.raises(InputError, match="has no calibration"):
        filled.search(QUESTION, min_probability=0.5)


def test_a_background_is_where_random_pairs_of_the_store_lie(index, docs):
    rng = np.random.default_rng(0)
    words = [word for word in " ".join(SENTENCES).split() if word.isalpha()]  # one sentence is then all of a passage
    for at in range(60):
        (docs / f"{at}.txt").write_text(" ".join(rng.choice(words, 12)) + ".", "utf-8")
    index.add([docs])
    index.finish()
    background = chance.measure(index.store, index.embedder)
    rows = index.store.sample(60, columns=("text", "vector"))
    asked = index.embedder.encode_query([row["text"] for row in rows])
    scores = asked @ np.array([row["vector"] for row in rows]).T
    others = scores[~np.eye(len(rows), dtype=bool)]
    assert background.made["pairs"] == len(rows) * (len(rows) - 1)
    np.testing.assert_allclose(background.cosines[ANY], np.percentile(others, PERCENTILES), atol=0.002)
    values = [background.percentile(cosine, "en", "en") for cosine in np.linspace(-1, 1, 101)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 100)
    assert Background.from_json(background.to_json(), "there") == background
    with pytest.raises(InputError, match="there is a damaged background"):
        Background.from_json(background.to_json().replace('"cosines"', '"other"'), "there")


def test_a_store_of_few_documents_has_no_background(filled):
    with pytest.raises(InputError, match=r"pairs of passages of different documents .* expected 1,000: index more"):
        chance.measure(filled.store, filled.embedder)
