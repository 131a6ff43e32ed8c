"""Asks a chat model what the log does not know yet: some requests at a time, with retries, within a budget."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import httpx2

from me5.client.exchange import Outcome, Request, Tries, describe
from me5.errors import Me5Error, ServiceError
from me5.progress import Advance
from me5.synthesis.budget import Budget, Limits, bound
from me5.synthesis.endpoint import ChatEndpoint, Way, other_way, read_reply
from me5.synthesis.forms import schema_of
from me5.synthesis.log import Answer, AnswerLog
from me5.synthesis.requests import ChatModel, ChatRequest, Manners

_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_UNAUTHORISED = {401: "the key is wrong or missing", 402: "the account has no credit", 403: "the key may not do this"}
_REFUSED = (400, 413, 422)
# Codes by which servers refuse a single request for what it says: asking again would give the same.
_FINAL = ("content_filter", "content_policy", "context_length", "string_above_max_length", "invalid_prompt")
# So many requests in a row without an answer, after all their tries: the server is gone.
_HOPELESS = 3


@dataclass(frozen=True)
class Asked:
    """How asking ended: whether the budget did, and requests that got no answer, with the last reason."""

    exhausted: bool
    failed: int
    reason: str = ""


def ask(
    endpoint: ChatEndpoint,
    requests: Iterable[ChatRequest],
    model: ChatModel,
    log: AnswerLog,
    *,
    limits: Limits,
    manners: Manners,
    advance: Advance,
) -> Asked:
    """Ask each request that the log has no answer to. `advance` gets every answer, with its tokens.

    Raises `ServiceError` where the server cannot be reached or refuses everything; the log keeps what came before.
    """

    async def run() -> Asked:
        async with endpoint:
            return await _Asking(endpoint, model, log, limits, manners, advance).run(requests)

    try:
        return asyncio.run(run())
    except ExceptionGroup as group:  # of tasks, which end together
        raise _first(group) from None


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


class Pace:
    """When the next request may be sent: after the last by a gap, and not while the server wants a rest."""

    def __init__(
        self,
        per_minute: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._clock = clock
        self._sleep = sleep

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        while (left := self._next - self._clock()) > 0:
            await self._sleep(left)
        self._next = self._clock() + self._gap

    def rest(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._next = max(self._next, self._clock() + seconds)


class _Asking:
    """One run of `ask`."""

    def __init__(
        self,
        endpoint: ChatEndpoint,
        model: ChatModel,
        log: AnswerLog,
        limits: Limits,
        manners: Manners,
        advance: Advance,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._log = log
        self._limits = limits
        self._manners = manners
        self._advance = advance
        self._pace = Pace(manners.per_minute)
        self._budget = Budget(limits, requests=log.tries, cost=limits.cost(log.tokens_in, log.tokens_out))
        self._answered = self._failed = self._in_a_row = 0
        self._reason = ""
        self._exhausted = False

    async def run(self, requests: Iterable[ChatRequest]) -> Asked:
        waiting = ((request, key) for request in requests if (key := self._key(request)) not in self._log)

        async def work() -> None:
            for request, key in waiting:
                if self._exhausted:
                    return
                await self._answer(request, key)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._manners.at_once):
                group.create_task(work())
        return Asked(self._exhausted, self._failed, self._reason)

    def _key(self, request: ChatRequest) -> str:
        return request.key(self._model, schema_of(request.form))

    async def _answer(self, request: ChatRequest, key: str) -> None:
        """Ask one request until it is answered, refused, or out of tries."""
        sent = Request("POST", "/chat/completions", {})
        tries = Tries(
            sent,
            self._endpoint.url,
            self._manners.retries,
            retried=_RETRIED,
            service="the chat model's server",
            less="send fewer requests at once (--at-once)",
        )
        worst = bound((self._model.system, request.prompt, schema_of(request.form)), self._model.answer_tokens)
        while True:
            await self._pace.turn()
            way = self._endpoint.way
            if (outcome := await self._send(request, key, way, worst)) is None:
                return
            if self._endpoint.adapt(outcome, way):
                continue
            try:
                wait = tries.wait_after(outcome) or 0.0
            except Me5Error as error:
                self._give_up(error)
                return
            if isinstance(outcome, httpx2.Response):
                self._pace.rest(wait)  # what holds for one request holds for all
            await asyncio.sleep(wait)

    async def _send(self, request: ChatRequest, key: str, way: Way, worst: tuple[int, int]) -> Outcome | None:
        """Send a request once and log what came: an outcome that is not an answer; None where nothing is left to do."""
        if not await self._budget.admit(reserved := self._limits.cost(*worst)):
            self._exhausted = True
            return None
        spent = reserved
        try:
            outcome = await self._endpoint.send(request, way)
            try:
                answer = self._read(outcome, key, way, worst)
            except ServiceError as error:
                self._log.add_lost(key, str(error), worst)
                self._give_up(error)
                return None
            if answer is None:
                lost = _lost(outcome, worst)
                self._log.add_lost(key, describe(outcome), lost)
                spent = self._limits.cost(*lost)
                return outcome
            self._log.add(answer)
            spent = self._limits.cost(*answer.tokens)
            self._answered, self._in_a_row = self._answered + 1, 0
            self._advance(1, answer.tokens[1])
            return None
        finally:
            await self._budget.settle(reserved, spent)

    def _read(self, outcome: Outcome, key: str, way: Way, worst: tuple[int, int]) -> Answer | None:
        """The answer in an outcome, None where it has none. Raises `ServiceError` for a reply that is not a chat's."""
        if not isinstance(outcome, httpx2.Response):
            return None
        if outcome.is_success:
            reply = read_reply(outcome)
            refused = reply.refusal or (None if reply.text else f"no text, {reply.finish}")
            return Answer(key, reply.text, refused, reply.finish, reply.tokens_in, reply.tokens_out, worst, reply.model)
        if (why := _UNAUTHORISED.get(outcome.status_code)) is not None:
            raise ServiceError(f"{self._endpoint.url}: {describe(outcome)}; {why}", status=outcome.status_code)
        # Before the first answer a refusal may be about how requests are written: then all would be refused.
        final = any(code in outcome.text for code in _FINAL) or (self._answered and other_way(outcome, way) is None)
        return Answer(key, None, describe(outcome)) if outcome.status_code in _REFUSED and final else None

    def _give_up(self, error: Me5Error) -> None:
        """Leave a request without an answer; raise its error if there is no hope for others."""
        self._failed, self._in_a_row, self._reason = self._failed + 1, self._in_a_row + 1, str(error)
        status = error.status if isinstance(error, ServiceError) else None
        refused = status is not None and 400 <= status < 500 and status not in _RETRIED
        if self._in_a_row >= _HOPELESS or not isinstance(error, ServiceError) or refused:
            raise error


def _lost(outcome: Outcome, worst: tuple[int, int]) -> tuple[int, int]:
    """The tokens that a try without an answer may have cost: none where the server says that it failed."""
    return (0, 0) if isinstance(outcome, httpx2.Response | httpx2.ConnectError | httpx2.ConnectTimeout) else worst
