"""Embedder: texts in, unit vectors out. The whole inference path as one object, in two halves.

    prepare   texts → prompts → token ids (and the report)
    run       token ids → batches → engine → vectors in input order

`encode_query`, `encode_document` and `encode` are both halves over input of any length, a window at a time.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from me5 import prompts as prompt_styles
from me5.checkpoint import Checkpoint, resolve
from me5.engine import Precision, open_engine
from me5.engine.base import Engine, TokenIds
from me5.errors import CheckpointError, InputError, PromptWarning
from me5.flow import ahead, vectors_of, windows_of
from me5.notices import Notices
from me5.probes import probes
from me5.progress import Advance, track
from me5.prompts import Prompts, Side
from me5.texts import texts_of
from me5.tokenizer import TRUNCATIONS, Prepared, Report, Tokenizer, Truncation
from me5.vectors import Float32, cosines, join, normalized


class Embedder:
    """A model, ready to embed.

        embedder = Embedder.load("intfloat/multilingual-e5-large-instruct")
        scores = embedder.similarity(embedder.encode_query(["how tall is K2?"]), embedder.encode_document(["8,611 m"]))

    All `encode` methods take one string or any iterable of strings, and return float32 unit vectors of shape (n, dim)
    in input order. Safe to call from several threads; not after a fork (load in the child instead). A pickle holds how
    it was loaded, and loads it again elsewhere; copies share the engine.
    """

    # What `load` was told, for a pickle; None where the engine came from elsewhere.
    _loaded: Mapping[str, Any] | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: Engine,
        *,
        prompts: Prompts | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
    ) -> None:
        if truncation not in TRUNCATIONS:
            raise InputError(f"unknown truncation {truncation!r}; expected one of {', '.join(TRUNCATIONS)}")
        self.checkpoint = checkpoint
        self.engine = engine
        self.truncation: Truncation = truncation
        self.prompts = prompts or checkpoint.prompts or unknown_prompts(checkpoint.name)
        self.tokenizer = open_tokenizer(checkpoint, max_tokens)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
        prompts: str | Prompts | None = None,
        revision: str | None = None,
    ) -> "Embedder":
        """Load the bundled model (None), a folder, a GGUF file, or a hub id.

        `device` is `cpu`, `cuda` (every visible GPU), `cuda:N`, or `torch-cpu` (what a GPU computes, slowly).
        `precision` is `f32`, `bf16`, `int8` (CPU), `f16`, `fp8` (GPU) or `auto`: bf16 where the hardware has it, else
        f32 (CPU) or f16 (GPU). `threads` None uses every core. `prompts` overrides what is known of the model:
        `instruct`, `prefix`, `none`, or a `Prompts`.
        Raises `CheckpointError`, `DownloadError`, `EngineError`, `InputError` or, without torch, `MissingExtraError`.
        """
        if isinstance(prompts, str):
            if prompts not in prompt_styles.STYLES:
                raise InputError(f"unknown prompts {prompts!r}; expected one of {', '.join(prompt_styles.STYLES)}")
            prompts = prompt_styles.STYLES[prompts]
        checkpoint = resolve(model, revision=revision)
        engine = open_engine(
            checkpoint,
            precision=precision,
            threads=threads,
            device=device,
            probes=probe_sequences(checkpoint) if precision == "fp8" else (),
        )
        embedder = cls(checkpoint, engine, prompts=prompts, max_tokens=max_tokens, truncation=truncation)
        # Another process may have another working directory.
        found = checkpoint.path.absolute() if model is not None and Path(model).expanduser().exists() else model
        embedder._loaded = {
            "model": found, "device": device, "precision": precision, "threads": threads, "revision": revision,
        }  # fmt: skip
        return embedder

    def __getstate__(self) -> dict[str, Any]:
        if self._loaded is None:
            raise InputError(
                "this Embedder was made around an engine and cannot be pickled; pickle one that Embedder.load made, or "
                "load one in the other process"
            )
        return {
            **self._loaded, "max_tokens": self.max_seq_length, "truncation": self.truncation, "prompts": self.prompts,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(type(self).load(**state).__dict__)

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        return self.engine.dim

    @property
    def precision(self) -> str:
        """What the engine computes in: `f32`, `bf16`, `f16`, `int8` or `fp8`."""
        return self.engine.precision

    @property
    def max_seq_length(self) -> int:
        """The longest sequence that the model reads, in tokens with prompt and special tokens."""
        return self.tokenizer.max_tokens

    def get_embedding_dimension(self) -> int:
        """The width of the vectors, under sentence-transformers' name."""
        return self.dim

    def encode_query(
        self,
        texts: str | Iterable[str],
        *,
        task: str | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
    ) -> Float32:
        """Vectors of search queries. `task` None is the model card's web search; see `me5.TASKS`."""
        return self._encode(texts, "query", task, report, show_progress_bar)

    def encode_document(
        self, texts: str | Iterable[str], *, report: Report | None = None, show_progress_bar: bool = False
    ) -> Float32:
        """Vectors of the texts that are searched."""
        return self._encode(texts, "document", None, report, show_progress_bar)

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        task: str | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
    ) -> Float32:
        """Vectors for symmetric use: similarity, bitext, clustering, classification. The same prompt on every text."""
        return self._encode(texts, "both", task, report, show_progress_bar)

    def stream(
        self,
        texts: Iterable[str],
        side: Side,
        *,
        task: str | None = None,
        report: Report | None = None,
        advance: Advance | None = None,
    ) -> Iterator[Float32]:
        """Vectors in input order, a block at a time, in memory that does not grow with the input.

        `advance` is called after every batch with the numbers of texts and tokens that it held.
        """
        notices = Notices(self.prompts)

        def prepare(window: tuple[int, list[str]]) -> Prepared:
            return self.prepare(window[1], side, task=task, first=window[0])

        def prepared_windows() -> Iterator[Prepared]:
            for (_, window), prepared in ahead(prepare, windows_of(texts_of(texts)), self.engine.lookahead):
                notices.add(window, prepared.report)
                yield prepared

        for prepared, vectors in vectors_of(prepared_windows(), self.engine, advance):
            if report is not None:
                report.add(prepared.report)
            yield _whole(vectors, prepared)
        notices.warn(self.max_seq_length)

    def prepare(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        task: str | None = None,
        truncation: Truncation | None = None,
        first: int = 0,
    ) -> Prepared:
        """The first half: prompt and tokenize. Errors count items from `first`."""
        prefix = self.prompts.prefix(side, task)
        return self.tokenizer.prepare(texts, prefix, truncation or self.truncation, first=first)

    def run(self, prepared: Prepared, advance: Advance | None = None) -> Float32:
        """The second half: vectors (texts, dim) of prepared texts, in input order."""
        if not prepared.sequences:
            return np.empty((0, self.dim), np.float32)
        return _whole(next(vectors_of([prepared], self.engine, advance))[1], prepared)

    @staticmethod
    def similarity(a: npt.ArrayLike, b: npt.ArrayLike) -> Float32:
        """Cosines of every vector of `a` (n, dim) with every one of `b` (m, dim): float32 (n, m).

        E5 models put them between about 0.7 and 1 (temperature 0.01 in training): only their order means something.
        """
        return cosines(a, b)

    def _encode(
        self, texts: str | Iterable[str], side: Side, task: str | None, report: Report | None, show: bool
    ) -> Float32:
        texts = texts_of(texts)
        count = len(texts) if isinstance(texts, Sized) else None
        with track(count, show=show) as advance:
            blocks = list(self.stream(texts, side, task=task, report=report, advance=advance))
        return join(blocks, self.dim)

    def __repr__(self) -> str:
        return (
            f"Embedder({self.checkpoint.name!r}, dim={self.dim}, precision={self.precision!r}, "
            f"prompts={self.prompts.style!r}, max_seq_length={self.max_seq_length})"
        )


