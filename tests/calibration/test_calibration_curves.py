"""Curves, their files and their figures, on pairs of known probabilities."""

import json
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from me5.calibration import fitting, judging, making, risk
from me5.calibration.applied import LEAST_PASSAGES, Calibration, Cut, neighbourhood_of
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import moved
from me5.calibration.pairs import Set, together
from me5.calibration.scored import Scored
from me5.errors import CalibrationError, InputError

GRID = np.linspace(-1, 1, 4001)


def made(*sets, **options):
    return making.calibrate(sets, synthetic.VECTORS, synthetic.SIDES, **options)


@pytest.fixture(scope="module")
def calibration():
    return made(synthetic.labelled(2000)).calibration


def test_probabilities_are_those_that_the_pairs_were_made_with(calibration):
    cosines = np.linspace(0.72, 0.94, 100)
    assert calibration.curve.method == "isotonic"
    assert np.abs(calibration.probability(cosines) - synthetic.truth(cosines)).mean() < 0.02


def test_few_pairs_get_a_logistic_curve_near_the_truth():
    def logistic(cosines):
        return 1 / (1 + np.exp(-40 * (cosines - 0.8)))

    few = made(synthetic.labelled(18, probability=logistic)).calibration
    assert few.curve.method == "logistic"
    cosines = np.linspace(0.72, 0.88, 100)
    assert np.abs(few.probability(cosines) - logistic(cosines)).mean() < 0.1
    many = synthetic.labelled(3000, probability=logistic)
    curve = fitting.fit(many.cosine, many.relevant, "logistic")
    assert curve.slope == pytest.approx(40, rel=0.05)
    assert curve.middle == pytest.approx(0.8, abs=0.002)


def test_pairs_that_a_cosine_separates_are_no_certainty():
    """Twenty pairs say little about what lies between them: neither 0 nor 1 comes out, nor an endless slope."""
    cosines, relevant = np.r_[np.full(10, 0.7), np.full(10, 0.9)], np.repeat([False, True], 10)
    for method in ("logistic", "isotonic"):
        low, high = fitting.fit(cosines, relevant, method)([0.7, 0.9])
        assert 0.02 < low < 0.15
        assert 0.85 < high < 0.98


pairs_of_any_kind = st.lists(st.tuples(st.floats(-1, 1, width=32), st.booleans()), min_size=2, max_size=80)


@given(pairs_of_any_kind, st.sampled_from(["logistic", "isotonic"]), st.floats(0.001, 0.999))
def test_order_never_changes(pairs, method, prior):
    cosines, relevant = np.array([one for one, _ in pairs]), np.array([label for _, label in pairs])
    if len(set(relevant.tolist())) < 2:
        return
    try:
        curve = fitting.fit(cosines, relevant, method)
    except CalibrationError:
        return  # there is nothing to learn
    found = moved(curve(GRID), float(relevant.mean()), prior)
    assert (np.diff(found) >= -1e-12).all()
    assert ((found >= 0) & (found <= 1)).all()
    at_ends = curve([-1, 1])
    assert 0 < at_ends[0] <= at_ends[1] < 1


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=9), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_prior_that_is_moved_and_moved_back_changes_nothing(probabilities, before, after):
    there = moved(probabilities, before, after)
    np.testing.assert_allclose(moved(there, after, before), probabilities, rtol=1e-9)
    assert moved(before, before, after) == pytest.approx(after)


def test_another_share_of_relevant_pairs_gives_its_own_probabilities():
    """Irrelevant pairs ten times as frequent, of the same cosines: the moved curve is that of the new pairs."""
    pairs = synthetic.labelled(4000)
    rarer = np.random.default_rng(1).random(len(pairs.cosine)) < 0.1
    kept = rarer | ~pairs.relevant
    rare = Set("rare", (), pairs.question[kept], pairs.cosine[kept], pairs.relevant[kept])
    share = float(rare.relevant.mean())
    guessed = made(pairs).calibration.with_prior(share).probability(GRID)
    found = made(rare).calibration.probability(GRID)
    seen = (GRID > 0.75) & (GRID < 0.9)
    assert np.abs(guessed - found)[seen].max() < 0.1
    assert np.abs(guessed - found)[seen].mean() < 0.02


