"""The table of known models holds together."""

import re
from pathlib import Path

import pytest

from me5 import catalog


def test_ids_are_unique():
    assert len(catalog.BY_ID) == len(catalog.KNOWN_MODELS)


@pytest.mark.parametrize("model", catalog.KNOWN_MODELS, ids=lambda model: model.id)
def test_every_model_is_told_in_full(model):
    assert model.id == catalog.BUNDLED or re.fullmatch(r"[0-9a-f]{40}", model.revision)
    assert model.layers > 0
    assert model.dim > 0
    assert model.parameters > 1_000_000
    assert 128 <= model.max_tokens <= 8192
    assert model.licence in ("MIT", "Apache-2.0")
    assert len(model.golden) in (0, 4)
    assert all(0 < score < 1 for score in model.golden)


def test_the_whole_e5_family_has_its_style():
    for model in catalog.KNOWN_MODELS:
        if "e5" in model.id:
            instruct = model.id in (catalog.FLAGSHIP, catalog.BUNDLED)
            assert model.prompts.style == ("instruct" if instruct else "prefix"), model.id
            if not instruct:
                assert model.prompts.prefix("query") == "query: "
                assert model.prompts.prefix("document") == "passage: "
                assert model.prompts.prefix("both") == "query: "


def test_find_by_id_or_by_its_unique_last_part():
    assert catalog.find("intfloat/multilingual-e5-small").id == "intfloat/multilingual-e5-small"
    assert catalog.find("Multilingual-E5-Small").id == "intfloat/multilingual-e5-small"
    assert catalog.find("someone/multilingual-e5-small") is None
    assert catalog.find("unknown") is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/cache/models--intfloat--multilingual-e5-base/snapshots/abc", "intfloat/multilingual-e5-base"),
        ("/models/multilingual-e5-large-instruct", catalog.FLAGSHIP),
        ("/cache/models--someone--else/snapshots/abc", None),
        ("/models/my-own", None),
    ],
)
def test_recognise_a_folder_by_its_path(path, found):
    known = catalog.recognise(Path(path))
    assert (known.id if known else None) == found


def test_the_card_example_is_byte_for_byte_the_cards():
    # Lengths as counted in the copies of the card that were compared.
    assert [len(text) for text in catalog.CARD_DOCUMENTS] == [304, 274]
    assert [len(text.encode()) for text in catalog.CARD_DOCUMENTS] == [304, 712]


def test_rerankers_have_the_numbers_of_their_bodies_and_a_head():
    """A body as the catalogue counts it has a pooler, which is as large as the first layer of a head."""
    bodies = {
        "BAAI/bge-reranker-v2-m3": "BAAI/bge-m3",
        "BAAI/bge-reranker-large": "intfloat/multilingual-e5-large",
        "BAAI/bge-reranker-base": "intfloat/multilingual-e5-base",
        "cross-encoder/ms-marco-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2",
    }
    for reranker, body in bodies.items():
        one, other = catalog.BY_ID[reranker], catalog.BY_ID[body]
        assert (one.layers, one.dim) == (other.layers, other.dim)
        assert one.parameters == other.parameters + one.dim + 1
    assert sum(model.reranker for model in catalog.KNOWN_MODELS) == 5
    assert all(model.prompts.style == "none" and not model.golden for model in catalog.KNOWN_MODELS if model.reranker)
