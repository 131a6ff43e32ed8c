"""What reads texts: which prompts a model gets, and Embedders that share it."""

import warnings

import pytest

from me5 import Embedder, InputError, Prompts, PromptWarning
from me5.checkpoint import resolve
from me5.engine.fake import FakeEngine
from me5.preprocessor import Preprocessor, choose_prompts
from me5.prompts import E5_PREFIX, INSTRUCT, NONE

OWN = Prompts("prefix", query="q: ", document="d: ")


@pytest.mark.parametrize(
    ("given", "own", "expected"),
    [
        (INSTRUCT, OWN, INSTRUCT),
        ("instruct", OWN, INSTRUCT),
        ("prefix", OWN, E5_PREFIX),
        ("none", OWN, NONE),
        ("none", None, NONE),
        (None, OWN, OWN),
        (None, NONE, NONE),
    ],
)
def test_prompts_are_those_given_else_the_models_own(given, own, expected) -> None:
    assert choose_prompts(given, own, "model") == expected


def test_without_either_texts_stay_bare_and_a_warning_says_so() -> None:
    with pytest.warns(PromptWarning, match="nothing says how some/model wants queries"):
        assert choose_prompts(None, None, "some/model") == NONE
    with pytest.raises(InputError, match="unknown prompts 'bare'; expected one of instruct, prefix, none"):
        choose_prompts("bare", OWN, "model")


def test_the_warning_points_at_whoever_made_the_embedder(xlmr) -> None:
    for make in (lambda: Embedder.load(xlmr), lambda: Embedder(resolve(xlmr), FakeEngine())):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make()
        assert [warning.filename for warning in caught] == [__file__]


def test_an_embedder_is_a_preprocessor_and_an_engine() -> None:
    preprocessor = Preprocessor(resolve(), prompts=INSTRUCT, max_tokens=24, truncation="chunk")
    engine = FakeEngine()
    embedder = Embedder.of(preprocessor, engine)
    assert (embedder.engine, embedder.tokenizer) == (engine, preprocessor.tokenizer)
    assert (embedder.prompts, embedder.max_seq_length, embedder.truncation) == (INSTRUCT, 24, "chunk")
    assert embedder.fingerprint("f32") == preprocessor.fingerprint("f32")
    other = embedder.with_prompts(NONE)
    assert (other.engine, other.tokenizer, other.prompts) == (engine, preprocessor.tokenizer, NONE)
    assert embedder.prompts == INSTRUCT
    assert other.fingerprint("f32") != embedder.fingerprint("f32")


def test_wrong_settings_are_refused_before_an_engine_is_built(xlmr, monkeypatch) -> None:
    monkeypatch.setattr("me5.loaded.open_engine", None)
    for settings, message in (
        ({"prompts": "bare"}, "unknown prompts"),
        ({"truncation": "middle"}, "unknown truncation"),
        ({"max_tokens": 4096}, "max_tokens must lie between 3 and the model's 512 positions, got 4096"),
    ):
        with pytest.raises(InputError, match=message):
            Embedder.load(xlmr, **{"prompts": "none", **settings})
