"""Labelled pairs in files, the Embedder that is calibrated with them, and `me5 calibrate`."""

import json
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import synthetic
from checkpoints import SENTENCES, passages
from evaluation_sets import write_records

from me5 import Embedder
from me5.calibration import making, pairs, picture, report
from me5.calibration.applied import Calibration
from me5.calibration.bound import Sides, Vectors
from me5.calibration.stored import applying, beside, path_of
from me5.checkpoint import resolve
from me5.errors import CalibrationError, InputError
from me5.evaluation.encoders import CheckpointEncoder
from me5.files.place import FileError


@pytest.fixture(scope="module")
def embedder(build_folder, tmp_path_factory):
    from checkpoints import E5_PROMPTS, Recipe

    built = build_folder(Recipe(prompts=E5_PROMPTS))
    return Embedder.load(shutil.copytree(built, tmp_path_factory.mktemp("own") / "tiny"), precision="f32", threads=1)


def records(count=26, seed=0):
    """Every sentence as a question, with itself (relevant), and with others (not): a tiny model tells them apart."""
    rng = np.random.default_rng(seed)
    made = []
    for at, text in enumerate(SENTENCES[:count]):
        made.append({"query": text, "document": text, "label": 1})
        others = rng.choice([one for one in range(count) if one != at], 8, replace=False)
        made += [{"query": text, "document": SENTENCES[other], "label": 0} for other in others.tolist()]
    return made


@pytest.fixture
def labelled(tmp_path):
    return write_records(tmp_path / "pairs.jsonl", records())


def vectors_of(embedder):
    return Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim)


@pytest.fixture(scope="module")
def calibration(embedder, tmp_path_factory):
    path = write_records(tmp_path_factory.mktemp("labelled") / "pairs.jsonl", records())
    (source,) = pairs.read([path], symmetric=None, graded=False)
    one = pairs.score(source, embedder, task=None, symmetric=False)
    return making.calibrate([one], vectors_of(embedder), Sides.of(embedder.prompts)).calibration


def test_cosines_are_those_of_the_embedder_and_questions_those_of_equal_texts(embedder, labelled):
    (source,) = pairs.read([labelled], symmetric=None, graded=False)
    found = pairs.score(source, embedder, task=None, symmetric=False)
    written = records()
    left = embedder.encode_query([one["query"] for one in written])
    right = embedder.encode_document([one["document"] for one in written])
    np.testing.assert_allclose(found.cosine, (left * right).sum(axis=1), atol=1e-6)
    assert found.relevant.tolist() == [one["label"] == 1 for one in written]
    assert pairs.together([found]).questions == len(SENTENCES)
    both = pairs.score(source, embedder, task=None, symmetric=True)
    alike = [one["query"] == one["document"] for one in written]
    np.testing.assert_allclose(both.cosine[alike], 1, atol=1e-6)
    assert not np.allclose(found.cosine[alike], 1, atol=1e-6)  # the two prompts differ


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_tables_with_grades(ending, tmp_path):
    cut = {".csv": ",", ".tsv": "\t"}[ending]
    path = tmp_path / f"pairs{ending}"
    path.write_text(f"query{cut}document{cut}grade\nq1{cut}d1{cut}2\nq1{cut}d2{cut}0.5\n", "utf-8")
    (source,) = pairs.read([path], symmetric=None, graded=False)
    assert (source.queries, source.documents, source.grades) == (["q1", "q1"], ["d1", "d2"], [2.0, 0.5])
    assert not pairs.is_symmetric([source])


def test_labels_that_are_none_are_named_with_their_line(tmp_path):
    for label in ("much", None, [], "nan"):
        path = write_records(tmp_path / "pairs.jsonl", [{"query": "q", "document": "d", "label": label}])
        with pytest.raises(FileError, match=r"line 1: expected a number under one of label, relevance, grade, score"):
            pairs.read([path], symmetric=None, graded=False)


def retrieval(folder, count=20):
    """Every sentence asked for by itself, and one that stands there twice, of which only one copy is judged."""
    write_records(folder / "corpus.jsonl", [{"_id": f"d{at}", "text": SENTENCES[at]} for at in range(count)])
    write_records(folder / "queries.jsonl", [{"_id": f"q{at}", "text": SENTENCES[at]} for at in range(count)])
    (folder / "qrels").mkdir()
    rows = "".join(f"q{at}\td{at}\t1\n" for at in range(count))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}", "utf-8")
    return folder


