"""me5: multilingual E5 text embeddings.

from me5 import Embedder

embedder = Embedder.load()  # the bundled model; or a folder, or a hub id
queries = embedder.encode_query(["how much protein should a female eat"])
documents = embedder.encode_document(["46 grams per day for women ages 19 to 70."])
print(embedder.similarity(queries, documents) * 100)
"""

from me5._version import __version__
from me5.embedder import Embedder
from me5.errors import (
    CheckpointError,
    EngineError,
    InputError,
    Me5Error,
    Me5Warning,
    PromptWarning,
    TruncationWarning,
)
from me5.prompts import TASKS, Prompts
from me5.tokenizer import Report

__all__ = [
    "TASKS",
    "CheckpointError",
    "Embedder",
    "EngineError",
    "InputError",
    "Me5Error",
    "Me5Warning",
    "PromptWarning",
    "Prompts",
    "Report",
    "TruncationWarning",
    "__version__",
]
