"""What is known of one HTTP request: data, which routes fill and the log, the metrics and the spans read.

No text and no key is ever put in.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from me5.service.inputs import Usage

# The stages of an answer, in order; the fields of `Usage` that hold their seconds.
STAGES = ("tokenization", "queue", "inference")


@dataclass
class RequestRecord:
    """One HTTP request. Times are seconds; `began` is `time.perf_counter()`, `began_ns` the wall clock just then.

    `caller` is the name of the key, which is also `key`, or without keys the address. `usage` has an entry for each of
    the pipeline's answers.
    """

    id: str
    method: str
    traceparent: str = ""
    route: str = "other"
    status: int = 0
    caller: str = ""
    key: str = ""
    error: str = ""
    usage: list[Usage] = field(default_factory=list)
    serialization: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    began_ns: int = field(default_factory=time.time_ns)
    duration: float = 0.0

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
        sides = {usage.side for usage in self.usage}
        return "mixed" if len(sides) > 1 else next(iter(sides), "")

    @property
    def texts(self) -> int:
        """How many texts were embedded."""
        return sum(len(usage.tokens) for usage in self.usage)

    @property
    def tokens(self) -> int:
        """How many tokens the model read."""
        return sum(usage.tokens_read for usage in self.usage)

    @property
    def truncated(self) -> int:
        """How many texts lost tokens."""
        return sum(usage.truncated for usage in self.usage)

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage. Answers are made side by side, so the longest counts."""
        if not self.usage:
            return {}
        return {
            **{stage: max(getattr(usage, stage) for usage in self.usage) for stage in STAGES},
            "serialization": self.serialization,
        }
