"""What is known of one HTTP request: data, which routes fill and the log, the metrics and the spans read.

No text and no key is ever put in.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from me5.prompts import Side
from me5.service.ask import Answer, Timings


@dataclass(frozen=True)
class Part:
    """One answer of the pipeline within a request: `tokens` and `lost` per text, `ended` on the clock of `Record`."""

    side: Side
    tokens: tuple[int, ...]
    lost: tuple[int, ...]
    timings: Timings
    ended: float


@dataclass
class Record:
    """One request. Times are seconds; `began` is `time.perf_counter()`, `began_ns` the wall clock just then.

    `caller` is the name of the key, which is also `key`, or without keys the address.
    """

    id: str
    method: str
    traceparent: str = ""
    route: str = "other"
    status: int = 0
    caller: str = ""
    key: str = ""
    error: str = ""
    parts: list[Part] = field(default_factory=list)
    serialization: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    began_ns: int = field(default_factory=time.time_ns)
    duration: float = 0.0

    def answered(self, side: Side, answer: Answer) -> None:
        """Add what the pipeline did for this request."""
        part = Part(side, tuple(answer.tokens), tuple(answer.lost), answer.timings, time.perf_counter())
        self.parts.append(part)

    def failed(self, kind: str) -> None:
        """Say which kind of error the request ends in, such as `overloaded`."""
        self.error = kind

    @contextmanager
    def serializing(self) -> Iterator[None]:
        """Time the making of the reply's bytes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.serialization += time.perf_counter() - began

    @property
    def side(self) -> str:
        """The side of all texts, `mixed`, or nothing when no text was embedded."""
        sides = {part.side for part in self.parts}
        return "mixed" if len(sides) > 1 else next(iter(sides), "")

    @property
    def texts(self) -> int:
        """How many texts were embedded."""
        return sum(len(part.tokens) for part in self.parts)

    @property
    def tokens(self) -> int:
        """How many tokens the model read."""
        return sum(sum(part.tokens) - sum(part.lost) for part in self.parts)

    @property
    def truncated(self) -> int:
        """How many texts lost tokens."""
        return sum(1 for part in self.parts for lost in part.lost if lost)

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage. Parts run side by side, so the longest counts."""
        if not self.parts:
            return {}
        return {
            "tokenization": max(part.timings.tokenization for part in self.parts),
            "queue": max(part.timings.queue for part in self.parts),
            "inference": max(part.timings.inference for part in self.parts),
            "serialization": self.serialization,
        }
