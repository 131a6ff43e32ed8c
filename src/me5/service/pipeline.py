"""From texts to vectors inside the service: prepare beside the event loop, wait in the queue, run in the worker.

Everything that speaks HTTP calls this, and this knows no HTTP. What it does to texts and to chunks' vectors is the
library's own code, so its answers equal those of `Embedder`.
"""

import asyncio
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import TypeVar

import numpy as np

from me5.calibration import stored
from me5.calibration.applied import Calibration
from me5.checkpoint import Checkpoint, resolve
from me5.errors import InputError
from me5.notices import Notices
from me5.prepared import Prepared, joined
from me5.preprocessor import Preprocessor, choose_prompts
from me5.prompts import Prompts
from me5.service.auth import Allowance
from me5.service.beside import beside, settled_elsewhere
from me5.service.dispatch import Dispatcher, Load, Observer, State
from me5.service.errors import DeadlineExceeded, Overloaded, Unhealthy
from me5.service.inputs import Answer, Inputs, Usage
from me5.service.queue import SHARE, Job
from me5.service.settings import ServiceSettings
from me5.service.worker import EngineOptions
from me5.tokenizer import Token, Truncation
from me5.vectors import Float32

T = TypeVar("T")

# A request of more characters than this does not go ahead of bulk.
QUERY_CHARS = 32_000
# Characters that are tokenized in a few milliseconds: they do not wait behind the texts of bulk work.
QUICK_CHARS = 4_000
# Hidden states are dim times larger than anything else, and three times as large again as JSON: no request may ask for
# more bytes of them.
MAX_STATES_BYTES = 16 * 2**20
# Where each token is listed, a reply has some 100 bytes for it, and takes five times that to make.
MAX_LISTED_TOKENS = 32_768
# What is to be tokenized is bounded in characters, by this many for each token that is allowed. A token has 3 to 5 of
# most languages.
CHARS_PER_TOKEN = 8
# A request of so many characters is tokenized to its end, and the tokens that it loses are counted: that takes a second
# at most. Of a larger one, texts are tokenized as far as the model reads them.
COUNTED_CHARS = CHARS_PER_TOKEN * MAX_LISTED_TOKENS
# Characters of a text in which there must be a place to cut it: 24 for a token of a model that reads 8,192.
REACH = 200_000
# Characters between two looks at whether a request has too many tokens, or nobody waits for it any more.
BLOCK_CHARS = 100_000
# Characters that one core tokenizes in a second where words are shortest: what a caller is asked to wait for.
CHARS_PER_SECOND = 300_000
# More vectors than this are put together beside the event loop: 64 of 1024 numbers take 0.1 ms.
FEW = 64
# Threads in which texts are tokenized.
QUERY_THREADS, BULK_THREADS = 1, 2


