"""What is asked of a chat model, and the key under which its answer is kept."""

import hashlib
import json
from dataclasses import asdict, dataclass

from me5.data.contract import Document

TASKS = "tasks"
# Raised when the same request would be asked in another way.
_FORMAT = 1


@dataclass(frozen=True)
class ChatModel:
    """Which model is asked, and how it draws its words. `system` is what is said before every request."""

    name: str
    system: str
    temperature: float = 1.0
    top_p: float = 1.0
    answer_tokens: int = 2048


@dataclass(frozen=True)
class Manners:
    """How a server is asked: requests at once, at most per minute (None: as it allows), tries after the first."""

    at_once: int = 8
    per_minute: float | None = None
    retries: int = 10


@dataclass(frozen=True)
class ChatRequest:
    """One request, and what its answer is worth.

    `form` names the schema of its answer. `number` tells apart requests of the same words, which a model answers
    differently. `language` is what reports call it. A request for questions has the passage that they are about.
    """

    kind: str
    form: str
    prompt: str
    number: int = 0
    language: str = ""
    query_language: str = ""
    document_language: str = ""
    task: str = ""
    passage: Document | None = None

    def key(self, model: ChatModel, schema: str) -> str:
        """32 hex digits that change with everything that decides the answer, and with nothing else."""
        said = json.dumps([_FORMAT, asdict(model), self.prompt, self.number, schema], sort_keys=True)
        return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
