"""Wait for what another thread or process does."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 30


def until(condition: Callable[[], Any]) -> None:
    """Return as soon as the condition holds; fail after `PATIENCE` seconds without."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not hold within {PATIENCE} s"
        time.sleep(0.01)
