"""What a request asks of the pipeline, and what it is answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from me5.prompts import Side
from me5.service.queue import Output
from me5.tokenizer import Truncation
from me5.vectors import Float32

Priority = Literal["query", "bulk"]

# A request of side query with at most this many texts goes ahead of bulk, unless it says otherwise.
QUERY_TEXTS = 8


class Meter(Protocol):
    """Who counts a caller's tokens."""

    @property
    def most(self) -> int:
        """The most tokens that may be taken at once."""

    def take(self, tokens: int) -> None:
        """Count tokens. Raises `RateLimited`, or `InputError` for more than there ever are."""

    def give_back(self, tokens: int) -> None:
        """Count tokens no longer, for the engine did not read them."""


@dataclass(frozen=True)
class Ask:
    """One request's texts, and how to read them.

    `caller` is whose fair share it uses: a key's name, or the peer's address. `output` `states` asks for the hidden
    states of every token, `raw` for pooled vectors that are not normalised. `priority` None: `query` for at most
    `QUERY_TEXTS` texts of side query, else `bulk`. `timeout` in seconds from arrival, None for the service's own.
    `meter` counts the tokens that the engine takes.
    """

    texts: Sequence[str]
    side: Side = "document"
    task: str | None = None
    truncation: Truncation | None = None
    caller: str = ""
    output: Output = "unit"
    priority: Priority | None = None
    timeout: float | None = None
    meter: Meter | None = None

    @property
    def urgent(self) -> bool:
        """Whether it goes ahead of bulk."""
        if self.priority is not None:
            return self.priority == "query"
        return self.side == "query" and len(self.texts) <= QUERY_TEXTS


@dataclass(frozen=True)
class Timings:
    """Seconds that a request spent in tokenization, in the queue and in the engine."""

    tokenization: float
    queue: float
    inference: float


@dataclass(frozen=True)
class Answer:
    """Vectors (texts, dim) float32 in order, or for `states` one (tokens, dim) array a text; and what was done.

    `prompt` is the literal prefix that was applied; `tokens`, `lost` and `chunks` are a `Report`'s, per text in order.
    `cut`, `carried` and `uncounted` are sentences on texts that lost tokens, bring a prompt of their own, or were not
    tokenized to their end; empty where none does.
    """

    vectors: Float32
    states: Sequence[Float32]
    prompt: str
    tokens: Sequence[int]
    lost: Sequence[int]
    chunks: Sequence[int]
    timings: Timings
    cut: str = ""
    carried: str = ""
    uncounted: str = ""