def test_a_file_holds_all_of_it(calibration, tmp_path):
    for one in (calibration, made(synthetic.labelled(18)).calibration):
        one.write(tmp_path / "calibration.json")
        assert Calibration.read(tmp_path / "calibration.json").to_json() == one.to_json()
        np.testing.assert_array_equal(
            Calibration.read(tmp_path / "calibration.json").probability(GRID), one.probability(GRID)
        )


def with_changes(calibration, **changes):
    return json.dumps({**json.loads(calibration.to_json()), **changes})


def test_damaged_files_are_errors_that_name_them(calibration):
    points = {"method": "isotonic", "cosines": [0.5, 0.9], "probabilities": [0.6, 0.4]}
    for changes, said in (
        ({"curve": points}, "never fall"),
        ({"curve": {**points, "probabilities": [0.4]}}, "damaged"),
        ({"curve": {"method": "logistic", "slope": -1, "middle": 0}}, "rising"),
        ({"curve": None}, "there: no curve"),
        ({"format": 99}, "update me5"),
        ({"kind": "background"}, "not a calibration of kind 'probability'"),
        ({"sides": {"query": ""}}, "there: expected query, document"),
        ({"labelled": 2}, "labelled must lie between 0 and 1"),
        ({"cuts": [{}]}, "damaged calibration"),
    ):
        with pytest.raises(InputError, match=said):
            Calibration.from_json(with_changes(calibration, **changes), "there")
    for text in ("", "[]", "[" * 100_000):
        with pytest.raises(InputError, match="there is not a calibration"):
            Calibration.from_json(text, "there")


def test_vectors_and_prompts_that_a_calibration_is_not_for_are_named():
    vectors = synthetic.VECTORS
    vectors.check(replace(vectors, precision="bf16", model="under another name"))
    for changes, said in (
        ({"weights": "0" * 32, "model": "another"}, "made-up (.*) got another"),
        ({"dim": 32}, "64 numbers, got 32"),
        ({"precision": "int8"}, "precision f32, got int8"),
    ):
        with pytest.raises(CalibrationError, match=said):
            vectors.check(replace(vectors, **changes))
    with pytest.raises(CalibrationError, match="document prompt 'passage: ', got 'query: '"):
        synthetic.SIDES.check(Sides("query: ", "query: "))
    assert Vectors(**vars(vectors)) == vectors


def scored(pairs):
    return together([pairs])


def test_held_out_probabilities_come_from_other_questions():
    """Labels that only the question decides: who learns from a question's own pairs looks better than who does not."""
    rng = np.random.default_rng(0)
    question = np.repeat(np.arange(60), 10)
    cosine = np.round(0.8 + 0.001 * question, 4)  # each question has a cosine of its own
    relevant = np.repeat(rng.random(60) < 0.5, 10)
    pairs = Scored(question, cosine, relevant)
    held_out = judging.judge(pairs, fitting.held_out(pairs, "isotonic"), pairs.share)
    inside = judging.judge(pairs, fitting.fit(cosine, relevant, "isotonic")(cosine), pairs.share)
    assert inside.brier.value < held_out.brier.value


def test_figures_are_those_of_slow_references():
    pairs = scored(synthetic.labelled(40))
    pairs = Scored(pairs.question, np.round(pairs.cosine, 2), pairs.relevant)  # with ties
    said = fitting.held_out(pairs, "isotonic")
    judged = judging.judge(pairs, said, pairs.share)
    assert judged.auc.value == pytest.approx(roc_auc_score(pairs.relevant, pairs.cosine))
    weights = np.random.default_rng(0).integers(1, 5, len(pairs)).astype(float)
    expected = roc_auc_score(pairs.relevant, pairs.cosine, sample_weight=weights)
    assert judging.auc_of(pairs)(weights) == pytest.approx(expected)
    error = 0.0
    for low in np.arange(10) / 10:
        mine = (said >= low) & (said < low + 0.1)
        error += abs((said[mine] - pairs.relevant[mine]).sum()) / len(pairs)
    assert judged.error.value == pytest.approx(error)
    assert judged.brier.value == pytest.approx(np.mean((said - pairs.relevant) ** 2))
    for threshold in judged.thresholds:
        shown = said >= threshold.probability
        assert threshold.recall.value == pytest.approx(pairs.relevant[shown].sum() / pairs.relevant.sum())
        if shown.any():
            assert threshold.precision.value == pytest.approx(pairs.relevant[shown].mean())
            assert threshold.precision.low <= threshold.precision.value <= threshold.precision.high
        assert threshold.answered == pytest.approx(len(set(pairs.question[shown].tolist())) / 40)
    assert sum(one.pairs for one in judged.bins) == len(pairs)


