"""What may be spent: requests and money, counted before they are, at the most that a request can cost."""

import asyncio
from dataclasses import dataclass

from me5.errors import InputError

# A message adds a few tokens for its role and its ends.
_AROUND = 16


@dataclass(frozen=True)
class Limits:
    """Prices per million tokens, and what a job may cost in all its runs; None: no limit."""

    price_in: float | None = None
    price_out: float | None = None
    max_cost: float | None = None
    max_requests: int | None = None

    def __post_init__(self) -> None:
        if self.max_cost is not None and (self.price_in is None or self.price_out is None):
            raise InputError("a limit of the cost needs the prices: --price-in and --price-out, per million tokens")

    @property
    def priced(self) -> bool:
        """Whether a cost can be told."""
        return self.price_in is not None or self.price_out is not None

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """The price of some tokens; what has no price is free."""
        return (tokens_in * (self.price_in or 0.0) + tokens_out * (self.price_out or 0.0)) / 1e6


def bound(texts: tuple[str, ...], answer_tokens: int) -> tuple[int, int]:
    """The most tokens that a request can have and that its answer may have: a token is a byte at least."""
    return sum(len(text.encode()) + _AROUND for text in texts), answer_tokens


class Budget:
    """Admits requests while what they may cost at most still fits beside what others cost and may cost."""

    def __init__(self, limits: Limits, *, requests: int, cost: float) -> None:
        self._limits = limits
        self._requests = requests
        self._cost = cost
        self._reserved = 0.0
        self._running = 0
        self._changed = asyncio.Condition()

    async def admit(self, worst: float) -> bool:
        """Reserve room for a request, after others have settled where it must; False where it cannot fit."""
        async with self._changed:
            while not self._fits(worst):
                if not self._running or self._ended():
                    return False
                await self._changed.wait()
            self._requests += 1
            self._running += 1
            self._reserved += worst
            return True

    async def settle(self, worst: float, cost: float) -> None:
        """Put what a request has cost in the place of what was reserved."""
        async with self._changed:
            self._running -= 1
            self._reserved -= worst
            self._cost += cost
            self._changed.notify_all()

    def _ended(self) -> bool:
        return self._limits.max_requests is not None and self._requests >= self._limits.max_requests

    def _fits(self, worst: float) -> bool:
        if self._ended():
            return False
        limit = self._limits.max_cost
        # Sums of floats may come out a trillionth too high.
        return limit is None or self._cost + self._reserved + worst <= limit * (1 + 1e-9)
