"""Small evaluation sets of every kind, written for the tests."""

from pathlib import Path

import pytest
from evaluation_sets import make_sets

from me5 import Embedder
from me5.evaluation.encoders.checkpoint import CheckpointEncoder


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with one set of each kind."""
    return make_sets(tmp_path / "data")


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The bundled model in float32."""
    return Embedder.load(precision="f32")


@pytest.fixture
def encoder(embedder: Embedder) -> CheckpointEncoder:
    """The bundled model under test."""
    return CheckpointEncoder(embedder)