def test_a_retrieval_set_gives_what_a_search_shows(embedder, tmp_path, monkeypatch):
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", 20)
    (source,) = pairs.read([retrieval(tmp_path / "sets" / "own-en")], symmetric=None, graded=False)
    found = pairs.score(source, embedder, task=None, symmetric=False, depth=5)
    assert found.name == "sets/own-en"
    assert np.bincount(found.question).tolist() == [5] * 20
    scores = embedder.encode_query(SENTENCES[:20]) @ embedder.encode_document(SENTENCES[:20]).T
    np.testing.assert_allclose(found.cosine.reshape(20, 5), -np.sort(-scores, axis=1)[:, :5], atol=1e-6)
    shown = np.argsort(-scores, axis=1)[:, :5]
    assert found.relevant.reshape(20, 5).tolist() == (shown == np.arange(20)[:, None]).tolist()
    after = -np.sort(-scores, axis=1)[:, 10:20].mean(axis=1)
    np.testing.assert_allclose(found.neighbourhood.reshape(20, 5), np.tile(after[:, None], 5), atol=1e-6)
    monkeypatch.setattr("me5.calibration.applied.LEAST_PASSAGES", 21)
    assert pairs.score(source, embedder, task=None, symmetric=False, depth=5).neighbourhood is None


def test_pairs_of_two_like_texts_are_symmetric_and_want_a_grade_to_start_from(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 4.5}, {"sentence1": "a", "sentence2": "c", "score": 1}]
    path = write_records(tmp_path / "sts" / "own.jsonl", rows)
    with pytest.raises(InputError, match=r"similarity from 1 to 4\.5; say from which on"):
        pairs.read([path], symmetric=None, graded=False)
    (source,) = pairs.read([path], symmetric=None, graded=True)
    assert pairs.is_symmetric([source])
    other = write_records(tmp_path / "pairs.jsonl", records())
    with pytest.raises(InputError, match="calibrate with one kind"):
        pairs.read([path, other], symmetric=None, graded=True)


