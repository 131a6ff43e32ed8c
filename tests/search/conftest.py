"""The bundled model, and stores in temporary folders."""

import pytest

from me5 import Embedder
from me5.search import Index


@pytest.fixture(scope="session")
def embedder():
    return Embedder.load(precision="f32")


@pytest.fixture
def index(tmp_path, embedder):
    """An empty store beside a folder `docs`."""
    (tmp_path / "docs").mkdir()
    return Index.open(tmp_path / "my.lance", embedder, create=True)


@pytest.fixture
def docs(tmp_path, index):
    return tmp_path / "docs"
