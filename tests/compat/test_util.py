"""sentence-transformers' functions on our model and vectors, and ours beside theirs."""

import numpy as np
import pytest
import torch
from sentence_transformers import util as theirs
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)

from me5 import InputError
from me5.compat import SentenceTransformer, util
from me5.grouping import communities, nearest_pairs
from me5.vectors import normalized

pytestmark = pytest.mark.filterwarnings("ignore::me5.Me5Warning", "ignore::FutureWarning", "ignore::DeprecationWarning")
RANDOM = np.random.default_rng(1)
VECTORS = RANDOM.standard_normal((120, 24)).astype(np.float32)
# Ten directions, each with twelve vectors around it.
CLUSTERED = normalized(np.repeat(VECTORS[:10], 12, axis=0) + 0.3 * VECTORS)
SENTENCES = [
    "This is a test", "This is a test!", "The cat sits on mat", "The cat sits on the mat", "On the mat a cat sits",
    "A man eats pasta", "A woman eats pasta", "A man eats spaghetti",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(minilm):
    return SentenceTransformer(str(minilm), device="cpu", model_kwargs={"torch_dtype": "float32"})


def near(a, b, atol=1e-5):
    assert type(a) is type(b)
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


@pytest.mark.parametrize(
    "name",
    [f"{pairwise}{name}" for pairwise in ("", "pairwise_") for name in ("cos_sim", "dot_score", "manhattan_sim",
                                                                        "euclidean_sim")],
)  # fmt: skip
def test_scores_are_theirs(name):
    a, b = VECTORS[:30], torch.from_numpy(VECTORS[30:60])
    near(getattr(util, name)(a, b), getattr(theirs, name)(a, b), atol=1e-4)


@pytest.mark.parametrize("score", [None, "dot_score", "euclidean_sim"])
def test_semantic_search_is_theirs(score):
    queries, corpus = VECTORS[:5], torch.from_numpy(VECTORS)
    ours, expected = (
        module.semantic_search(
            queries, corpus, top_k=7, **({} if score is None else {"score_function": getattr(module, score)})
        )
        for module in (util, theirs)
    )
    assert [[hit["corpus_id"] for hit in hits] for hits in ours] == [
        [hit["corpus_id"] for hit in hits] for hits in expected
    ]
    # Their distance of a vector to itself is a difference of large numbers.
    near([hit["score"] for hit in ours[0]], [hit["score"] for hit in expected[0]], atol=2e-3)
    assert len(util.semantic_search(VECTORS[0], VECTORS[:3], top_k=9)[0]) == 3


@pytest.mark.parametrize(("top_k", "most"), [(100, 500_000), (2, 500_000), (100, 9)])
def test_the_nearest_pairs_are_theirs(top_k, most):
    ours, expected = (
        module.paraphrase_mining_embeddings(torch.from_numpy(VECTORS), top_k=top_k, max_pairs=most)
        for module in (util, theirs)
    )
    assert [pair[1:] for pair in ours] == [pair[1:] for pair in expected]
    near([pair[0] for pair in ours], [pair[0] for pair in expected])
    with pytest.raises(InputError, match="by cos_sim or dot_score"):
        util.paraphrase_mining_embeddings(VECTORS, score_function=util.manhattan_sim)


@pytest.mark.parametrize(("threshold", "size"), [(0.75, 2), (0.6, 5), (0.9, 1), (0.99, 3), (-1.0, 2), (2.0, 2)])
def test_communities_are_theirs(threshold, size):
    assert util.community_detection(CLUSTERED, threshold, size) == theirs.community_detection(
        torch.from_numpy(CLUSTERED), threshold, size
    )


def test_pairs_and_groups_of_few_vectors():
    assert communities(CLUSTERED[:1], 0.9) == [[0]]
    assert util.community_detection([], 0.5) == []
    scores, pairs = nearest_pairs(CLUSTERED[:0])
    assert (scores.shape, pairs.shape) == ((0,), (0, 2))
    scores, pairs = nearest_pairs(CLUSTERED[:24], least=0.8)
    assert len(scores)
    assert scores.min() >= 0.8
    assert (pairs[:, 0] < pairs[:, 1]).all()


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_quantization_is_theirs(precision):
    for options in ({}, {"calibration_embeddings": VECTORS[:110]}):
        np.testing.assert_array_equal(
            util.quantize_embeddings(VECTORS, precision, **options),
            theirs.quantize_embeddings(VECTORS, precision, **options),
        )
    with pytest.raises(InputError, match="int8 needs the ranges of more than one vector"):
        util.quantize_embeddings(VECTORS[:1], "int8")
    near(util.normalize_embeddings(VECTORS), theirs.normalize_embeddings(torch.from_numpy(VECTORS)))
    assert util.truncate_embeddings(VECTORS, 5).shape == (120, 5)


@pytest.mark.parametrize("module", [util, theirs], ids=["ours", "theirs"])
def test_paraphrase_mining_takes_our_model(module, model):
    found = {tuple(pair) for score, *pair in module.paraphrase_mining(model, SENTENCES) if score > 0.5}
    assert found <= {(0, 1), (2, 3), (2, 4), (3, 4), (5, 6), (5, 7), (6, 7)}
    assert {(0, 1), (2, 3)} <= found


def test_hard_negatives_are_mined_with_our_model(model):
    from datasets import Dataset

    pairs = Dataset.from_dict({
        "query": ["Where is Paris?", "Who wrote 1984?", "What is the largest planet?"],
        "passage": ["Paris is the capital of France.", "George Orwell wrote 1984.", "Jupiter is the largest planet."],
    })  # fmt: skip
    # Not a function of ours: it comes from the real library.
    mined = util.mine_hard_negatives(pairs, model, num_negatives=1, verbose=False, use_faiss=False)
    assert set(mined.column_names) >= {"query", "passage", "negative"}
    assert all(row["negative"] in pairs["passage"] and row["negative"] != row["passage"] for row in mined)


def test_evaluators_take_our_model(model):
    similar = EmbeddingSimilarityEvaluator(SENTENCES[:3], SENTENCES[1:4], [0.9, 0.1, 0.95], write_csv=False)
    assert model.evaluate(similar)["pearson_cosine"] > 0.9
    search = InformationRetrievalEvaluator(
        {"q": "who eats pasta?"}, dict(zip("abcdefgh", SENTENCES, strict=True)), {"q": {"f", "g"}}, write_csv=False,
        ndcg_at_k=[8], accuracy_at_k=[1], precision_recall_at_k=[1], map_at_k=[8], mrr_at_k=[8],
    )  # fmt: skip
    assert model.evaluate(search)["cosine_ndcg@8"] > 0.9
