"""One HTTP request: who sent it, what it wants of the pipeline, and the headers of its reply."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import Depends, Request
from starlette.datastructures import MutableHeaders

from me5.calibration import bound
from me5.errors import InputError
from me5.heads import Activation
from me5.prompts import Side
from me5.reranker import Ranked, ranking
from me5.service.auth import Keys
from me5.service.dispatch import State
from me5.service.errors import ClientGone, FieldError, NotServed
from me5.service.inputs import Answer, Inputs
from me5.service.metrics import Metrics
from me5.service.pipeline import Pipeline
from me5.service.record import RequestRecord
from me5.service.reranking import RerankingPipeline
from me5.service.searches import Searches
from me5.service.settings import ServiceSettings
from me5.service.wire.reading import Names, SideFields, read_side
from me5.service.wire.sides import Sides
from me5.tokenizer import Token

if TYPE_CHECKING:
    from me5.search.store import Store

T = TypeVar("T")

# Of a text in a header, before it is quoted to three times as many: proxies read heads of 8 KB, and some of 4.
_HEADER_BYTES = 1000


@dataclass(frozen=True)
class Service:
    """What every request shares, at `app.state.service`.

    `started` is in seconds since 1970, `searches` has the store that is searched.
    """

    settings: ServiceSettings
    pipeline: Pipeline
    keys: Keys
    metrics: Metrics
    started: int
    sides: Sides
    searches: Searches | None = None
    reranker: RerankingPipeline | None = None

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """That of the embedding model, and that of the reranker if there is one."""
        return (self.pipeline,) if self.reranker is None else (self.pipeline, self.reranker)

    @property
    def state(self) -> State:
        """`ready`, or what a pipeline is instead."""
        return next((one.state for one in self.pipelines if not one.healthy), "ready")

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
        self.record: RequestRecord = request.state.record
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

    def inputs(
        self,
        param: str,
        texts: Sequence[str],
        fields: SideFields,
        *,
        prompt_name: str | None = None,
        default: Side = "document",
        **options: Any,
    ) -> Inputs:
        """The texts that the field `param` holds, on this caller's behalf and behind the prompt that `fields` choose.

        `options` are further fields of `Inputs`. Raises as `read_side`.
        """
        service = self.service
        side, prompt, warnings = read_side(
            fields, service.names, service.pipeline.prompts, prompt_name=prompt_name, default=default
        )
        ended = service.names.split(fields.model)[1] if fields.model else None
        given = (ended, fields.side, fields.input_type, prompt_name)
        service.sides.note(self._caller, named=default != "document" or any(one is not None for one in given))
        options = {"ignored": fields.ignored, **options}
        return Inputs(
            texts, side, prompt, param=param, caller=self._caller, allowance=self._allowance, warnings=warnings,
            **options,
        )  # fmt: skip

    async def rerank(
        self,
        query: str,
        texts: Sequence[str],
        *,
        param: str,
        model: str | None,
        activation: Activation = "sigmoid",
        **options: Any,
    ) -> tuple[Answer, list[Ranked]]:
        """The answer of the reranker, and the texts from the best on. Raises `NotServed` where there is none.

        `model` is the name that the request gives, `param` the field of the texts, `options` further ones of `Inputs`.
        """
        reranker = self.service.reranker
        if reranker is None:
            raise NotServed(
                f"{self.service.names.served} is an embedding model, which {self.request.url.path} needs another kind "
                "for: start the service with --reranker; see also /v1/score"
            )
        names = Names.of(reranker.checkpoint, (), strict=self.service.settings.strict_model)
        warnings = names.warnings(model)
        inputs = Inputs(
            texts, "query", query, param=param, caller=self._caller, allowance=self._allowance, warnings=warnings,
            paired=True, **options,
        )  # fmt: skip
        with named(param):
            (answer,) = await self.while_wanted(reranker.embed(inputs))
        self.record.usage.append(answer.usage)
        return answer, ranking(reranker.pairs.scores(answer.vectors[:, 0], activation))

    def sides(self, asking: Inputs) -> bound.Sides:
        """The prompts of these queries, and of documents."""
        return bound.Sides(asking.prompt, self.service.pipeline.prompts.prefix("document"))

    async def embed(self, *inputs: Inputs) -> list[Answer]:
        """An answer to each, computed side by side until the caller hangs up; what they cost is recorded."""
        answers = await self.while_wanted(*(self._embed(one) for one in inputs))
        self.record.usage += [answer.usage for answer in answers]
        return answers

    async def search(self, work: "Callable[[Store, float], T]") -> T:
        """The result of `work`, which gets the store and the seconds that it may take. See `Searches.run`."""
        (result,) = await self.while_wanted(self.searches.run(self._caller, work))
        return result

    @property
    def searches(self) -> Searches:
        """The store that is searched, on the routes that are there only with one."""
        assert self.service.searches is not None
        return self.service.searches

    async def tokens(self, inputs: Inputs) -> list[list[Token]]:
        """Every token of the texts."""
        with named(inputs.param):
            (tokens,) = await self.while_wanted(self.service.pipeline.tokens(inputs))
        return tokens

    async def decode(
        self, param: str, lists: Sequence[Sequence[int]], *, skip_special: bool, counted: bool
    ) -> list[str]:
        """The texts of the token ids that a field holds. `counted` as the caller's, unless they will be read."""
        allowance = self._allowance if counted else None
        decoding = self.service.pipeline.decode(
            lists, skip_special=skip_special, caller=self._caller, allowance=allowance
        )
        with named(param):
            (texts,) = await self.while_wanted(decoding)
        return texts

    async def _embed(self, inputs: Inputs) -> Answer:
        with named(inputs.param):
            return await self.service.pipeline.embed(inputs)

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

    def headers(self, *answers: Answer) -> dict[str, str]:
        """The headers of every reply with vectors: side, prompt, what was truncated, which fields were ignored."""
        inputs, usage = answers[0].inputs, [answer.usage for answer in answers]
        side = {} if inputs.paired else {"x-me5-side": inputs.side, "x-me5-prompt": _header(inputs.prompt, "/")}
        headers = {
            **side,
            "x-me5-tokens": str(sum(one.tokens_read for one in usage)),
            "x-me5-truncated": str(sum(one.truncated for one in usage)),
            "x-me5-tokens-lost": str(sum(one.tokens_lost for one in usage)),
        }
        if inputs.ignored:
            headers["x-me5-ignored"] = _header(",".join(inputs.ignored), ",")
        if warnings := dict.fromkeys(warning for answer in answers for warning in answer.warnings):
            headers["x-me5-warning"] = _header(" ".join(warnings), " ,;:`'")
        return headers


def _header(text: str, safe: str) -> str:
    """A text as a header's value; one that is too long ends in an ellipsis."""
    raw = text.encode()
    if len(raw) > _HEADER_BYTES:
        text = raw[:_HEADER_BYTES].decode(errors="ignore") + "…"
    return quote(text, safe=safe)


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


async def _call(request: Request) -> Call:  # a plain function would get a thread
    call: Call = request.state.call
    return call


CurrentCall = Annotated[Call, Depends(_call)]
