"""One request on its way: whose it is, what it asks of the pipeline, and what its reply says of that."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import Depends, Request
from starlette.datastructures import MutableHeaders

from me5.errors import InputError
from me5.service.auth import Keys
from me5.service.errors import ClientGone, FieldError
from me5.service.metrics import Metrics
from me5.service.pipeline import Answer, Ask, Pipeline
from me5.service.record import Record
from me5.service.searches import Searches
from me5.service.settings import Settings
from me5.service.wire.reading import Names, Reading
from me5.tokenizer import Token, Truncation

T = TypeVar("T")

# Of a text in a header, before it is quoted to three times as many: proxies read heads of 8 KB, and some of 4.
_HEADER_BYTES = 1000


@dataclass(frozen=True)
class Service:
    """What every request shares, at `app.state.service`.

    `started` is in seconds since 1970, `searches` has the store that is searched.
    """

    settings: Settings
    pipeline: Pipeline
    keys: Keys
    metrics: Metrics
    started: int
    searches: Searches | None = None

    @property
    def names(self) -> Names:
        """The names of the model."""
        settings = self.settings
        return Names.of(self.pipeline.checkpoint, settings.served_name, strict=settings.strict_model)


class Call:
    """One request of a caller who is known. Raises `Unauthorized`."""

    def __init__(self, service: Service, request: Request) -> None:
        self.service = service
        self.request = request
        self.record: Record = request.state.record
        key = service.keys.find(request.headers)
        self._caller = key.name if key is not None else request.client.host if request.client else ""
        self.record.caller = self._caller
        self.record.key = key.name if key is not None else ""
        self._allowance = service.keys.allowance(key)

    def admit(self) -> None:
        """Raise `RateLimited` where the caller's key has nothing left."""
        if self._allowance is not None:
            self._allowance.admit()

    def tell_limits(self, headers: MutableHeaders) -> None:
        """What the caller's key may still use, in the headers that OpenAI's clients know."""
        if (allowance := self._allowance) is not None:
            headers["x-ratelimit-limit-tokens"] = str(allowance.most)
            headers["x-ratelimit-remaining-tokens"] = str(allowance.left)
            headers["x-ratelimit-reset-tokens"] = _duration(allowance.full_in)

    def ask(self, texts: Sequence[str], reading: Reading, **options: Any) -> Ask:
        """An `Ask` on this caller's behalf; `options` are further fields of it."""
        return Ask(texts, reading.side, reading.task, caller=self._caller, meter=self._allowance, **options)

    async def embed(self, **asks: Ask) -> list[Answer]:
        """An answer to each, side by side, until the caller hangs up. An ask goes by the field that holds its texts."""
        answers = await self.while_wanted(*(self._embed(param, ask) for param, ask in asks.items()))
        for ask, answer in zip(asks.values(), answers, strict=True):
            self.record.answered(ask.side, answer)
        return answers

    async def search(self, work: Callable[[float], T]) -> T:
        """What `work` finds in the store, which is told its seconds; until the caller hangs up. See `Searches.run`."""
        (found,) = await self.while_wanted(self.searches.run(self._caller, work))
        return found

    @property
    def searches(self) -> Searches:
        """The store that is searched, on the routes that are there only with one."""
        assert self.service.searches is not None
        return self.service.searches

    async def tokens(
        self, param: str, texts: Sequence[str], reading: Reading, truncation: Truncation | None
    ) -> list[list[Token]]:
        """Every token of the texts that a field holds."""
        pipeline = self.service.pipeline
        with named(param):
            (found,) = await self.while_wanted(
                pipeline.tokens(
                    texts, reading.side, task=reading.task, truncation=truncation, caller=self._caller,
                    meter=self._allowance,
                )
            )  # fmt: skip
        return found

    async def decode(
        self, param: str, lists: Sequence[Sequence[int]], *, skip_special: bool, counted: bool
    ) -> list[str]:
        """The texts of the token ids that a field holds. `counted` as the caller's, unless they will be read."""
        meter = self._allowance if counted else None
        with named(param):
            (texts,) = await self.while_wanted(
                self.service.pipeline.decode(lists, skip_special=skip_special, caller=self._caller, meter=meter)
            )
        return texts

    async def _embed(self, param: str, ask: Ask) -> Answer:
        with named(param):
            return await self.service.pipeline.embed(ask)

    async def while_wanted(self, *works: Coroutine[Any, Any, T]) -> list[T]:
        """The results of all, unless one fails or the caller hangs up: then none goes on."""
        tasks = [asyncio.ensure_future(work) for work in works]
        answers = asyncio.gather(*tasks)
        gone = asyncio.ensure_future(self._gone())
        try:
            either: set[asyncio.Future[Any]] = {answers, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                raise ClientGone("the caller hung up")
            return answers.result()
        finally:
            for task in (*tasks, gone):
                task.cancel()
            await asyncio.gather(answers, *tasks, gone, return_exceptions=True)

    async def _gone(self) -> None:
        """Return when the caller has hung up."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    @property
    def milliseconds(self) -> float:
        """Since the request arrived."""
        return (perf_counter() - self.record.began) * 1000

    def headers(self, reading: Reading, *answers: Answer) -> dict[str, str]:
        """What every reply with vectors says of them: side, prompt, what was cut, what was not understood."""
        told = {
            "x-me5-side": reading.side,
            "x-me5-prompt": _header(reading.prompt, "/"),
            "x-me5-tokens": str(sum(tokens_read(answer) for answer in answers)),
            "x-me5-truncated": str(sum(1 for answer in answers for lost in answer.lost if lost)),
            "x-me5-tokens-lost": str(sum(sum(answer.lost) for answer in answers)),
        }
        if reading.ignored:
            told["x-me5-ignored"] = _header(",".join(reading.ignored), ",")
        if warnings := warnings_of(reading, *answers):
            told["x-me5-warning"] = _header(" ".join(warnings), " ,;:`'")
        return told


def _header(text: str, safe: str) -> str:
    """A text as a header's value; one that is too long ends in an ellipsis."""
    raw = text.encode()
    if len(raw) > _HEADER_BYTES:
        text = raw[:_HEADER_BYTES].decode(errors="ignore") + "…"
    return quote(text, safe=safe)


def warnings_of(reading: Reading, *answers: Answer) -> list[str]:
    """Sentences for the caller, but for what was cut, which every dialect has another place for."""
    told = (sentence for answer in answers for sentence in (answer.carried, answer.uncounted))
    return [*reading.warnings, *dict.fromkeys(filter(None, told))]


@contextmanager
def named(param: str) -> Iterator[None]:
    """Say in an error about texts which field holds them."""
    try:
        yield
    except InputError as error:
        raise FieldError(f"`{param}`: {error}", param) from error


def _duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: 20ms, 7.5s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds * 10) / 10, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:.3g}s"


def tokens_read(answer: Answer) -> int:
    """How many tokens the model read."""
    return sum(answer.tokens) - sum(answer.lost)


def _call(request: Request) -> Call:
    call: Call = request.state.call
    return call


CurrentCall = Annotated[Call, Depends(_call)]
