"""A tokenizer, data and a recipe, made once."""

from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.workshop(tmp_path_factory.mktemp("workshop"))
