"""me5.compat.SentenceTransformer beside the real one: the same calls, the same answers."""

import copy
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import Recipe

from me5 import InputError, Me5Warning
from me5.compat import SentenceTransformer, SimilarityFunction, settings, util
from me5.compat.settings import find_model, precision_of

pytestmark = pytest.mark.filterwarnings("ignore::me5.Me5Warning", "ignore::FutureWarning", "ignore::DeprecationWarning")
F32 = {"torch_dtype": "float32"}
TEXTS = [*checkpoints.SENTENCES[:6], "ok", "", "query: how tall is K2?"]
PROMPTED = {
    "xlm-roberta": Recipe(prompts=checkpoints.E5_PROMPTS),
    "bert": Recipe(body="bert", tokenizer="wordpiece", lower_case=True, pooling="cls"),
}


@pytest.fixture(scope="module", params=PROMPTED, ids=list(PROMPTED))
def folder(request, build_folder) -> Path:
    return build_folder(PROMPTED[request.param])


@pytest.fixture(scope="module")
def pair(folder):
    """Our model and theirs."""
    import sentence_transformers

    theirs = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": "float32"}, local_files_only=True
    )
    return SentenceTransformer(str(folder), device="cpu", model_kwargs=F32), theirs


def assert_same(ours, theirs, atol=3e-5):
    """The same types and shapes, down to the numbers."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert {*theirs} - {"prompt_length", "modality"} <= {*ours}
        for name in {*ours} & {*theirs}:
            assert_same(ours[name], theirs[name], atol)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, atol)
    elif isinstance(theirs, torch.Tensor | np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(np.asarray(ours, np.float64), np.asarray(theirs, np.float64), atol=atol)
    else:
        assert ours == theirs


CALLS = {
    "one": lambda model: model.encode("a text"),
    "many": lambda model: model.encode(TEXTS),
    "tuple": lambda model: model.encode(tuple(TEXTS)),
    "array": lambda model: model.encode(np.array(TEXTS)),
    "sentences": lambda model: model.encode(sentences=TEXTS),
    "inputs": lambda model: model.encode(inputs=TEXTS),
    "positional prompt name": lambda model: model.encode(TEXTS, "query"),
    "tensor": lambda model: model.encode(TEXTS, convert_to_tensor=True),
    "one tensor": lambda model: model.encode("a text", convert_to_tensor=True),
    "neither": lambda model: model.encode(TEXTS, convert_to_numpy=False),
    "one of neither": lambda model: model.encode("a text", convert_to_numpy=False),
    "none": lambda model: model.encode([]),
    "no tensor": lambda model: model.encode([], convert_to_tensor=True),
    "no list": lambda model: model.encode([], convert_to_numpy=False),
    "prompt": lambda model: model.encode(TEXTS, prompt="passage: "),
    "prompt name": lambda model: model.encode(TEXTS, prompt_name="document"),
    "query": lambda model: model.encode_query(TEXTS, batch_size=2),
    "document": lambda model: model.encode_document(TEXTS, normalize_embeddings=True),
    "own prompt": lambda model: model.encode_query("a text", prompt="find: "),
    "normalized": lambda model: model.encode(TEXTS, normalize_embeddings=True),
    "cut": lambda model: model.encode(TEXTS, truncate_dim=8),
    "cut, normalized": lambda model: model.encode(TEXTS, truncate_dim=8, normalize_embeddings=True),
    "cut at more": lambda model: model.encode(TEXTS, truncate_dim=4096),
    "binary": lambda model: model.encode(TEXTS, precision="binary", truncate_dim=8),
    "ubinary": lambda model: model.encode(TEXTS, precision="ubinary", convert_to_tensor=True),
    "precision none": lambda model: model.encode(TEXTS, precision=None),
    "task": lambda model: model.encode(TEXTS, task="query"),
    "no bar": lambda model: model.encode(TEXTS, show_progress_bar=False, device="cpu"),
    "tokens": lambda model: model.encode(TEXTS, output_value="token_embeddings"),
    "tokens of one": lambda model: model.encode("a text", output_value="token_embeddings", prompt_name="query"),
    "everything of one": lambda model: model.encode("a text", output_value=None),
    "everything, cut": lambda model: [one["sentence_embedding"] for one in model.encode(TEXTS, output_value=None,
                                                                                      truncate_dim=8)],
    "token ids": lambda model: dict(model.tokenize(TEXTS[:4])),
    "preprocessed": lambda model: dict(model.preprocess(["a text"], prompt="query: ")),
    "ids of the tokenizer": lambda model: model.tokenizer(TEXTS[0])["input_ids"],
    "cosine": lambda model: model.similarity(model.encode(TEXTS), model.encode(TEXTS[:2], convert_to_tensor=True)),
    "pairs": lambda model: model.similarity_pairwise(model.encode(TEXTS), model.encode(TEXTS[::-1])),
    "one with all": lambda model: model.similarity(model.encode("a text"), list(model.encode(TEXTS))),
    "dimension": lambda model: model.get_embedding_dimension(),
    "dimension's old name": lambda model: model.get_sentence_embedding_dimension(),
    "limit": lambda model: (model.max_seq_length, model.get_max_seq_length()),
    "prompts": lambda model: model.prompts,
    "device": lambda model: model.device,
    "similarity": lambda model: model.similarity_fn_name,
    "eval": lambda model: model.eval().to("cpu").cpu().encode("a text"),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_the_same_call_has_the_same_answer(pair, call):
    ours, theirs = pair
    assert_same(call(ours), call(theirs))


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_bytes_are_theirs_up_to_rounding(pair, precision):
    ours, theirs = (model.encode(TEXTS, precision=precision) for model in pair)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("name", SimilarityFunction.possible_values())
def test_every_similarity_can_be_set(pair, name):
    scores = []
    for model in pair:
        model.similarity_fn_name = name
        vectors = model.encode(TEXTS)
        others = np.roll(vectors, 1, axis=0)
        scores.append((model.similarity(vectors, vectors[:3]), model.similarity_pairwise(vectors, others)))
        model.similarity_fn_name = "cosine"
    for ours, theirs in zip(*scores, strict=True):
        # Distances of nearly equal vectors are differences of nearly equal numbers, and theirs are rounded.
        assert_same(ours, theirs, atol=2e-3)


def test_what_can_be_set_is(folder):
    import sentence_transformers

    made = []
    for kind, kwargs in ((SentenceTransformer, F32), (sentence_transformers.SentenceTransformer, {"dtype": "float32"})):
        model = kind(
            str(folder), device="cpu", prompts={"query": "find: ", "s2s": "like: "}, default_prompt_name="s2s",
            truncate_dim=16, similarity_fn_name="dot", model_kwargs=kwargs, processor_kwargs={"model_max_length": 12},
        )  # fmt: skip
        answers = [model.prompts, model.default_prompt_name, model.similarity_fn_name, model.get_embedding_dimension()]
        answers += [model.encode("a text"), model.encode_query("a text"), model.encode_document("a text")]
        with model.truncate_embeddings(4):
            answers.append(model.encode("a text"))
        model.truncate_dim = None
        model.max_seq_length = 7
        model.prompts["s2s"] = ""
        answers += [model.encode("one two three four five six seven eight nine ten"), model.max_seq_length]
        made.append(answers)
    assert_same(*made)


WRONG = {
    "prompt name": lambda model: model.encode(TEXTS, prompt_name="invalid"),
    "batch size": lambda model: model.encode(TEXTS, batch_size=0),
    "precision": lambda model: model.encode(TEXTS, precision="int4"),
    "argument": lambda model: model.encode(TEXTS, batchsize=3),
    "bytes of one": lambda model: model.encode("a text", precision="int8"),
    "similarity": lambda model: setattr(model, "similarity_fn_name", "maxsim"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_what_they_refuse_is_refused(pair, call):
    ours, theirs = pair
    with pytest.raises(InputError):
        call(ours)
    with pytest.raises(ValueError, match=r"."):
        call(theirs)


def test_what_would_be_another_answer_is_refused(pair):
    ours, _ = pair
    with pytest.raises(InputError, match="unknown output_value 'tokens'; expected 'sentence_embedding'"):
        ours.encode(TEXTS, output_value="tokens")
    with pytest.raises(InputError, match="top_k must be at least 1, got 0"):
        util.semantic_search(np.eye(2), np.eye(2), top_k=0)


def test_a_model_moves_to_another_device(folder):
    model = SentenceTransformer(str(folder), device="cpu", truncate_dim=16, model_kwargs=F32)
    before = model.encode("a text")
    assert model.to("torch-cpu") is model
    assert model.embedder.__getstate__()["device"] == "torch-cpu"
    np.testing.assert_allclose(model.encode("a text"), before, atol=0.01)


def test_what_only_torch_modules_have_says_what_to_do(pair):
    ours, _ = pair
    for name in ("fit", "forward", "parameters", "push_to_hub"):
        with pytest.raises(AttributeError, match=r"it is not a torch module\. Training is `me5 train`"):
            getattr(ours, name)
    with pytest.raises(InputError, match="is not made of modules"):
        SentenceTransformer(modules=[])
    with pytest.raises(InputError, match="encode needs texts"):
        ours.encode()
    with pytest.raises(InputError, match="no prompt named 'x'"):
        SentenceTransformer(str(ours.embedder.checkpoint.path), default_prompt_name="x", device="cpu")


def test_a_model_that_was_saved_is_theirs(pair, tmp_path):
    import sentence_transformers

    ours, _ = pair
    model = copy.copy(ours)
    model.prompts, model.default_prompt_name = {"query": "find: ", "document": ""}, "query"
    model.save_pretrained(tmp_path / "saved")
    model.save(str(tmp_path / "saved"))
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    again = SentenceTransformer(tmp_path / "saved", device="cpu", model_kwargs=F32)
    assert again.prompts == theirs.prompts == model.prompts
    for other in (theirs, again):
        np.testing.assert_allclose(other.encode(TEXTS), ours.encode(TEXTS, prompt="find: "), atol=3e-5)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(InputError, match="holds something else than a model"):
        model.save_pretrained(tmp_path / "mine")


def test_pickles_and_copies(pair):
    ours, _ = pair
    for other in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        np.testing.assert_array_equal(other.encode_query(TEXTS), ours.encode_query(TEXTS))


def test_pools_are_accepted_and_start_nothing(pair):
    ours, _ = pair
    pool = ours.start_multi_process_pool(["cpu", "cpu"])
    expected = ours.encode(TEXTS, prompt_name="query")
    for vectors in (
        ours.encode(TEXTS, prompt_name="query", pool=pool, chunk_size=2),
        ours.encode(TEXTS, prompt_name="query", device=["cpu"] * 2),
        ours.encode_multi_process(TEXTS, pool, prompt_name="query"),
    ):
        np.testing.assert_array_equal(vectors, expected)
    assert pool["processes"] == []
    ours.stop_multi_process_pool(pool)


@pytest.mark.filterwarnings("error::me5.Me5Warning")
def test_what_has_no_effect_is_said_once(pair, monkeypatch):
    ours, _ = pair
    monkeypatch.setattr(settings, "_said", set())
    path = str(ours.embedder.checkpoint.path)
    ways = {
        "batch_size= has no effect: batches are formed by tokens": lambda: ours.encode(TEXTS, batch_size=8),
        "multi-process pools start no processes": lambda: ours.start_multi_process_pool(),
        "half\\(\\) has no effect": lambda: ours.half(),
        "backend= has no effect": lambda: SentenceTransformer(path, backend="onnx", device="cpu"),
        "trust_remote_code=": lambda: SentenceTransformer(path, trust_remote_code=True, device="cpu"),
        "attn_implementation": lambda: SentenceTransformer(
            path, model_kwargs={"attn_implementation": "eager"}, device="cpu"
        ),
        "float16 is not computed in on a CPU": lambda: precision_of({"torch_dtype": torch.float16}, "cpu"),
    }
    for said, way in ways.items():
        with pytest.warns(Me5Warning, match=said) as caught:
            way()
        assert [warning.filename for warning in caught] == [__file__]
        way()


def test_texts_that_carry_their_prompt_are_read_as_they_are(pair):
    ours, theirs = pair
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(ours.encode(["query: K2"]), theirs.encode("K2", prompt="query: ")[None], atol=3e-5)
    with pytest.warns(match="already start with a prompt"):
        ours.encode(["query: K2"], prompt="query: ")


def test_names_and_precisions():
    assert find_model("all-MiniLM-L6-v2", None, {}) == "sentence-transformers/all-MiniLM-L6-v2"
    assert find_model("some-model", None, {"token": None}) == "sentence-transformers/some-model"
    assert find_model(None, None, {"local_files_only": True}) is None
    assert precision_of({"dtype": "bfloat16"}, "cpu") == "bf16"
    assert precision_of({"torch_dtype": torch.float16}, "cuda") == "f16"
    with pytest.raises(InputError, match="unknown dtype 'int4'; expected one of auto, float32"):
        precision_of({"torch_dtype": "int4"}, "cpu")


def test_the_bundled_model_is_the_one_without_a_name():
    model = SentenceTransformer(device="cpu")
    assert model.encode("K2").shape == (model.get_embedding_dimension(),)
    assert set(model.prompts) >= {"query", "document"}
    assert_same(model.tokenizer("K2 is high")["input_ids"], model.tokenize(["K2 is high"])["input_ids"][0].tolist())


def test_published_weights_have_their_published_vectors(minilm):
    import sentence_transformers

    ours = SentenceTransformer(str(minilm), device="cpu", model_kwargs=F32)
    theirs = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    # The first example of their documentation.
    sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    embeddings = ours.encode(sentences)
    np.testing.assert_allclose(embeddings, theirs.encode(sentences), atol=1e-5)
    similarities = ours.similarity(embeddings, embeddings)
    published = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(similarities, published, atol=1e-3)


def test_without_torch_arrays_stay_arrays():
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
from me5.compat import SentenceTransformer, util
model = SentenceTransformer()
vectors = model.encode(["K2", "bread"])
assert type(model.similarity(vectors, vectors)) is np.ndarray
assert type(model.encode("K2", convert_to_numpy=False)) is np.ndarray
assert model.device == "cpu"
assert util.semantic_search(vectors[:1], vectors)[0][0]["corpus_id"] == 0
try:
    model.encode("K2", convert_to_tensor=True)
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "tensors need torch, which is not installed" in result.stdout, result.stderr
