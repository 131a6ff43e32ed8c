"""What goes into the pipeline and what comes out: one value each, from the route that makes it to the reply."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from me5.prompts import Side
from me5.service.auth import Allowance
from me5.service.queue import Output
from me5.tokenizer import Truncation
from me5.vectors import Float32

Priority = Literal["query", "bulk"]

# A request of side query with at most this many texts goes ahead of bulk, unless it sets a priority.
QUERY_TEXTS = 8


@dataclass(frozen=True)
class Inputs:
    """The texts of one field of a request, how they are read, and for whom.

    `prompt` is the literal prefix of every text, which follows from side and task; with `paired`, for a reranker, the
    query that is read beside every text. `truncation` None is the service's own. `output` `states` asks for the hidden
    states of every token, `raw` for pooled vectors that are not normalised. `priority` None: `query` for at most
    `QUERY_TEXTS` texts of side query, else `bulk`. `timeout` in seconds from arrival, None for the service's own.

    `caller` is whose fair share it uses, a key's name or the peer's address; `allowance` is charged for the tokens that
    the engine takes. `param` is the field's name, for errors; `warnings` are sentences for the caller, and `ignored`
    the names of the request's fields that have no effect.
    """

    texts: Sequence[str]
    side: Side = "document"
    prompt: str = ""
    truncation: Truncation | None = None
    output: Output = "unit"
    paired: bool = False
    priority: Priority | None = None
    timeout: float | None = None
    caller: str = ""
    allowance: Allowance | None = None
    param: str = ""
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def urgent(self) -> bool:
        """Whether it goes ahead of bulk."""
        if self.priority is not None:
            return self.priority == "query"
        return self.side == "query" and len(self.texts) <= QUERY_TEXTS

    @property
    def chars(self) -> int:
        """The characters of all texts behind their prompts."""
        return sum(map(len, self.texts)) + len(self.prompt) * len(self.texts)


@dataclass(frozen=True)
class Usage:
    """What some inputs cost: numbers per text in order, and seconds by stage, until `ended` on `time.perf_counter`.

    `tokens`, `lost` and `chunks` are a `Report`'s: tokens with the prompt, those that the model did not read, and the
    sequences that the text was read in.
    """

    side: Side
    tokens: Sequence[int]
    lost: Sequence[int]
    chunks: Sequence[int]
    tokenization: float = 0.0
    queue: float = 0.0
    inference: float = 0.0
    ended: float = field(default_factory=perf_counter)

    @property
    def tokens_read(self) -> int:
        """How many tokens the model read."""
        return sum(self.tokens) - self.tokens_lost

    @property
    def tokens_lost(self) -> int:
        """How many it did not."""
        return sum(self.lost)

    @property
    def truncated(self) -> int:
        """How many texts lost tokens."""
        return sum(1 for lost in self.lost if lost)


@dataclass(frozen=True)
class Answer:
    """Vectors (texts, dim) float32 in order, or for `states` one (tokens, dim) array per text; and what they cost.

    `cut`, `carried` and `uncounted` are sentences on texts that lost tokens, bring a prompt of their own, or were not
    tokenized to their end; empty where there are none.
    """

    inputs: Inputs
    vectors: Float32
    states: Sequence[Float32]
    usage: Usage
    cut: str = ""
    carried: str = ""
    uncounted: str = ""

    @property
    def warnings(self) -> list[str]:
        """Sentences for the caller, but for what was cut, which every dialect has another place for."""
        return [*self.inputs.warnings, *filter(None, (self.carried, self.uncounted))]