def test_the_calibration_error_tells_right_probabilities_from_wrong_ones():
    pairs = scored(synthetic.labelled(1000))
    right = judging.judge(pairs, synthetic.truth(pairs.cosine), pairs.share)
    assert right.error.value < 1.5 * right.chance[1]
    wrong = judging.judge(pairs, np.clip(synthetic.truth(pairs.cosine) * 1.5, 0, 1), pairs.share)
    assert wrong.error.low > 3 * wrong.chance[1]


def test_cosines_that_tell_nothing_give_no_calibration():
    nothing = made(synthetic.labelled(300, probability=lambda cosines: np.full(len(cosines), 0.3)))
    assert nothing.calibration is None
    assert "do not tell relevant pairs from irrelevant ones" in nothing.verdict
    assert "no threshold" in nothing.verdict
    upside_down = made(synthetic.labelled(300, probability=lambda cosines: 1 - synthetic.truth(cosines)))
    assert upside_down.calibration is None


def test_pairs_that_overlap_have_probabilities_but_no_threshold():
    """Never more than 0.25 is relevant: the curve says so, and there is no cut."""
    poor = made(synthetic.labelled(1000, probability=lambda cosines: 0.25 * synthetic.truth(cosines)))
    assert poor.calibration is not None
    assert poor.calibration.probability(0.95) < 0.5
    assert [cut.cosine for cut in poor.calibration.cuts] == [None, None, None]
    assert poor.verdict.startswith("no threshold works")
    with pytest.raises(CalibrationError, match=r"no cosine keeps the share of irrelevant passages at 0\.2"):
        poor.calibration.cut(0.2)


def test_a_cut_that_was_not_made_is_an_error(calibration):
    assert calibration.cut(0.5) == next(cut.cosine for cut in calibration.cuts if cut.risk == 0.5)
    with pytest.raises(InputError, match=r"no cut for a risk of 0\.3, only for 0\.5, 0\.2, 0\.1"):
        calibration.cut(0.3)
    assert calibration.with_prior(0.01).cuts == ()


def test_too_few_pairs_are_refused():
    few = synthetic.labelled(9, 20)
    with pytest.raises(InputError, match="9 questions among 180 labelled pairs: too few"):
        made(few)
    with pytest.raises(InputError, match="0 relevant pairs"):
        made(Set("none", (), few.question, few.cosine, np.zeros(180, bool)))


def test_sets_keep_their_questions_apart_and_have_their_own_lines():
    easy, hard = synthetic.labelled(100, name="easy"), synthetic.labelled(50, seed=1, name="hard")
    assert together([easy, hard]).questions == 150
    figures = made(easy, hard).figures
    assert [one["name"] for one in figures["sets"]] == ["easy", "hard"]
    assert [one["questions"] for one in figures["sets"]] == [100, 50]
    assert figures["sets"][0]["observed"] == pytest.approx(easy.relevant.mean(), abs=1e-4)


def of_questions(count, seed, each=5):
    """Lists of five, one in four without an answer; relevant ones two and a half deviations above the others."""
    rng = np.random.default_rng(seed)
    question = np.repeat(np.arange(count), each)
    relevant = np.zeros(len(question), bool)
    relevant[::each] = rng.random(count) < 0.75
    return Scored(question, rng.normal(size=len(question)) + 2.5 * relevant, relevant)