def _whole(vectors: Float32, prepared: Prepared) -> Float32:
    """Vectors of texts from those of their sequences."""
    return vectors if len(vectors) == prepared.texts else merge_chunks(vectors, prepared)


def merge_chunks(vectors: Float32, prepared: Prepared, *, normalize: bool = True) -> Float32:
    """One vector per text: the mean of its chunks' vectors, weighted by their tokens, at unit length again."""
    lengths = np.array([len(sequence) for sequence in prepared.sequences], np.float32)
    merged = np.zeros((prepared.texts, vectors.shape[1]), np.float32)
    np.add.at(merged, prepared.owners, vectors * lengths[:, None])
    alone = np.array(prepared.report.chunks) == 1
    if normalize:
        merged = normalized(merged)
    else:
        merged /= np.bincount(prepared.owners, lengths)[:, None]
    # A text of one chunk keeps its vector to the last bit.
    merged[alone] = vectors[np.isin(prepared.owners, np.flatnonzero(alone))]
    return merged


def probe_sequences(checkpoint: Checkpoint) -> list[TokenIds]:
    """Token sequences of real texts, on which an engine measures fp8 before it uses it."""
    tokenizer = open_tokenizer(checkpoint)
    return tokenizer.prepare(probes(tokenizer.max_tokens), "", "end").sequences


def open_tokenizer(checkpoint: Checkpoint, max_tokens: int | None = None) -> Tokenizer:
    """The tokenizer of a checkpoint, with its own limit in tokens or a given one."""
    config = checkpoint.config
    if max_tokens is not None and not 3 <= max_tokens <= config.max_positions - config.first_position:
        raise InputError(
            f"max_tokens must lie between 3 and the model's {config.max_positions - config.first_position} positions, "
            f"got {max_tokens}"
        )
    tokenizer = Tokenizer(checkpoint.tokenizer, max_tokens or config.max_tokens, lower_case=config.lower_case)
    if tokenizer.vocabulary > config.vocab_size:
        raise CheckpointError(
            f"{checkpoint.path}: tokenizer.json has {tokenizer.vocabulary:,} tokens, vocab_size of config.json is "
            f"{config.vocab_size:,}; one of them belongs to another model"
        )
    return tokenizer


def unknown_prompts(name: str) -> Prompts:
    """No prompts, and a `PromptWarning` that says so."""
    warnings.warn(
        f"nothing says how {name} wants queries and documents written, so every text stays bare. If its card asks for "
        "prompts, pass prompts='instruct' (Instruct: …/Query: …) or prompts='prefix' (query: /passage: ); "
        "prompts='none' silences this",
        PromptWarning,
        stacklevel=5,
    )
    return prompt_styles.NONE
