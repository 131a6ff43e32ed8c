"""The pages of a service whose model is calibrated: probabilities beside scores, and the answer that nothing fits."""

import os
import shutil

import httpx
import numpy as np
import pytest
from checkpoints import E5_PROMPTS, SENTENCES, Recipe
from pagetab import SETTLED, watched

from me5 import Embedder
from me5.calibration.applied import Calibration
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Curve
from me5.search import Document, Index

NOTHING = {"hits": [], "language": "", "passages": 12, "left_out": 0, "total_ms": 1.0}


@pytest.fixture(scope="module")
def calibrated(build_folder, tmp_path_factory, serving):
    folder = shutil.copytree(build_folder(Recipe(prompts=E5_PROMPTS)), tmp_path_factory.mktemp("served") / "tiny")
    embedder = Embedder.load(folder, precision="f32", threads=1)
    vectors = Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim)
    # Half of the passages that a search shows are more probable than not.
    cosines = np.sort(embedder.encode_query(SENTENCES[0]) @ embedder.encode_document(SENTENCES[:12]).T)[0]
    curve = Curve("isotonic", cosines=(-1.0, float(cosines[6]), 1.0), probabilities=(0.001, 0.5, 0.999))
    Calibration(vectors, Sides.of(embedder.prompts), curve, 0.1, 0.1).write(folder / "calibration.json")
    with Index.open(tmp_path_factory.mktemp("store") / "my.lance", embedder, create=True) as index:
        index.add_documents({f"{at}.txt": Document(text) for at, text in enumerate(SENTENCES[:12])})
    with serving("--model", str(folder), "--precision", "f32", "--search", index.store.uri) as url:
        yield url, curve


@pytest.fixture
def tab(window, calibrated):
    window.set_viewport_size({"width": 1100, "height": 900})
    with watched(window, calibrated[0]) as tab:
        yield tab
    window.goto("about:blank")


def percents(values):
    return [f"{100 * value:.0f} %" for value in values]


def test_passages_have_probabilities_and_may_all_be_left_out(tab):
    tab.page.goto(tab.site + "search")
    tab.page.wait_for_function(SETTLED)
    tab.page.locator("#question").fill(SENTENCES[0])
    tab.scored()
    hits = httpx.post(tab.site + "v1/search", json={"query": SENTENCES[0]}).json()["hits"]
    assert tab.texts(".hit .probability") == percents(hit["probability"] for hit in hits)
    assert {hit["probability"] >= 0.5 for hit in hits} == {True, False}
    if folder := os.environ.get("ME5_SCREENSHOTS"):
        tab.page.screenshot(path=f"{folder}/probability.png")
    tab.page.locator("#fitting").check()
    tab.scored()
    assert tab.texts(".hit .probability") == percents(hit["probability"] for hit in hits if hit["probability"] >= 0.5)
    assert "fits=1" in tab.page.url
    tab.page.route("**/v1/search", lambda route: route.fulfill(json=NOTHING))
    tab.page.locator("#question").fill("zzz")
    tab.scored()
    assert tab.page.locator("#status").text_content().startswith("Nothing here fits in ")
    tab.page.unroute_all()


def test_scores_have_probabilities(tab, calibrated):
    tab.page.goto(tab.site)
    tab.page.wait_for_function(SETTLED)
    tab.scored()
    shown = tab.texts("#heat td .probability")
    scores = [float(text) for text in tab.texts("#heat td .score")]
    assert len(shown) == len(scores) > 0
    told = [int(text.removesuffix(" %")) for text in shown]
    assert told == pytest.approx((100 * calibrated[1]([score / 100 for score in scores])).tolist(), abs=1)
