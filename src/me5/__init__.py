"""me5: multilingual E5 text embeddings.

from me5 import Embedder

embedder = Embedder.load()  # the bundled model; or a folder, or a hub id
queries = embedder.encode_query(["how much protein should a female eat"])
documents = embedder.encode_document(["46 grams per day for women ages 19 to 70."])
print(embedder.similarity(queries, documents) * 100)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from me5._version import __version__
from me5.errors import (
    CheckpointError,
    EngineError,
    InputError,
    Me5Error,
    Me5Warning,
    PromptWarning,
    ServiceError,
    TruncationWarning,
)

if TYPE_CHECKING:
    from me5.client import AsyncClient, Client
    from me5.embedder import Embedder
    from me5.prepared import Report
    from me5.prompts import TASKS, Prompts
    from me5.reranker import Reranker

__all__ = [
    "TASKS",
    "AsyncClient",
    "CheckpointError",
    "Client",
    "Embedder",
    "EngineError",
    "InputError",
    "Me5Error",
    "Me5Warning",
    "PromptWarning",
    "Prompts",
    "Report",
    "Reranker",
    "ServiceError",
    "TruncationWarning",
    "__version__",
]


# Imported when first used: `import me5` takes a seventh of the time, and a command imports what it needs.
_MODULES = {
    "AsyncClient": "client", "Client": "client", "Embedder": "embedder", "Prompts": "prompts", "Report": "prepared",
    "Reranker": "reranker", "TASKS": "prompts",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"me5.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
