"""The document store and its retriever: Haystack's own suite for document stores, and what it leaves open."""

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import warnings
from dataclasses import replace

import pytest

from me5 import Embedder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from haystack import Document, Pipeline
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError
    from haystack.testing.document_store import DocumentStoreBaseExtendedTests

    from me5.adapters.haystack_store import Me5DocumentStore, Me5Retriever, store_filter

LONG = " ".join(f"Sentence number {number} is about the mountains." for number in range(80))


@pytest.fixture(scope="module")
def embedder(xlmr):
    return Embedder.load(xlmr, precision="f32", prompts="none")


@pytest.fixture
def document_store(tmp_path, embedder):
    return Me5DocumentStore(str(tmp_path / "store"), embedder)


class TestSuite(DocumentStoreBaseExtendedTests):
    @pytest.fixture
    def document_store(self, tmp_path, embedder):
        return Me5DocumentStore(str(tmp_path / "store"), embedder)

    def assert_documents_are_equal(self, received, expected):
        """Stores have no order, and this one keeps no vectors of others."""
        bare = [[replace(document, embedding=None) for document in listed] for listed in (received, expected)]
        assert sorted(bare[0], key=lambda one: one.id) == sorted(bare[1], key=lambda one: one.id)

    def test_write_documents(self, document_store):
        """By default an id that is there is an error."""
        document = Document(content="K2")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


def test_long_documents_are_split_and_come_back_whole(document_store):
    document_store.write_documents([Document(id="long", content=LONG), Document(id="short", content="ok")])
    assert len(document_store.index) > 2
    assert {one.id: one.content for one in document_store.filter_documents()} == {"long": LONG, "short": "ok"}
    with pytest.raises(ValueError, match="has no text"):
        document_store.write_documents([Document(id="none")])


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    store = Me5DocumentStore(str(tmp_path_factory.mktemp("peaks") / "store"))
    peaks = [("K2", 8611, "Karakoram"), ("Matterhorn", 4478, "Alps"), ("Zugspitze", 2962, "Alps")]
    store.write_documents(
        [
            Document(id=name, content=f"{name} rises to {height} metres.", meta={"height": height, "range": place})
            for name, height, place in peaks
        ],
        DuplicatePolicy.OVERWRITE,
    )
    return store


FILTERS = {
    "equal": ({"field": "meta.range", "operator": "==", "value": "Alps"}, {"Matterhorn", "Zugspitze"}),
    "bare name": ({"field": "range", "operator": "!=", "value": "Alps"}, {"K2"}),
    "number": ({"field": "meta.height", "operator": "==", "value": 8611}, {"K2"}),
    "greater": ({"field": "meta.height", "operator": ">=", "value": 4478}, {"K2", "Matterhorn"}),
    "in": ({"field": "meta.height", "operator": "in", "value": [2962, 1]}, {"Zugspitze"}),
    "not in": ({"field": "meta.height", "operator": "not in", "value": [2962, 1]}, {"K2", "Matterhorn"}),
    "missing": ({"field": "meta.depth", "operator": "==", "value": None}, {"K2", "Matterhorn", "Zugspitze"}),
    "not missing": ({"field": "meta.depth", "operator": "!=", "value": None}, set()),
    "unequal to missing": ({"field": "meta.depth", "operator": "!=", "value": 3}, {"K2", "Matterhorn", "Zugspitze"}),
    "and": (
        {
            "operator": "AND",
            "conditions": [
                {"field": "meta.range", "operator": "==", "value": "Alps"},
                {"operator": "NOT", "conditions": [{"field": "meta.height", "operator": "<", "value": 3000}]},
            ],
        },
        {"Matterhorn"},
    ),
    "or": (
        {
            "operator": "OR",
            "conditions": [
                {"field": "meta.height", "operator": ">", "value": 8000},
                {"field": "meta.height", "operator": "<", "value": 3000.5},
            ],
        },
        {"K2", "Zugspitze"},
    ),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_a_retriever_filters_as_the_store_does(peaks, filters, expected):
    found = Me5Retriever(peaks, filters=filters).run("how high is it?")["documents"]
    assert {document.id for document in found} == expected
    assert {document.id for document in peaks.filter_documents(filters)} == expected


def test_a_retriever_in_a_pipeline_that_was_written_to_a_file(peaks):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = Pipeline()
        pipeline.add_component("retriever", Me5Retriever(peaks, top_k=1))
        again = Pipeline.loads(pipeline.dumps(), allowed_modules=["me5.adapters.haystack_store"])
        (found,) = again.run({"retriever": {"query": "how high is the Zugspitze?"}})["retriever"]["documents"]
    assert (found.id, found.meta["height"]) == ("Zugspitze", 2962)
    assert 0 < found.score <= 1


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"field": "meta.x", "operator": "=~", "value": 1}, "unknown comparison '=~'"),
        ({"field": "meta.x", "operator": ">", "value": [1]}, "expected a number or a string"),
        ({"field": "meta.x", "operator": "in", "value": []}, "expected a list of at least one"),
        ({"field": "meta.x", "operator": "==", "value": {"a": 1}}, "compares strings, numbers"),
        ({"field": "meta.x", "operator": "=="}, "lacks 'value'"),
        ({"operator": "AND", "conditions": []}, "at least one condition"),
    ],
)
def test_filters_that_cannot_be_used_are_named(filters, said):
    with pytest.raises(FilterError, match=said):
        store_filter(filters)
