"""A service whose model is calibrated: probabilities in scores and searches, and for the clients' own cosines."""

import asyncio
import shutil
import sys

import httpx
import numpy as np
import pytest
from checkpoints import E5_PROMPTS, SENTENCES, Recipe

from me5 import AsyncClient, Client, Embedder, InputError, ServiceError
from me5.calibration.applied import Calibration, Cut
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Curve
from me5.cli import main
from me5.search import Document, Index

# No text of a tiny model is at right angles to another.
CURVE = Curve("isotonic", cosines=(-1.0, 0.5, 1.0), probabilities=(0.001, 0.002, 0.999))
QUESTION = SENTENCES[0]


@pytest.fixture(scope="module")
def embedder(build_folder, tmp_path_factory):
    folder = shutil.copytree(build_folder(Recipe(prompts=E5_PROMPTS)), tmp_path_factory.mktemp("served") / "tiny")
    made = Embedder.load(folder, precision="f32", threads=1)
    vectors = Vectors.of(made.checkpoint, made.precision, made.dim)
    cuts = (Cut(0.5, 0.9, 0.9), Cut(0.1, 0.9, None))
    Calibration(vectors, Sides.of(made.prompts), CURVE, 0.1, 0.1, cuts).write(folder / "calibration.json")
    return made


@pytest.fixture(scope="module")
def store(embedder, tmp_path_factory):
    with Index.open(tmp_path_factory.mktemp("store") / "my.lance", embedder, create=True) as index:
        index.add_documents({f"{at}.txt": Document(text) for at, text in enumerate(SENTENCES[:12])})
    return index


@pytest.fixture(scope="module")
def calibrated(embedder, store, launch):
    return launch("--model", str(embedder.checkpoint.path), "--precision", "f32", "--search", store.store.uri)


@pytest.fixture(scope="module")
def plain(build_folder, launch):
    """A service of the same model without a calibration."""
    return launch("--model", str(build_folder(Recipe(prompts=E5_PROMPTS))), "--precision", "f32")


def test_scores_have_their_probabilities(calibrated, plain):
    body = {"queries": list(SENTENCES[:2]), "documents": list(SENTENCES[:5])}
    with calibrated.client() as client:
        told = client.post("/v1/score", json=body).json()
    np.testing.assert_allclose(told["probabilities"], CURVE(np.array(told["scores"]) / 100), atol=1e-4)
    with plain.client() as client:
        assert "probabilities" not in client.post("/v1/score", json=body).json()


def test_searches_tell_probabilities_and_can_answer_that_nothing_fits(calibrated, store):
    with calibrated.client() as client:
        assert client.get("/v1/search").json()["calibrated"] is True
        hits = client.post("/v1/search", json={"query": QUESTION}).json()["hits"]
        expected = store.search(QUESTION, 10)
        assert [hit["probability"] for hit in hits] == pytest.approx([hit.probability for hit in expected], abs=1e-4)
        assert [hit["percentile"] for hit in hits] == [None] * len(hits)
        middle = sorted(hit["probability"] for hit in hits)[5]
        kept = client.post("/v1/search", json={"query": QUESTION, "min_probability": middle - 1e-6}).json()["hits"]
        assert {hit["id"] for hit in kept} == {hit["id"] for hit in hits if hit["probability"] >= middle - 1e-6}
        assert client.post("/v1/search", json={"query": QUESTION, "min_probability": 0.9999}).json()["hits"] == []
        cut = client.post("/v1/search", json={"query": QUESTION, "max_risk": 0.5}).json()["hits"]
        assert [hit["id"] for hit in cut] == [hit["id"] for hit in hits if hit["cosine"] >= 0.9]


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"max_risk": 0.3}, "max_risk", "no cut for a risk of 0.3, only for 0.5, 0.1"),
        ({"max_risk": 0.1}, "max_risk", "no cosine keeps the share of irrelevant passages at 0.1"),
        ({"min_probability": 1.5}, "min_probability", "less than 1"),
        ({"min_probability": 0.5, "by": "words"}, "query", "words alone looks at no vectors"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_field(calibrated, body, param, message):
    with calibrated.client() as client:
        reply = client.post("/v1/search", json={"query": QUESTION, **body})
    assert reply.status_code in (400, 422)
    assert reply.json()["error"]["param"] == param
    assert message in reply.json()["error"]["message"]


def test_clients_know_what_their_cosines_mean(calibrated, plain):
    cosines = np.linspace(-1, 1, 8).reshape(2, 4)
    with Client(calibrated.url, retries=0) as client:
        np.testing.assert_allclose(client.probability(cosines), CURVE(cosines))
        moved = client.probability(cosines, prior=0.01)
        assert (moved < CURVE(cosines)).all()
        assert client.search(QUESTION, min_probability=0.9999)["hits"] == []
        with pytest.raises(InputError, match="made with the document prompt"):
            client.probability(cosines, symmetric=True)

    async def asked():
        async with AsyncClient(calibrated.url) as client:
            return await client.probability(cosines)

    np.testing.assert_allclose(asyncio.run(asked()), CURVE(cosines))
    with Client(plain.url, retries=0) as client, pytest.raises(ServiceError, match="has no calibration") as error:
        client.probability(cosines)
    assert error.value.status == 404


def test_the_command_asks_a_service_for_what_fits(calibrated, monkeypatch, capsys):
    def run(*options):
        monkeypatch.setattr(sys, "argv", ["me5", "search", calibrated.url, QUESTION, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    first = run("--k", "1", "--vectors").splitlines()[0]
    assert " %  " in first
    assert run("--min-probability", "0.9999") == "nothing here fits: no passage answers as probably as was asked for\n"


def test_a_calibration_for_other_vectors_is_as_good_as_none(embedder, launch):
    """int8 has cosines of its own: the service says so, and has no probabilities."""
    other = launch("--model", str(embedder.checkpoint.path), "--precision", "int8")
    with httpx.Client(base_url=other.url) as client:
        reply = client.post("/v1/score", json={"queries": ["a"], "documents": ["b"]}).json()
    assert "probabilities" not in reply
    assert "made at precision f32, got int8" in other.log()
