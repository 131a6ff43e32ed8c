"""An Embedder in other processes and other libraries' hands: pickles, copies, tables in place of texts."""

import copy
import multiprocessing
import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from me5 import Client, Embedder, InputError
from me5.checkpoint import resolve
from me5.engine.fake import FakeEngine

TEXTS = ["how tall is K2?", "word " * 40]


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(precision="f32", threads=1, max_tokens=24, truncation="start", prompts="prefix")


def encoded(embedder):
    """What a job in another process does with the Embedder that it was given."""
    return embedder.encode_query(TEXTS).tobytes()


@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_an_embedder_goes_to_another_process_as_it_was_loaded(embedder):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(encoded, (embedder,)) == encoded(embedder)


def test_a_pickle_carries_every_choice_and_no_weights(embedder, tmp_path, monkeypatch):
    pickled = pickle.dumps(embedder)
    assert len(pickled) < 2000
    other = pickle.loads(pickled)
    assert repr(other) == repr(embedder)
    assert (other.truncation, other.prompts, other.max_seq_length) == ("start", embedder.prompts, 24)
    assert other._loaded == embedder._loaded == {
        "model": None, "device": "cpu", "precision": "f32", "threads": 1, "revision": None,
    }  # fmt: skip
    (tmp_path / "mine.gguf").symlink_to(resolve().path)
    monkeypatch.chdir(tmp_path)
    relative = pickle.dumps(Embedder.load("mine.gguf", threads=1))
    monkeypatch.chdir("/")
    assert pickle.loads(relative).dim == embedder.dim


def test_copies_share_the_engine_and_not_the_settings(embedder):
    for copied in (copy.copy(embedder), copy.deepcopy(embedder)):
        assert copied.engine is embedder.engine
        copied.truncation = "end"
    assert embedder.truncation == "start"


def test_what_was_not_loaded_cannot_be_pickled_and_says_what_to_do():
    made = Embedder(resolve(), FakeEngine())
    with pytest.raises(InputError, match=r"pickle one that Embedder\.load made"):
        pickle.dumps(made)
    assert copy.copy(made).engine is made.engine


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (pd.DataFrame({"text": ["a", "b", "c"]}), r"got a DataFrame, a table; pass one of its columns"),
        (pa.table({"text": ["a"]}), r"got a Table, a table; pass one"),
        ({"q1": "what is tea?"}, r"got a dict, which gives its keys; pass its values"),
        (SimpleNamespace(columns=["text"]), "a table"),
        (b"bytes", "got bytes"),
        (7, "got int"),
    ],
    ids=str,
)
def test_tables_and_mappings_are_no_texts(embedder, texts, said):
    ways = [embedder.encode_query, embedder.encode_document, embedder.encode, Client(retries=0).encode_document]
    for way in [*ways, lambda texts: list(embedder.stream(texts, "document"))]:
        with pytest.raises(InputError, match=said):
            way(texts)


def test_columns_values_and_single_texts_are(embedder):
    expected = embedder.encode_document(["a", "b"])
    for texts in (pd.Series(["a", "b"]), {"x": "a", "y": "b"}.values(), np.array(["a", "b"]), (t for t in "ab")):
        np.testing.assert_array_equal(embedder.encode_document(texts), expected)
    streamed = list(embedder.stream("a word", "document"))
    np.testing.assert_array_equal(streamed[0], embedder.encode_document(["a word"]))
