"""Teachers over real (tiny, random) models: the scores are those of the libraries, and a version is one checkpoint."""

import checkpoints
import numpy as np
import pytest

from me5.data.contract import Document, Query
from me5.data.teachers import CheckpointTeacher, CrossEncoderTeacher, open_teacher
from me5.embedder import Embedder
from me5.errors import CheckpointError, InputError, PromptError

QUERIES = [Query(text) for text in checkpoints.SENTENCES[::2]]
DOCUMENTS = [Document(text, "A title") for text in checkpoints.SENTENCES[1::2]]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory, bert):
    """A random BERT with one output, in the layout of sentence-transformers' cross-encoders."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("cross") / "encoder"
    tokenizer = AutoTokenizer.from_pretrained(bert)
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=len(tokenizer),
        num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_checkpoint_scores_cosines_with_its_own_prompts(build_folder):
    folder = build_folder(checkpoints.Recipe(prompts=checkpoints.E5_PROMPTS))
    embedder = Embedder.load(folder, precision="f32")
    teacher = CheckpointTeacher(embedder)
    pairs = [(QUERIES[0], DOCUMENTS[0]), (QUERIES[1], DOCUMENTS[0]), (QUERIES[0], DOCUMENTS[1])]
    queries = embedder.encode_query([query.text for query, _ in pairs])
    documents = embedder.encode_document([f"A title {document.text}" for _, document in pairs])
    np.testing.assert_allclose(teacher.score(pairs), (queries * documents).sum(axis=1), atol=1e-5)
    with pytest.raises(PromptError, match="takes no task"):
        CheckpointTeacher(embedder, task="bitext")
    assert teacher.version.startswith("cosine-f32-")


def test_a_query_is_read_with_its_own_instruction(xlmr):
    embedder = Embedder.load(xlmr, precision="f32", prompts="instruct")
    teacher = CheckpointTeacher(embedder, task="sts")
    queries = [Query("ok", "Find the answer."), Query("ok"), Query("ok", "Retrieve parallel sentences.")]
    vectors = teacher.embed_queries(queries)
    for query, vector in zip(queries, vectors, strict=True):
        own = embedder.encode_query(query.text, task=query.instruction or "sts")[0]
        np.testing.assert_allclose(vector, own, atol=1e-5)
    # A model with fixed prompts has no place for it.
    fixed = Embedder.load(xlmr, precision="f32", prompts="prefix")
    vectors = CheckpointTeacher(fixed).embed_queries(queries)
    np.testing.assert_allclose(vectors, fixed.encode_query(["ok"] * 3), atol=1e-5)


def test_a_version_is_one_checkpoint_in_one_precision(xlmr, copy_of):
    def version(folder, **settings):
        return CheckpointTeacher(Embedder.load(folder, **{"precision": "f32", "prompts": "none", **settings})).version

    copy = copy_of(xlmr)
    assert version(copy) == version(xlmr)
    assert version(xlmr, prompts="prefix") != version(xlmr)
    assert version(xlmr, max_tokens=64) != version(xlmr)
    checkpoints.change_weights(copy, lambda tensors: tensors["embeddings.word_embeddings.weight"].mul_(1.01))
    assert version(copy) != version(xlmr)


def test_a_cross_encoder_scores_raw_logits(cross_encoder):
    from sentence_transformers import CrossEncoder

    teacher = open_teacher(f"ce:{cross_encoder}")
    pairs = [(query, document) for query in QUERIES[:3] for document in DOCUMENTS[:4]]
    scores = teacher.score(pairs)
    library = CrossEncoder(str(cross_encoder), device="cpu")
    sigmoids = library.predict([(query.text, f"A title {document.text}") for query, document in pairs])
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), sigmoids, atol=1e-5)
    assert np.ptp(scores) > 0.1
    assert teacher.version == CrossEncoderTeacher(cross_encoder).version
    assert teacher.version != CrossEncoderTeacher(cross_encoder, max_tokens=16).version


def test_a_reranker_scores_raw_logits_by_our_own_engine(cross_encoder):
    pairs = [(query, document) for query in QUERIES[:3] for document in DOCUMENTS[:4]]
    teacher = open_teacher(str(cross_encoder), precision="f32")
    # transformers' tokenizer of this folder gives no types of tokens, so both sides read none.
    np.testing.assert_allclose(teacher.score(pairs), CrossEncoderTeacher(cross_encoder).score(pairs), atol=1e-4)
    assert teacher.version == open_teacher(str(cross_encoder), precision="f32").version
    assert teacher.version != open_teacher(str(cross_encoder), precision="f32", max_tokens=16).version
    assert teacher.score([]).shape == (0,)
    with pytest.raises(InputError, match="knows no task"):
        open_teacher(str(cross_encoder), task="sts")


def test_what_is_no_reranker_is_refused(cross_encoder, tmp_path):
    from transformers import BertForSequenceClassification

    with pytest.raises(InputError, match="takes no precision"):
        open_teacher(f"ce:{cross_encoder}", precision="f32")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="cannot load"):
        CrossEncoderTeacher(tmp_path / "empty")
    three = BertForSequenceClassification.from_pretrained(cross_encoder, num_labels=3, ignore_mismatched_sizes=True)
    for file in cross_encoder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    three.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="3 outputs"):
        CrossEncoderTeacher(tmp_path)
