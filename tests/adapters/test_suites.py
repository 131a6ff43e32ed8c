"""The test suite that LangChain publishes for integrations, on our adapters.

`langchain-tests` brings plugins for pytest that change every other test, so it is not among our requirements:
`make suites` installs it elsewhere and runs this file.
"""

import uuid

import pytest

from me5 import Embedder
from me5.search import Index

langchain_tests = pytest.importorskip("langchain_tests", reason="make suites installs langchain-tests")
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, VectorStoreIntegrationTests  # noqa: E402
from langchain_tests.unit_tests import EmbeddingsUnitTests  # noqa: E402

from me5.adapters.langchain import Me5Embeddings, Me5VectorStore  # noqa: E402


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self):
        return Me5Embeddings


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return Me5Embeddings


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load()


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path, embedder):
        return Me5VectorStore(Index.open(tmp_path / uuid.uuid4().hex, embedder, create=True))
