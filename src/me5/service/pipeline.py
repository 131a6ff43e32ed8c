"""From texts to vectors inside the service: prepare beside the event loop, wait in the queue, run in the worker.

Everything that speaks HTTP calls this, and this knows no HTTP. What it does to texts and to chunks' vectors is the
library's own code, so its answers equal those of `Embedder`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

import numpy as np

from me5.checkpoint import Checkpoint, resolve
from me5.embedder import merge_chunks, open_tokenizer, unknown_prompts
from me5.engine.base import Float32
from me5.errors import InputError
from me5.notices import Notices
from me5.prompts import STYLES, Prompts, Side
from me5.service.dispatch import Dispatcher, Load, Observer, State, Ticket
from me5.service.errors import DeadlineExceeded, Overloaded, Unhealthy
from me5.service.queue import Job, Output
from me5.service.settings import Settings
from me5.service.worker import Plan
from me5.tokenizer import Prepared, Token, Tokenizer, Truncation

__all__ = ["Answer", "Ask", "Float32", "Load", "Observer", "Pipeline", "Priority", "State", "Timings"]

Priority = Literal["query", "bulk"]
T = TypeVar("T")

# A request of side query with at most this many texts goes ahead of bulk, unless it says otherwise.
QUERY_TEXTS = 8
# Hidden states are dim times larger than anything else: no request may ask for more bytes of them.
MAX_STATES_BYTES = 64 * 2**20
# Texts that are being tokenized do not wait as tokens yet: their characters are bounded by this many for each token
# that may wait. A token has 3 to 4 of most languages.
CHARS_PER_TOKEN = 4
# More vectors than this are put together beside the event loop: 64 of 1024 numbers take 0.1 ms.
FEW = 64


@dataclass(frozen=True)
class Ask:
    """One request's texts, and how to read them.

    `caller` is whose fair share it uses: a key's name, or the peer's address. `output` `states` asks for the hidden
    states of every token, `raw` for pooled vectors that are not normalised. `priority` None: `query` for at most
    `QUERY_TEXTS` texts of side query, else `bulk`. `timeout` in seconds from arrival, None for the service's own.
    """

    texts: Sequence[str]
    side: Side = "document"
    task: str | None = None
    truncation: Truncation | None = None
    caller: str = ""
    output: Output = "unit"
    priority: Priority | None = None
    timeout: float | None = None

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
    `cut` and `carried` are sentences on texts that lost tokens or bring a prompt of their own; empty where none does.
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


class Pipeline:
    """The service without HTTP: texts in, vectors out, for any number of callers at once.

    Raises `CheckpointError` or `DownloadError` where the model's files are not there. `opener` names the function that
    opens the worker's engine: see `worker.Plan`.
    """

    def __init__(self, settings: Settings, observer: Observer | None = None, *, opener: str = Plan.opener) -> None:
        self._settings = settings
        self._checkpoint = checkpoint = resolve(settings.model, revision=settings.revision)
        chosen = STYLES[settings.prompts] if settings.prompts else checkpoint.prompts
        self._prompts = chosen or unknown_prompts(checkpoint.name)
        plan = Plan(
            str(checkpoint.folder), checkpoint.name, settings.precision, settings.threads, settings.device, opener
        )
        self._dispatcher = Dispatcher(
            plan, max_tokens=settings.max_queue_tokens, batch_tokens=settings.max_batch_tokens, observer=observer
        )
        self._tokenizer: Tokenizer | None = None
        self._chars = 0  # being tokenized
        # A query must not wait for the tokenization of bulk. The tokenizer itself uses every core.
        self._query_threads = ThreadPoolExecutor(1, "me5-query")
        self._bulk_threads = ThreadPoolExecutor(2, "me5-bulk")

    async def start(self) -> None:
        """Load the tokenizer here and the engine in its worker; returns when ready. Raises as `Embedder.load`."""
        try:
            self._tokenizer, _ = await asyncio.gather(
                _beside(self._query_threads, open_tokenizer, self._checkpoint, self._settings.max_tokens),
                _beside(self._bulk_threads, self._dispatcher.start),
            )
        except BaseException:
            await self._end(0)
            raise

    async def stop(self) -> None:
        """Refuse new work, finish what is queued within the settings' `drain` seconds, end the worker."""
        await self._end(self._settings.drain)

    async def _end(self, patience: float) -> None:
        await asyncio.to_thread(self._dispatcher.stop, patience)
        # What waits in them is done still: answers to be put together, and texts whose request is refused then.
        self._query_threads.shutdown(wait=False)
        self._bulk_threads.shutdown(wait=False)

    @property
    def checkpoint(self) -> Checkpoint:
        """The model's files."""
        return self._checkpoint

    @property
    def prompts(self) -> Prompts:
        """The model's prompts."""
        return self._prompts

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, with the limit in tokens that applies. Raises `Unhealthy` before it is loaded."""
        if self._tokenizer is None:
            raise Unhealthy("the service is starting", 5.0)
        return self._tokenizer

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        return self._checkpoint.config.hidden_size

    @property
    def precision(self) -> str:
        """What the engine computes in: `f32`, `bf16` or `int8`; before it has started, what was asked for."""
        about = self._dispatcher.about
        return about.precision if about else self._settings.precision

    @property
    def max_tokens(self) -> int:
        """The longest sequence that is read, in tokens with prompt and special tokens."""
        return self._settings.max_tokens or self._checkpoint.config.max_tokens

    @property
    def state(self) -> State:
        """For /health: `broken` while a worker that died is being replaced."""
        return self._dispatcher.state

    @property
    def healthy(self) -> bool:
        """Whether requests are answered now."""
        return self.state == "ready"

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, None while there is none."""
        return self._dispatcher.worker_pid

    def load(self) -> Load:
        """What waits and runs now."""
        return self._dispatcher.load()

    async def embed(self, ask: Ask) -> Answer:
        """Vectors of a request's texts.

        Raises `InputError` naming the item, `Overloaded`, `DeadlineExceeded`, `Unhealthy`, or `EngineError`. A caller
        that is cancelled leaves nothing behind in the queue.
        """
        seconds = self._settings.request_timeout if ask.timeout is None else ask.timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._embed(ask)
        except TimeoutError:
            load = self.load()
            raise DeadlineExceeded(
                f"the answer was not ready in {seconds:g} seconds; {load.tokens:,} tokens wait for the engine, which "
                f"reads about {load.rate:,.0f} a second"
            ) from None

    async def tokens(
        self, texts: Sequence[str], side: Side, *, task: str | None = None, truncation: Truncation | None = None
    ) -> list[list[Token]]:
        """Every token of each text behind its prompt, before truncation, and which of them the model does not read."""
        prefix, policy = self._prompts.prefix(side, task), truncation or self._settings.truncation
        look = self.tokenizer.look

        def all_of_them() -> list[list[Token]]:
            return [look(text, prefix, policy, index=index) for index, text in enumerate(texts)]

        threads = self._query_threads if len(texts) <= QUERY_TEXTS else self._bulk_threads
        return await _beside(threads, all_of_them)

    async def _embed(self, ask: Ask) -> Answer:
        began = monotonic()
        prompt = self._prompts.prefix(ask.side, ask.task)
        if not ask.texts:
            return Answer(np.empty((0, self.dim), np.float32), [], prompt, [], [], [], Timings(0.0, 0.0, 0.0))
        self._dispatcher.check(1, urgent=ask.urgent)
        prepared, notices = await self._prepare(ask, prompt)
        self._check_size(prepared, ask.output)
        tokenization = monotonic() - began
        ticket, finished = self._ticket(Job(prepared.sequences, ask.caller, ask.urgent, ask.output))
        try:
            self._dispatcher.submit(ticket)
            await finished
        finally:
            self._dispatcher.cancel(ticket)
        few = len(prepared.sequences) <= FEW
        made = _assemble(ticket, prepared) if few else await _beside(self._bulk_threads, _assemble, ticket, prepared)
        timings = Timings(tokenization, ticket.queued, ticket.inference)
        report = prepared.report
        told = notices.cut(self.max_tokens), notices.carried()
        return Answer(*made, prompt, report.tokens, report.lost, report.chunks, timings, *told)

    async def _prepare(self, ask: Ask, prompt: str) -> tuple[Prepared, Notices]:
        chars = sum(len(prompt) + len(text) for text in ask.texts if isinstance(text, str))
        most = CHARS_PER_TOKEN * self._settings.max_queue_tokens
        if self._chars and self._chars + chars > most:
            raise Overloaded(f"{self._chars:,} characters are being tokenized; the service takes {most:,}")
        threads = self._query_threads if ask.urgent else self._bulk_threads
        policy = ask.truncation or self._settings.truncation
        notices = Notices(self._prompts)

        def prepare() -> Prepared:
            prepared = self.tokenizer.prepare(ask.texts, prompt, policy)
            notices.add(ask.texts, prepared.report)
            return prepared

        self._chars += chars
        try:
            return await _beside(threads, prepare), notices
        finally:
            self._chars -= chars

    def _check_size(self, prepared: Prepared, output: Output) -> None:
        tokens, most = sum(map(len, prepared.sequences)), self._settings.max_request_tokens
        if tokens > most:
            raise InputError(
                f"the model would read {tokens:,} tokens for the request's {prepared.texts:,} texts, the service takes "
                f"{most:,}; send fewer texts at a time"
            )
        if output == "states" and tokens * self.dim * 4 > MAX_STATES_BYTES:
            raise InputError(
                f"the hidden states of {tokens:,} tokens are {tokens * self.dim * 4:,} bytes, the service takes "
                f"{MAX_STATES_BYTES:,}; send fewer texts at a time"
            )

    @staticmethod
    def _ticket(job: Job) -> "tuple[Ticket, asyncio.Future[None]]":
        """A ticket, and the future that the dispatcher's thread will settle."""
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if finished.done():  # the caller gave up
                return
            if error is None:
                finished.set_result(None)
            else:
                finished.set_exception(error)

        def done(error: Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(settle, error)

        return Ticket(job, done), finished


async def _beside(threads: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
    """Call a function in one of the threads, and wait for it without holding up the event loop."""
    return await asyncio.get_running_loop().run_in_executor(threads, call, *arguments)


def _assemble(ticket: Ticket, prepared: Prepared) -> tuple[Float32, list[Float32]]:
    """Vectors, or states, of texts from the rows of their sequences."""
    output = ticket.job.output
    rows = [ticket.blocks[index] for index in range(len(prepared.sequences))]
    if output == "states":
        of_text: list[list[Float32]] = [[] for _ in range(prepared.texts)]
        for owner, block in zip(prepared.owners, rows, strict=True):
            of_text[owner].append(block)
        return np.empty((0, rows[0].shape[1]), np.float32), [np.concatenate(blocks) for blocks in of_text]
    vectors = np.concatenate(rows)
    if len(vectors) != prepared.texts:
        vectors = merge_chunks(vectors, prepared, normalize=output == "unit")
    return vectors, []
