"""Embedder: texts in, unit vectors out. The whole inference path as one object: a preprocessor and an engine.

    prepare   texts → prompts → token ids (and the report)
    run       token ids → engine → vectors in input order

`encode_query`, `encode_document` and `encode` do both for input of any length, a window of texts at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from me5.checkpoint import Checkpoint, resolve
from me5.engine import Precision, open_engine
from me5.engine.base import Engine
from me5.errors import InputError
from me5.flow import ahead, vectors_of, windows_of
from me5.notices import Notices
from me5.preprocessor import Preprocessor
from me5.progress import Advance, track
from me5.prompts import Prompts, Side
from me5.texts import texts_of
from me5.tokenizer import Prepared, Report, Truncation
from me5.vectors import Float32, cosines, join


class Embedder(Preprocessor):
    """A model, ready to embed.

        embedder = Embedder.load("intfloat/multilingual-e5-large-instruct")
        scores = embedder.similarity(embedder.encode_query(["how tall is K2?"]), embedder.encode_document(["8,611 m"]))

    All `encode` methods take one string or any iterable of strings, and return float32 unit vectors of shape (n, dim)
    in input order. Safe to call from several threads; not after a fork (load in the child instead). A pickle holds the
    arguments of `load`, and loads the model again elsewhere; copies share the engine.
    """

    # The arguments of `load`, for a pickle; None where the engine came from elsewhere.
    _loaded: Mapping[str, Any] | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: Engine,
        *,
        prompts: str | Prompts | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
    ) -> None:
        super().__init__(checkpoint, prompts=prompts, max_tokens=max_tokens, truncation=truncation)
        self.engine = engine

    @classmethod
    def of(cls, preprocessor: Preprocessor, engine: Engine) -> Self:
        """An Embedder that shares the tokenizer and the settings of a preprocessor."""
        made = object.__new__(cls)
        made.__dict__.update(preprocessor.__dict__, engine=engine)
        return made

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
        checkpoint = resolve(model, revision=revision)
        preprocessor = Preprocessor(checkpoint, prompts=prompts, max_tokens=max_tokens, truncation=truncation)
        engine = open_engine(
            checkpoint,
            precision=precision,
            threads=threads,
            device=device,
            probes=preprocessor.probes().sequences if precision == "fp8" else (),
        )
        embedder = cls.of(preprocessor, engine)
        # Another process may have another working directory.
        source = checkpoint.path.absolute() if model is not None and Path(model).expanduser().exists() else model
        embedder._loaded = {
            "model": source, "device": device, "precision": precision, "threads": threads, "revision": revision,
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

    def with_prompts(self, prompts: Prompts) -> Self:
        """The same model with other prompts; tokenizer and engine are shared."""
        other = self.__copy__()
        other.prompts = prompts
        return other

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
        return self.max_tokens

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
            yield self.merge(vectors, prepared)
        notices.warn(self.max_seq_length)

    def run(self, prepared: Prepared, advance: Advance | None = None) -> Float32:
        """Vectors (texts, dim) of prepared texts, in input order."""
        if not prepared.sequences:
            return np.empty((0, self.dim), np.float32)
        return self.merge(next(vectors_of([prepared], self.engine, advance))[1], prepared)

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