def test_data_without_labels_of_pairs_is_refused(tmp_path):
    (tmp_path / "two.tsv").write_text("a\tb\nc\td\n", "utf-8")
    with pytest.raises(InputError, match=r"Bitext.* has no labels of pairs; expected a \.jsonl"):
        pairs.read([tmp_path / "two.tsv"], symmetric=None, graded=False)
    (tmp_path / "no.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(InputError, match="no columns query and document"):
        pairs.read([tmp_path / "no.csv"], symmetric=None, graded=False)


def test_probability_goes_by_what_lies_beside_the_checkpoint(embedder, calibration):
    path = path_of(embedder.checkpoint)
    assert path == embedder.checkpoint.path / "calibration.json"
    with pytest.raises(InputError, match=r"has no calibration .*; make one from labelled pairs: `me5 calibrate"):
        Embedder(embedder.checkpoint, embedder.engine).probability([0.5])
    calibration.write(path)
    try:
        fresh = Embedder(embedder.checkpoint, embedder.engine)
        scores = np.linspace(-1, 1, 12).reshape(3, 4)
        np.testing.assert_array_equal(fresh.probability(scores), calibration.probability(scores))
        moved = calibration.with_prior(0.01).probability(scores)
        np.testing.assert_array_equal(fresh.probability(scores, prior=0.01), moved)
        with pytest.raises(CalibrationError, match="document prompt"):
            fresh.probability(scores, symmetric=True)
        with pytest.raises(InputError, match="prior must lie between 0 and 1, got 1"):
            fresh.probability(scores, prior=1)
    finally:
        path.unlink()


def test_another_models_calibration_is_refused_by_name(embedder, calibration, bert, tmp_path):
    other = Embedder.load(shutil.copytree(bert, tmp_path / "other"), precision="f32", threads=1, prompts="prefix")
    with pytest.raises(CalibrationError, match=r"made with tiny \(weights .*got other"):
        other.calibration = calibration
    calibration.write(tmp_path / "other" / "calibration.json")
    with pytest.raises(CalibrationError, match="calibrate this one"):
        other.probability([0.5])
    narrow = Embedder(embedder.checkpoint, embedder.engine)
    narrow.calibration = calibration
    narrow.calibration = None
    narrow.truncate_dim = 32
    with pytest.raises(CalibrationError, match="64 numbers, got 32"):
        narrow.calibration = calibration


def test_the_bundled_model_has_a_calibration_of_its_own():
    """At the precision that this processor gets, and at those that others get. New weights need a new calibration."""
    model = Embedder.load(threads=1)
    found = model.calibration  # raises for one of other weights
    assert path_of(model.checkpoint).parent == model.checkpoint.path.parent
    found.sides.check(Sides.of(model.prompts))
    for precision in ("f32", "bf16", "f16"):
        assert beside(model.checkpoint, precision, model.dim) == found
    for precision in ("int8", "fp8"):
        with pytest.raises(CalibrationError, match=f"got {precision}; use the same"):
            beside(model.checkpoint, precision, model.dim)
    scores = model.similarity(model.encode_query(SENTENCES[:2]), model.encode_document(passages(100)))
    told = model.probability(scores)
    assert ((told > 0) & (told < 1)).all()
    for row, mine in zip(scores, told, strict=True):
        assert (np.diff(mine[np.argsort(row)]) >= 0).all()
    with pytest.raises(CalibrationError, match="ranks 11 to 20"):
        model.probability(scores[:, :99])
    with pytest.raises(CalibrationError, match="made with the query prompt"):
        model.probability(scores, task="bitext")


def test_a_calibration_that_does_not_apply_is_a_warning_only_where_somebody_made_it(embedder, calibration, caplog):
    model = resolve()
    with caplog.at_level("INFO"):
        assert applying(model, "int8", model.config.hidden_size) is None
        calibration.write(path_of(embedder.checkpoint))
        try:
            assert applying(embedder.checkpoint, "int8", embedder.dim) is None
        finally:
            path_of(embedder.checkpoint).unlink()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_another_models_weights_have_no_use_for_the_bundled_calibration(embedder):
    with pytest.raises(CalibrationError, match=r"made with me5-small \(weights .* got tiny"):
        embedder.calibration = path_of(resolve())


def test_a_calibration_that_is_set_stays_in_copies_and_pickles(embedder, calibration, tmp_path):
    calibration.write(tmp_path / "elsewhere.json")
    own = Embedder.load(embedder.checkpoint.path, precision="f32", threads=1)
    own.calibration = tmp_path / "elsewhere.json"
    for one in (own, own.with_prompts(own.prompts), pickle.loads(pickle.dumps(own))):
        np.testing.assert_array_equal(one.probability([0.3, 0.9]), calibration.probability([0.3, 0.9]))


def test_applying_one_loads_no_scikit_learn(embedder, calibration, tmp_path):
    calibration.write(tmp_path / "calibration.json")
    code = (
        "import sys, me5; from me5.calibration.applied import Calibration\n"
        f"print(Calibration.read({str(tmp_path / 'calibration.json')!r}).probability([0.5]).shape)\n"
        "print([name for name in ('sklearn', 'scipy', 'bm25s', 'ir_measures') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "(1,)\n[]\n"


def test_scores_are_told_with_their_probabilities_and_why_there_are_none(embedder, calibration, bert, run, tmp_path):
    mine, other = (
        shutil.copytree(folder, tmp_path / name)
        for folder, name in ((embedder.checkpoint.path, "tiny"), (bert, "other"))
    )
    for folder in (mine, other):
        calibration.write(folder / "calibration.json")
    asked = ("score", "--json", "-p", "f32", "-q", SENTENCES[0], "-d", SENTENCES[0], "-d", SENTENCES[1], "--model")
    _, output, errors = run(*asked, mine)
    told = json.loads(output)
    np.testing.assert_allclose(
        told["probabilities"], calibration.probability(np.array(told["scores"]) / 100), atol=1e-3
    )
    assert errors == ""
    code, output, errors = run(*asked, other, "--prompts", "prefix")
    assert (code, "probabilities" in json.loads(output)) == (0, False)
    assert "warning: no probabilities: this calibration was made with tiny" in errors


def test_the_command_keeps_reports_and_judges(embedder, labelled, run, tmp_path):
    folder = shutil.copytree(embedder.checkpoint.path, tmp_path / "tiny")
    out = tmp_path / "report"
    code, output, errors = run("calibrate", folder, labelled, "--out", out, "-p", "f32")
    assert code == 0
    assert "234 pairs of 26 questions, 26 relevant" in output
    assert f"kept in {folder / 'calibration.json'}" in errors
    kept = Calibration.read(folder / "calibration.json")
    assert kept.to_json() == (tmp_path / "report.json").read_text("utf-8")
    assert kept.made["sources"] == ["pairs.jsonl"]
    assert Embedder.load(folder, precision="f32", threads=1).probability([-1, 1]).tolist() == pytest.approx(
        kept.probability([-1, 1]).tolist()
    )
    told = (tmp_path / "report.md").read_text("utf-8")
    assert "AUC" in told
    assert "11.1 % of the labelled pairs are relevant" in told
    svg = (tmp_path / "report.svg").read_text("utf-8")
    assert svg.count('class="bar ') > 10
    assert "Reliability on held-out questions" in svg
    assert "nan" not in svg.lower()

    before = (folder / "calibration.json").read_bytes()
    judged = ("--judge", folder / "calibration.json", "-p", "f32", "--json")
    code, output, _ = run("calibrate", folder, labelled, *judged)
    assert code == 0
    assert json.loads(output)["pairs"] == 234
    assert (folder / "calibration.json").read_bytes() == before
    code, _, _ = run("calibrate", folder, labelled, "--no-keep", "--quiet", "--prior", "0.01", "-p", "f32")
    assert code == 0
    assert (folder / "calibration.json").read_bytes() == before
    code, _, errors = run("calibrate", folder, labelled, *judged, "--symmetric")
    assert code == 2
    assert "document prompt" in errors


def test_the_calibration_of_the_bundled_model_is_never_replaced(labelled, run, tmp_path):
    path = path_of(resolve())
    before = path.read_bytes()
    code, _, errors = run("calibrate", "me5-small", labelled, "--out", tmp_path / "own", "-p", "f32")
    assert code == 2
    assert "me5-small comes with its calibration, which is not replaced; calibrate your store" in errors
    assert not [*tmp_path.glob("own.*")]
    code, _, errors = run("calibrate", "me5-small", labelled, "--out", tmp_path / "own", "-p", "f32", "--no-keep")
    assert code == 0
    assert "nothing was kept" in errors
    assert (tmp_path / "own.json").is_file()
    assert path.read_bytes() == before


def test_vectors_that_were_cached_are_not_made_again(embedder, labelled, run, tmp_path, monkeypatch):
    folder = shutil.copytree(embedder.checkpoint.path, tmp_path / "tiny")
    command = ("calibrate", folder, labelled, "--json", "-p", "f32", "--cache", tmp_path / "vectors")
    first = run(*command)
    assert first[0] == 0
    monkeypatch.delattr(CheckpointEncoder, "embed")
    assert run(*command)[1] == first[1]


def test_the_command_says_that_nothing_can_be_told_and_keeps_nothing(embedder, run, tmp_path):
    folder = shutil.copytree(embedder.checkpoint.path, tmp_path / "tiny")
    rng = np.random.default_rng(0)
    shuffled = [{**one, "label": int(rng.random() < 0.4)} for one in records()]
    path = write_records(tmp_path / "pairs.jsonl", shuffled)
    code, output, _ = run("calibrate", folder, path, "--out", tmp_path / "report", "-p", "f32")
    assert code == 1
    assert "do not tell relevant pairs from irrelevant ones" in output
    assert not (folder / "calibration.json").exists()
    assert "there is no calibration" in (tmp_path / "report.md").read_text("utf-8")
    assert ">probability</text>" not in (tmp_path / "report.svg").read_text("utf-8")


def test_the_command_refuses_what_it_cannot_do(embedder, labelled, run, tmp_path):
    folder = embedder.checkpoint.path
    for arguments, said in (
        ((folder,), "needs labelled pairs: without them only a store"),
        ((folder, labelled, "--risk", "2"), "risk must lie between 0 and 1, got 2"),
        ((folder, labelled, "--relevant-from", "2"), "0 relevant pairs"),
        ((folder, tmp_path / "nowhere"), "nowhere does not exist"),
        ((folder, labelled, "--judge", labelled), "is not a calibration"),
    ):
        code, _, errors = run("calibrate", *arguments, "-p", "f32", "--no-keep", "--quiet")
        assert code == 2
        assert said in re.sub(r"\s+", " ", errors)


def test_the_report_tells_several_sets_apart():
    sets = [synthetic.labelled(60, name="one"), synthetic.labelled(60, seed=1, name="two")]
    made = making.calibrate(sets, synthetic.VECTORS, synthetic.SIDES, prior=0.05)
    told = report.as_markdown(made.figures, made.calibration, made.verdict, "A title")
    assert told.startswith("# A title\n\n**no cuts were made")
    assert "probabilities are for 5 %" in told
    assert re.search(r"\| one \| 60 \| 600 \| 0\.\d{3} \| 0\.\d{3} \|", told)
    svg = picture.as_svg(made.figures, made.calibration, "A title")
    assert 'aria-label="A title"' in svg