class Pipeline:
    """The service without HTTP: texts in, vectors out, for any number of callers at once.

    Raises `CheckpointError` or `DownloadError` where the model's files are not there. `opener` names the function that
    opens the worker's engine: see `worker.EngineOptions`.
    """

    def __init__(
        self, settings: ServiceSettings, observer: Observer | None = None, *, opener: str = EngineOptions.opener
    ) -> None:
        self._settings = settings
        self._checkpoint = checkpoint = resolve(settings.model, revision=settings.revision)
        self._prompts = choose_prompts(settings.prompts, checkpoint.prompts, checkpoint.name)
        options = EngineOptions(
            str(checkpoint.path), checkpoint.name, settings.precision, settings.threads, settings.device, opener
        )
        self._dispatcher = Dispatcher(
            options, max_tokens=settings.max_queue_tokens, batch_tokens=settings.max_batch_tokens, observer=observer
        )
        self._preprocessor: Preprocessor | None = None
        self.calibration: Calibration | None = None  # of its cosines; known once it has started
        self._chars: Counter[str] = Counter()  # being tokenized, by caller
        # A query must not wait for the tokenization of bulk. The tokenizer itself uses every core.
        self._query_threads = ThreadPoolExecutor(QUERY_THREADS, "me5-query")
        self._bulk_threads = ThreadPoolExecutor(BULK_THREADS, "me5-bulk")

    async def start(self) -> None:
        """Load the tokenizer here and the engine in its worker; returns when ready. Raises as `Embedder.load`."""
        try:
            await asyncio.gather(
                beside(self._query_threads, self._open_tokenizer),
                beside(self._bulk_threads, self._dispatcher.start),
            )
            self.calibration = await beside(self._query_threads, self._find_calibration)
        except BaseException:
            await self._end(0)
            raise

    def _open_tokenizer(self) -> None:
        settings = self._settings
        self._preprocessor = Preprocessor(
            self._checkpoint, prompts=self._prompts, max_tokens=settings.max_tokens, truncation=settings.truncation
        )

    def _find_calibration(self) -> Calibration | None:
        return stored.applying(self._checkpoint, self.precision, self.dim)

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
    def preprocessor(self) -> Preprocessor:
        """What reads texts, with the settings that apply. Raises `Unhealthy` before it is loaded."""
        if self._preprocessor is None:
            raise Unhealthy("the service is starting", 5.0)
        return self._preprocessor

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        return self._checkpoint.config.hidden_size

    @property
    def precision(self) -> str:
        """What the engine computes in: `f32`, `bf16` or `int8`; before it has started, what the settings choose."""
        about = self._dispatcher.about
        return about.precision if about else self._settings.precision

    @property
    def batch_tokens(self) -> int:
        """The tokens of a batch, by the settings or the engine; 0 before it has started."""
        about = self._dispatcher.about
        return self._settings.max_batch_tokens or (about.batch_tokens if about else 0)

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

    async def embed(self, inputs: Inputs) -> Answer:
        """Vectors of a request's texts.

        Raises `InputError` naming the item, `Overloaded`, `DeadlineExceeded`, `Unhealthy`, or `EngineError`. A caller
        that is cancelled leaves nothing behind in the queue.
        """
        seconds = self._settings.request_timeout if inputs.timeout is None else inputs.timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._embed(inputs)
        except TimeoutError:
            load = self.load()
            raise DeadlineExceeded(
                f"the answer was not ready in {seconds:g} seconds; {load.tokens:,} tokens wait for the engine, which "
                f"reads about {load.rate:,.0f} a second"
            ) from None

    async def tokens(self, inputs: Inputs) -> list[list[Token]]:
        """Every token of each text behind its prompt, before truncation, and which of them the model does not read.

        Raises `InputError` for more than `MAX_LISTED_TOKENS`, `Overloaded`, or what `Allowance.take` does.
        """
        policy, tokenizer = self._policy(inputs), self.preprocessor.tokenizer
        if (chars := inputs.chars) > COUNTED_CHARS:
            raise InputError(
                f"the texts have {chars:,} characters with their prompts; where each token is listed, at most "
                f"{COUNTED_CHARS:,} are read: send fewer texts at a time, or shorter ones"
            )

        def all_of_them(abandoned: threading.Event) -> list[list[Token]]:
            tokens: list[list[Token]] = []
            count = written_out = 0
            for index, text in enumerate(inputs.texts):
                if abandoned.is_set():
                    break
                # One character may be 18 to the model: 262,144 of them would take 400 MB until they are counted.
                written_out += len(unicodedata.normalize("NFKC", text))
                if written_out > COUNTED_CHARS:
                    raise InputError(
                        f"the texts have more than the {COUNTED_CHARS:,} characters that are read, once those that "
                        "stand for several are written out: send fewer texts at a time, or shorter ones"
                    )
                tokens.append(tokenizer.look(text, inputs.prompt, policy, index=index))
                count += len(tokens[-1])
                if count > MAX_LISTED_TOKENS:
                    raise InputError(
                        f"the texts have more than the {MAX_LISTED_TOKENS:,} tokens that are listed at once: send "
                        "fewer texts at a time, or shorter ones"
                    )
            return tokens

        tokens = await self._tokenizing(inputs.caller, chars, all_of_them, quick=chars <= QUICK_CHARS)
        if inputs.allowance is not None:
            inputs.allowance.take(sum(map(len, tokens)))
        return tokens

    async def decode(
        self,
        lists: Sequence[Sequence[int]],
        *,
        skip_special: bool,
        caller: str = "",
        allowance: Allowance | None = None,
    ) -> list[str]:
        """The texts of lists of token ids. Raises `InputError` for too many, `Overloaded`, or what `take` does."""
        tokenizer = self.preprocessor.tokenizer
        ids, most = sum(map(len, lists)), self._settings.max_request_tokens
        if ids > most:
            raise InputError(f"there are {ids:,} token ids, the service takes {most:,}; send fewer at a time")
        if allowance is not None:
            allowance.take(ids)

        def all_of_them(_: threading.Event) -> list[str]:
            return tokenizer.decode_all(lists, skip_special=skip_special)

        return await self._tokenizing(caller, ids, all_of_them, quick=ids <= QUICK_CHARS)

    async def _embed(self, inputs: Inputs) -> Answer:
        began = monotonic()
        if not inputs.texts:
            return Answer(inputs, np.empty((0, self.dim), np.float32), [], Usage(inputs.side, [], [], []))
        chars = self._chars_to_read(inputs)
        urgent = inputs.urgent and chars <= QUERY_CHARS
        self._dispatcher.check(inputs.caller, urgent=urgent)
        prepared, notices = await self._prepare(inputs, chars, urgent=urgent)
        self._check_states(prepared, inputs)
        tokenization = monotonic() - began
        job = await self._run(prepared, inputs, urgent=urgent)
        few = len(prepared.sequences) <= FEW
        assemble = partial(_assemble, job, prepared, self._merged)
        made = assemble() if few else await beside(self._bulk_threads, assemble)
        report = prepared.report
        usage = Usage(inputs.side, report.tokens, report.lost, report.chunks, tokenization, job.queued, job.inference)
        return Answer(inputs, *made, usage, notices.cut(self.max_tokens), notices.carried(), notices.uncounted())

    async def _run(self, prepared: Prepared, inputs: Inputs, *, urgent: bool) -> Job:
        """Let the engine read the sequences. The tokens that it took are charged, whoever still waits for them."""
        finished, done = settled_elsewhere()
        job = Job(prepared.sequences, inputs.caller, urgent, inputs.output, done)
        if inputs.allowance is not None:
            inputs.allowance.take(job.tokens)
        try:
            self._dispatcher.submit(job)
            await finished
        finally:
            taken = self._dispatcher.cancel(job)
            if inputs.allowance is not None:
                inputs.allowance.give_back(job.tokens - taken)
        return job

    def _policy(self, inputs: Inputs) -> Truncation:
        return inputs.truncation or self._settings.truncation

    def _chars_to_read(self, inputs: Inputs) -> int:
        """The characters that will be tokenized, as far as that is known before. Raises `InputError` for too many."""
        most, prompt = CHARS_PER_TOKEN * self._settings.max_request_tokens, len(inputs.prompt)
        chars = inputs.chars
        if chars > COUNTED_CHARS and self._policy(inputs) != "chunk":
            longest = CHARS_PER_TOKEN * self.max_tokens
            chars = sum(prompt + min(len(text), longest) for text in inputs.texts)
        if chars > most:
            raise InputError(
                f"more than {most:,} characters would have to be read for the request's {len(inputs.texts):,} texts "
                "and their prompts, the most that the service takes; send fewer texts at a time, or shorter ones"
            )
        return chars

    async def _prepare(self, inputs: Inputs, chars: int, *, urgent: bool) -> tuple[Prepared, Notices]:
        notices = self._notices()
        reach = None if inputs.chars <= COUNTED_CHARS else max(REACH, 4 * CHARS_PER_TOKEN * self.max_tokens)
        most = self._settings.max_request_tokens

        def prepare(abandoned: threading.Event) -> Prepared:
            made: list[Prepared] = []
            tokens = 0
            for first, block in _blocks(inputs.texts, len(inputs.prompt)):
                if abandoned.is_set():
                    break
                prepared = self._tokenized(block, inputs, first, reach)
                notices.add(block, prepared.report)
                made.append(prepared)
                tokens += sum(map(len, prepared.sequences))
                if tokens > most:
                    least = "at least " if first + len(block) < len(inputs.texts) else ""
                    raise InputError(
                        f"the model would read {least}{tokens:,} tokens for the request's "
                        f"{len(inputs.texts):,} texts, the service takes {most:,}; send fewer texts at a time"
                    )
                if inputs.allowance is not None and tokens > inputs.allowance.most:
                    inputs.allowance.take(tokens)  # which it refuses
            return joined(made)

        return await self._tokenizing(inputs.caller, chars, prepare, quick=urgent or chars <= QUICK_CHARS), notices

    def _notices(self) -> Notices:
        return Notices(self._prompts)

    def _tokenized(self, texts: Sequence[str], inputs: Inputs, first: int, reach: int | None) -> Prepared:
        """Some of the inputs' texts, the first of which is number `first`; see `Tokenizer.prepare`."""
        tokenizer = self.preprocessor.tokenizer
        return tokenizer.prepare(texts, inputs.prompt, self._policy(inputs), first=first, reach=reach)

    def _merged(self, rows: Float32, prepared: Prepared, *, unit: bool) -> Float32:
        """What is told of each text, from the rows of its sequences."""
        return Preprocessor.merge(rows, prepared, unit=unit)

    async def _tokenizing(self, caller: str, chars: int, work: Callable[[threading.Event], T], *, quick: bool) -> T:
        """Run the work on texts in a thread. The event is set when nobody waits for it any more.

        Raises `Overloaded` where too many characters wait for that, or too many of this caller.
        """
        most = CHARS_PER_TOKEN * self._settings.max_queue_tokens // 2
        held, total = self._chars[caller], self._chars.total()
        if (total and total + chars > most) or (held and held + chars > most * SHARE):
            raise Overloaded(
                f"{total:,} characters are being tokenized, {held:,} of them for this caller; the service takes "
                f"{most:,}, and {int(most * SHARE):,} of one caller",
                max(1.0, total / CHARS_PER_SECOND),
            )
        abandoned = threading.Event()
        self._chars[caller] += chars
        try:
            return await beside(self._query_threads if quick else self._bulk_threads, work, abandoned)
        finally:
            abandoned.set()
            self._chars[caller] -= chars
            if not self._chars[caller]:
                del self._chars[caller]

    def _check_states(self, prepared: Prepared, inputs: Inputs) -> None:
        tokens = sum(map(len, prepared.sequences))
        if inputs.output == "states" and tokens * self.dim * 4 > MAX_STATES_BYTES:
            raise InputError(
                f"the hidden states of {tokens:,} tokens are {tokens * self.dim * 4:,} bytes, the service takes "
                f"{MAX_STATES_BYTES:,}; send fewer texts at a time"
            )


def _blocks(texts: Sequence[str], prompt: int) -> Iterator[tuple[int, Sequence[str]]]:
    """(place of the first, texts) in order, of so many characters at a time as are tokenized in a moment."""
    first = chars = 0
    for at, text in enumerate(texts, 1):
        chars += prompt + len(text)
        if chars > BLOCK_CHARS or at == len(texts):
            yield first, texts[first:at]
            first, chars = at, 0


def _assemble(job: Job, prepared: Prepared, merged: Callable[..., Float32]) -> tuple[Float32, list[Float32]]:
    """Vectors, or states, of texts from the rows of their sequences."""
    rows = [job.rows[index] for index in range(len(prepared.sequences))]
    if job.output == "states":
        of_text: list[list[Float32]] = [[] for _ in range(prepared.texts)]
        for owner, block in zip(prepared.owners, rows, strict=True):
            of_text[owner].append(block)
        return np.empty((0, rows[0].shape[1]), np.float32), [np.concatenate(blocks) for blocks in of_text]
    return merged(np.concatenate(rows), prepared, unit=job.output == "unit"), []
