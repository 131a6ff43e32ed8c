"""Rerankers give the logits of transformers, cut pairs as it does, and score a pair the same in any company."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import BERT_WORDPIECE, SENTENCES, XLMR, edit_json, passages
from crossencoders import by_transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import FAST_ENGINES

from me5 import CheckpointError, Embedder, EngineError, InputError, Report, Reranker, TruncationWarning, verification
from me5.checkpoint import read, resolve
from me5.engine.fake import FakeEngine
from me5.engine.reference import ReferenceEngine
from me5.export import export
from me5.pairs import PairPreprocessor

PAIRS = [
    *zip(SENTENCES[::2], SENTENCES[1::2], strict=True),
    *zip(SENTENCES[:8], passages(8), strict=True),
    ("", ""), ("", "ok"), ("ok", ""), ("a", " "),
]  # fmt: skip
LONG = " ".join(SENTENCES * 2)
# Logits of these networks lie between -6 and 6, so that this is rounding in float32 and no more.
EXACT = 2e-5
NEAR = {"f32": EXACT, "bf16": 0.1, "int8": 0.1}


def load(folder: Path, engine: str = "f32", **options) -> Reranker:
    if engine == "reference":
        checkpoint = resolve(folder)
        return Reranker(checkpoint, ReferenceEngine(checkpoint), **options)
    if engine == "torch":
        return Reranker.load(folder, device="torch-cpu", **options)
    try:
        return Reranker.load(folder, precision=engine, **options)
    except EngineError as error:
        pytest.skip(str(error))


def logits(reranker: Reranker, pairs: list[tuple[str, str]]) -> np.ndarray:
    return reranker.score(pairs, activation="identity")


@pytest.mark.parametrize("engine", ["f32", "torch", "reference"])
def test_logits_equal_transformers(cross_encoder: Path, engine: str) -> None:
    theirs = by_transformers(cross_encoder, PAIRS)[:, 0]
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(logits(load(cross_encoder, engine), PAIRS), theirs, rtol=0, atol=EXACT)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_every_precision_is_near(cross_encoder: Path, engine: str) -> None:
    expected = logits(load(cross_encoder, "reference"), PAIRS)
    found = logits(load(cross_encoder, engine), PAIRS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=NEAR[engine] * max(1, np.ptp(expected) / 4))


@pytest.mark.parametrize(
    "recipe", [replace(XLMR, dtype="float16"), replace(BERT_WORDPIECE, dtype="bfloat16", shards=2)]
)
def test_other_files_equal_transformers(build_reranker, recipe) -> None:
    folder = build_reranker(recipe)
    np.testing.assert_allclose(logits(load(folder), PAIRS), by_transformers(folder, PAIRS)[:, 0], rtol=0, atol=EXACT)


def test_scores_equal_sentence_transformers(cross_encoder: Path) -> None:
    from sentence_transformers import CrossEncoder

    theirs = CrossEncoder(str(cross_encoder), device="cpu", local_files_only=True)
    reranker = load(cross_encoder)
    np.testing.assert_allclose(reranker.score(PAIRS), theirs.predict(PAIRS, show_progress_bar=False), atol=EXACT)
    query, documents = SENTENCES[0], [*SENTENCES[1:12], LONG]
    with pytest.warns(TruncationWarning, match=r"pairs longer than 512 tokens were cut: 1 of 12 \(item 11\)"):
        ours = reranker.rank(query, documents, top=5)
    expected = theirs.rank(query, documents, top_k=5)
    assert [hit.index for hit in ours] == [hit["corpus_id"] for hit in expected]
    np.testing.assert_allclose([hit.score for hit in ours], [hit["score"] for hit in expected], atol=EXACT)


IDENTITY = "torch.nn.modules.linear.Identity"


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({}, "sigmoid"),
        ({"sbert_ce_default_activation_function": IDENTITY}, "identity"),
        ({"sentence_transformers": {"activation_fn": IDENTITY, "version": "5.0.0"}}, "identity"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, "sigmoid"),
    ],
)
def test_the_activation_is_that_of_sentence_transformers(build_reranker, config, activation) -> None:
    from sentence_transformers import CrossEncoder

    folder = build_reranker(XLMR, **config)
    theirs = CrossEncoder(str(folder), device="cpu", local_files_only=True).predict(PAIRS[:4])
    reranker = load(folder)
    assert reranker.head.activation == activation
    np.testing.assert_allclose(reranker.score(PAIRS[:4]), theirs, atol=EXACT)
    raw = logits(reranker, PAIRS[:4])
    np.testing.assert_allclose(reranker.score(PAIRS[:4], activation="sigmoid"), 1 / (1 + np.exp(-raw)), atol=1e-6)
    with pytest.raises(InputError, match="unknown activation 'softmax'"):
        reranker.score(PAIRS[:4], activation="softmax")  # type: ignore[arg-type]


def test_a_saved_cross_encoder_of_sentence_transformers(build_reranker, tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(
        str(build_reranker(XLMR)), device="cpu", activation_fn=torch.nn.Identity(), local_files_only=True
    )
    model.save_pretrained(str(tmp_path / "saved"))
    reranker = load(tmp_path / "saved")
    assert reranker.head.activation == "identity"
    np.testing.assert_allclose(reranker.score(PAIRS), model.predict(PAIRS), atol=EXACT)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("limit", [9, 10, 64, 512])
@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_pairs_are_cut_as_transformers_cuts_them(cross_encoder: Path, side: str, limit: int) -> None:
    from transformers import AutoTokenizer

    # What they cut off they keep in pieces of the limit, at a cost that grows with the square of how many.
    long = LONG if limit >= 64 else LONG[:400]
    pairs = [
        ("ok", long), (long, "ok"), (long, long), (long, f"{long} a"), (f"{long} a", long), (SENTENCES[0], long),
        (SENTENCES[1], SENTENCES[2]), (long, ""), ("", long),
    ]  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder, truncation_side=side)
    theirs = tokenizer([list(pair) for pair in pairs], truncation=True, max_length=limit)
    whole = tokenizer([list(pair) for pair in pairs], truncation=False)
    truncation = "end" if side == "right" else "start"
    reranker = PairPreprocessor(resolve(cross_encoder), max_tokens=limit, truncation=truncation)
    prepared = reranker.prepare(pairs)
    vocabulary = reranker.checkpoint.config.vocab_size
    assert [[int(token) % vocabulary for token in ids] for ids in prepared.sequences] == theirs["input_ids"]
    if "token_type_ids" in theirs:
        types = [[int(token) // vocabulary for token in ids] for ids in prepared.sequences]
        assert types == theirs["token_type_ids"]
    assert list(prepared.report.tokens) == [len(ids) for ids in whole["input_ids"]]
    assert list(prepared.report.lost) == [
        len(ids) - len(kept) for ids, kept in zip(whole["input_ids"], theirs["input_ids"], strict=True)
    ]
    # A reach, as the service has one, changes what is counted and nothing that is read.
    near = reranker.prepare(pairs, reach=20_000)
    for ours, reached in zip(prepared.sequences, near.sequences, strict=True):
        np.testing.assert_array_equal(ours, reached)


def test_chunks_read_everything_and_the_best_one_counts(cross_encoder: Path) -> None:
    documents = [SENTENCES[1], " ".join(passages(30)), "ok", LONG]
    pairs = [(SENTENCES[0], document) for document in documents]
    reranker, report = load(cross_encoder, truncation="chunk", max_tokens=100), Report()
    scores = reranker.score(pairs, activation="identity", report=report)
    prepared = reranker.prepare(pairs)
    assert list(report.lost) == [0] * 4
    assert report.chunks[1] > 5
    assert report.chunks[0] == report.chunks[2] == 1
    every = reranker.engine.embed(prepared.sequences)[:, 0]
    expected = [max(every[prepared.owners == place]) for place in range(4)]
    np.testing.assert_array_equal(scores, np.array(expected, np.float32))
    # Nothing of the long document is missing: its chunks are its tokens, in order.
    tokens = [len(ids) for ids in prepared.sequences]
    assert sum(tokens[at] for at in range(len(tokens)) if prepared.owners[at] == 0) == report.tokens[0]
    # A query that is too long is cut, and reported.
    with pytest.warns(TruncationWarning, match="pairs longer than 100"):
        reranker.score([(LONG, SENTENCES[0])], report=report)
    assert report.lost[4] > 0


def test_too_long_is_an_error_where_that_is_wanted(build_reranker) -> None:
    reranker = load(build_reranker(XLMR), truncation="error")
    with pytest.raises(InputError, match=r"pair 1 has [\d,]+ tokens, the model reads 512; shorten"):
        reranker.score([("a", "b"), ("a", LONG)])


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_a_pair_has_its_score_in_any_company(cross_encoder: Path, engine: str) -> None:
    reranker = load(cross_encoder, engine, threads=2)
    one_thread = load(cross_encoder, engine, threads=1)
    alone = np.concatenate([logits(one_thread, [pair]) for pair in PAIRS])

    @settings(max_examples=6)
    @given(st.lists(st.sampled_from(range(len(PAIRS))), min_size=1, max_size=12))
    def check(places: list[int]) -> None:
        np.testing.assert_array_equal(logits(reranker, [PAIRS[place] for place in places]), alone[places])

    check()
    ranked = reranker.rank(PAIRS[0][0], [document for _, document in PAIRS])
    for hit in ranked[:5]:
        assert hit.score == reranker.score([(PAIRS[0][0], PAIRS[hit.index][1])])[0]


def test_ranks_from_the_best_on(build_reranker) -> None:
    reranker = load(build_reranker(XLMR))
    documents = [*SENTENCES[:6], SENTENCES[2]]
    ranked = reranker.rank("ok", documents)
    scores = reranker.score([("ok", document) for document in documents])
    assert [hit.score for hit in ranked] == sorted(map(float, scores), reverse=True)
    assert sorted(hit.index for hit in ranked) == list(range(7))
    places = [hit.index for hit in ranked]
    assert places.index(6) == places.index(2) + 1  # equal scores keep their order
    assert reranker.rank("ok", documents, top=2) == ranked[:2]
    assert reranker.rank("ok", []) == []
    assert reranker.score(iter([])).shape == (0,)
    with pytest.raises(InputError, match="top must be at least 1"):
        reranker.rank("ok", documents, top=0)


def test_what_is_no_pair_is_named(build_reranker) -> None:
    reranker = load(build_reranker(XLMR))
    for pairs, message in (
        ([("a", "b"), ("a",)], "pair 1 is tuple"),
        (["ab"], r"pair 0 is str \('ab'\), expected a query and a document"),
        ("ab", "expected pairs of query and document, got str"),
        ([("a", None)], "document 0 is None, expected a string"),
        ([("a", "b"), (3, "b")], r"query 1 is int \(3\), expected a string"),
        ([("a", "\ud800")], "document 0 holds a lone surrogate"),
    ):
        with pytest.raises(InputError, match=message):
            reranker.score(pairs)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="query 0 is None"):
        reranker.rank(None, ["a"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_tokens must lie between"):
        load(build_reranker(XLMR), max_tokens=100_000)
    with pytest.raises(InputError, match="unknown truncation"):
        load(build_reranker(XLMR), truncation="middle")


def test_each_kind_of_model_has_its_own_door(build_reranker, xlmr: Path, copy_of) -> None:
    folder = build_reranker(XLMR)
    with pytest.raises(CheckpointError, match=r"is a cross-encoder, .* load it with me5\.Reranker"):
        Embedder.load(folder)
    with pytest.raises(CheckpointError, match="is not a cross-encoder"):
        Reranker.load(xlmr)
    with pytest.raises(CheckpointError, match="has 3 outputs; expected a cross-encoder with one"):
        Reranker.load(build_reranker(XLMR, 3))
    copied = copy_of(folder)
    edit_json(copied / "config.json", sbert_ce_default_activation_function="torch.nn.modules.activation.Tanh")
    with pytest.raises(
        CheckpointError, match=r"config\.json: the activation of scores is 'torch\.nn\.modules\.activation"
    ):
        Reranker.load(copied)
    edit_json(copied / "config.json", sbert_ce_default_activation_function=None, id2label=None, num_labels="many")
    with pytest.raises(CheckpointError, match="make 'many' outputs"):
        Reranker.load(copied)


@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_copies_and_pickles(build_reranker) -> None:
    reranker = load(build_reranker(XLMR), max_tokens=64, truncation="start")
    again = pickle.loads(pickle.dumps(reranker))
    assert (again.max_tokens, again.truncation, again.precision) == (64, "start", "f32")
    np.testing.assert_array_equal(again.score(PAIRS[:3]), reranker.score(PAIRS[:3]))
    assert copy.copy(reranker).engine is reranker.engine
    assert again.fingerprint("f32") == reranker.fingerprint("f32") != reranker.fingerprint("int8")
    with pytest.raises(InputError, match="cannot be pickled"):
        pickle.dumps(load(build_reranker(XLMR), "reference"))


def test_an_exported_one_is_read_by_all(cross_encoder: Path, tmp_path: Path) -> None:
    export(resolve(cross_encoder), tmp_path / "copy")
    reranker = load(tmp_path / "copy")
    assert reranker.head == read(cross_encoder).config.head
    np.testing.assert_array_equal(logits(reranker, PAIRS), logits(load(cross_encoder), PAIRS))
    np.testing.assert_allclose(by_transformers(tmp_path / "copy", PAIRS)[:, 0], logits(reranker, PAIRS), atol=EXACT)


def test_verify_measures_it_and_finds_what_is_wrong(cross_encoder: Path, monkeypatch) -> None:
    checks = list(verification.verify(resolve(cross_encoder), ("f32", "int8")))
    assert [(check.precision, check.passed) for check in checks] == [("f32", True)] * 2 + [("int8", True)] * 2
    assert "correlation 1.000000, largest difference 0.0000" in checks[0].measured
    assert checks[1].name == "a pair alone equals it in batches"

    class Wrong(FakeEngine):
        """Logits that tell nothing, and depend on the company."""

        precision = "f32"

        def embed(self, sequences):
            return np.array([[len(ids) % 3 + len(sequences)] for ids in sequences], np.float32)

    monkeypatch.setattr("me5.verification.open_engine", lambda *_, **__: Wrong(1))
    assert [check.passed for check in verification.verify(resolve(cross_encoder), ("f32",))] == [False, False]