@pytest.mark.parametrize("asked", [0.5, 0.2])
def test_a_cut_keeps_its_promise(asked):
    """In at least 9 of 10 draws of the calibration's questions; and it is found, and of use, where it can be."""
    world, runs = of_questions(50_000, 10_000), 200
    broken, recall = 0, []
    for seed in range(runs):
        cut = risk.cut(of_questions(200, seed), asked, seed=seed)
        if cut.cosine is None:
            continue
        shown = world.cosine >= cut.cosine
        counts = np.bincount(world.question[shown], minlength=world.questions)
        wrong = np.bincount(world.question[shown & ~world.relevant], minlength=world.questions)
        broken += (wrong[counts > 0] / counts[counts > 0]).mean() > asked
        recall.append(world.relevant[shown].sum() / world.relevant.sum())
    assert broken <= 0.1 * runs + 2.6 * np.sqrt(0.1 * 0.9 * runs)  # what chance adds in 1 of 200 runs of this test
    assert len(recall) > 0.6 * runs
    assert np.mean(recall) > 0.5


def test_a_cut_may_not_be_guessed_from_few_questions():
    """All of ten answers right is no proof that at most 1 of 20 is wrong."""
    question = np.repeat(np.arange(20), 2)
    relevant = np.tile([True, False], 20)
    pairs = Scored(question, np.where(relevant, 0.9, 0.1), relevant)
    assert risk.cut(pairs, 0.05) == Cut(0.05, 0.9, None)
    assert risk.cut(pairs, 0.5).cosine == 0.9


def above(pairs, neighbourhood):
    """The same questions among texts that come as near as this, instead of 0.75."""
    there = np.full(len(pairs.cosine), neighbourhood)
    return replace(pairs, cosine=pairs.cosine + neighbourhood - 0.75, neighbourhood=there)


def test_a_calibration_transfers_with_the_neighbourhood_of_other_questions():
    here, there = above(synthetic.labelled(600), 0.75), above(synthetic.labelled(600, seed=1), 0.81)
    found = made(here).calibration
    assert found.neighbourhood == pytest.approx(0.75)
    placed = making.judge_on(found, [there])
    assert placed["error"]["value"] < 0.04 < 0.15 < placed["sets"][0]["unplaced"]
    cosines = np.linspace(0.72, 0.94, 100)
    np.testing.assert_allclose(found.probability(cosines + 0.06, 0.81), found.probability(cosines, 0.75))
    assert Calibration.from_json(found.to_json(), "here") == found
    both = made(here, there).calibration
    assert both.neighbourhood == pytest.approx(0.78)
    assert np.abs(both.probability(cosines, 0.75) - synthetic.truth(cosines)).mean() < 0.02
    chosen = made(here, replace(there, neighbourhood=None)).calibration
    assert chosen.neighbourhood is None
    np.testing.assert_array_equal(chosen.probability(cosines, 0.5), chosen.probability(cosines))


def test_without_the_other_passages_a_calibration_that_measures_against_them_tells_nothing():
    """Cosines of single pairs, of few passages, or in no matrix of questions and passages."""
    here = above(synthetic.labelled(600), 0.75)
    found = made(here).calibration
    assert not found.tells(LEAST_PASSAGES - 1)
    cosines = np.random.default_rng(0).uniform(0.7, 0.95, (3, LEAST_PASSAGES))
    for unknown in (0.9, cosines[0], cosines[:, 1:], cosines[None]):
        with pytest.raises(CalibrationError, match=r"ranks 11 to 20 .* at least 100 passages"):
            found.probability(unknown)
    with pytest.raises(CalibrationError, match="ranks 11 to 20"):
        making.judge_on(found, [replace(here, neighbourhood=None)])
    assert found.tells(LEAST_PASSAGES)
    told = found.probability(cosines)
    for row, mine in zip(cosines, told, strict=True):
        after = float(np.sort(row)[::-1][10:20].mean())
        assert neighbourhood_of(sorted(row, reverse=True), len(row)) == pytest.approx(after)
        np.testing.assert_allclose(mine, found.probability(row, after))
        assert (np.diff(mine[np.argsort(row)]) >= 0).all()
    everywhere = made(replace(here, neighbourhood=None)).calibration
    assert everywhere.tells(1)
    assert 0 < everywhere.probability(0.9) < 1
