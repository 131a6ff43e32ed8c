"""Embedder: texts in, unit vectors out. The whole inference path as one object: a preprocessor and an engine.

    prepare   texts → prompts → token ids (and the report)
    run       token ids → engine → vectors in input order

`encode_query`, `encode_document` and `encode` do both for input of any length, a window of texts at a time.
"""

import warnings
from collections.abc import Iterable, Iterator, Sized
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from me5.checkpoint import Checkpoint, resolve
from me5.engine import Precision
from me5.engine.base import Engine
from me5.errors import InputError, Me5Warning, caller
from me5.flow import ahead, vectors_of, windows_of
from me5.loaded import Loaded
from me5.notices import Notices
from me5.prepared import Prepared, Report
from me5.preprocessor import Preprocessor, choose_prompts
from me5.progress import Advance, track
from me5.prompts import Prompts, Side
from me5.quantization import Form, Rows, check_form, quantized, shortened
from me5.texts import texts_of
from me5.tokenizer import Truncation
from me5.vectors import Float32, cosines, join, paired_cosines

if TYPE_CHECKING:
    from me5.calibration.applied import Calibration
    from me5.calibration.curve import Floats


class Embedder(Loaded, Preprocessor):
    """A model, ready to embed.

        embedder = Embedder.load("intfloat/multilingual-e5-large-instruct")
        scores = embedder.similarity(embedder.encode_query(["how tall is K2?"]), embedder.encode_document(["8,611 m"]))

    All `encode` methods take one string or any iterable of strings, and return float32 unit vectors of shape (n, dim)
    in input order; `truncate_dim` cuts them, and `precision` gives them in a form of `quantization`. Safe to call from
    several threads; not after a fork (load in the child instead). A pickle holds the arguments of `load`, and loads the
    model again elsewhere; copies share the engine.
    """

    # One that was given; else that beside the checkpoint, with what it was looked up for.
    _calibration: "Calibration | None" = None
    _beside: "tuple[tuple[str, int], Calibration | None] | None" = None

    def __init__(
        self,
        model: str | Path | Checkpoint | None = None,
        engine: Engine | None = None,
        *,
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
        prompts: str | Prompts | None = None,
        truncate_dim: int | None = None,
        revision: str | None = None,
    ) -> None:
        """The same as `load`; or a checkpoint around an engine that is open already."""
        checkpoint = model if isinstance(model, Checkpoint) else resolve(model, revision=revision)
        self._settle(checkpoint, max_tokens, truncation)
        self.prompts = choose_prompts(prompts, checkpoint.prompts, checkpoint.name)
        self.truncate_dim = truncate_dim
        self.check_dim(truncate_dim)
        self._open(
            model, engine, max_tokens, device=device, precision=precision, threads=threads, revision=revision
        )  # fmt: skip

    @classmethod
    def of(cls, preprocessor: Preprocessor, engine: Engine) -> Self:
        """An Embedder that shares the tokenizer and the settings of a preprocessor."""
        made = object.__new__(cls)
        made.__dict__.update(preprocessor.__dict__, engine=engine, truncate_dim=None)
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
        truncate_dim: int | None = None,
        revision: str | None = None,
    ) -> "Embedder":
        """Load the bundled model (None), a folder, a GGUF file, or a hub id.

        `device` is `cpu`, `cuda` (every visible GPU), `cuda:N`, or `torch-cpu` (what a GPU computes, slowly).
        `precision` is `f32`, `bf16`, `int8` (CPU), `f16`, `fp8` (GPU) or `auto`: bf16 where the hardware has it, else
        f32 (CPU) or f16 (GPU). `threads` None uses every core that there is for this process. `prompts` overrides what
        is known of the model: `instruct`, `prefix`, `none`, or a `Prompts`. `truncate_dim` keeps the first so many
        numbers of every vector. Raises `CheckpointError`, `DownloadError`, `EngineError`, `InputError` or, without
        torch, `MissingExtraError`.
        """
        return cls(
            model, device=device, precision=precision, threads=threads, max_tokens=max_tokens, truncation=truncation,
            prompts=prompts, truncate_dim=truncate_dim, revision=revision,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        own = {"prompts": self.prompts, "truncate_dim": self.truncate_dim, "calibration": self._calibration}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        given = {**state}
        calibration = given.pop("calibration", None)
        super().__setstate__(given)
        self._calibration = calibration

    def with_prompts(self, prompts: Prompts) -> Self:
        """The same model with other prompts; tokenizer and engine are shared."""
        other = self.__copy__()
        other.prompts = prompts
        return other

    @property
    def dim(self) -> int:
        """The width of the vectors: the model's, or `truncate_dim`."""
        return self.truncate_dim or self.engine.dim

    @property
    def max_seq_length(self) -> int:
        """The longest sequence that the model reads, in tokens with prompt and special tokens; can be set."""
        return self.max_tokens

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self.max_tokens = value

    def fingerprint(self, precision: str, *, task: str | None = None) -> str:
        """See `Preprocessor.fingerprint`; vectors that are cut have another one."""
        whole = super().fingerprint(precision, task=task)
        return whole if self.truncate_dim is None else f"{whole}-{self.truncate_dim}"

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
        truncate_dim: int | None = None,
        precision: Form = "float32",
    ) -> Rows:
        """Vectors of search queries. `task` None is the model card's web search; see `me5.TASKS`."""
        return self._encode(texts, "query", task, report, show_progress_bar, truncate_dim, precision)

    def encode_document(
        self,
        texts: str | Iterable[str],
        *,
        report: Report | None = None,
        show_progress_bar: bool = False,
        truncate_dim: int | None = None,
        precision: Form = "float32",
    ) -> Rows:
        """Vectors of the texts that are searched."""
        return self._encode(texts, "document", None, report, show_progress_bar, truncate_dim, precision)

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        task: str | None = None,
        report: Report | None = None,
        show_progress_bar: bool = False,
        truncate_dim: int | None = None,
        precision: Form = "float32",
    ) -> Rows:
        """Vectors for symmetric use: similarity, bitext, clustering, classification. The same prompt on every text."""
        return self._encode(texts, "both", task, report, show_progress_bar, truncate_dim, precision)

    def stream(
        self,
        texts: Iterable[str],
        side: Side,
        *,
        task: str | None = None,
        report: Report | None = None,
        advance: Advance | None = None,
        seconds: float = inf,
    ) -> Iterator[Float32]:
        """Vectors in input order, a block at a time, in memory that does not grow with the input.

        `advance` is called after every batch with the numbers of texts and tokens that it held. Where texts are slow to
        embed, `seconds` keeps blocks so short that each takes about that long.
        """
        notices = Notices(self.prompts)

        def prepare(window: tuple[int, list[str]]) -> Prepared:
            return self.prepare(window[1], side, task=task, first=window[0])

        def prepared_windows() -> Iterator[Prepared]:
            windows = windows_of(texts_of(texts), seconds=seconds)
            for (_, window), prepared in ahead(prepare, windows, self.engine.lookahead):
                notices.add(window, prepared.report)
                yield prepared

        for prepared, vectors in vectors_of(prepared_windows(), self.engine, advance):
            if report is not None:
                report.add(prepared.report)
            yield shortened(self.merge(vectors, prepared), self.truncate_dim)
        notices.warn(self.max_seq_length)

    def run(self, prepared: Prepared, advance: Advance | None = None) -> Float32:
        """Vectors (texts, dim) of prepared texts, in input order."""
        if not prepared.sequences:
            return np.empty((0, self.dim), np.float32)
        return shortened(self.merge(next(vectors_of([prepared], self.engine, advance))[1], prepared), self.truncate_dim)

    @staticmethod
    def similarity(a: npt.ArrayLike, b: npt.ArrayLike) -> Float32:
        """Cosines of every vector of `a` (n, dim) with every one of `b` (m, dim): float32 (n, m).

        E5 models put them between about 0.7 and 1 (temperature 0.01 in training): only their order means something,
        until `probability` says what a cosine means.
        """
        return cosines(a, b)

    @staticmethod
    def similarity_pairwise(a: npt.ArrayLike, b: npt.ArrayLike) -> Float32:
        """Cosines of each vector of `a` (n, dim) with the one of `b` (n, dim) in the same place: float32 (n,)."""
        return paired_cosines(a, b)

    @property
    def calibration(self) -> "Calibration | None":
        """What `probability` goes by: the one beside the checkpoint, unless another is set; None where there is none.

        Raises `CalibrationError` for one of another model, of other vectors of this one, and where such a one is set.
        """
        from me5.calibration import stored

        if self._calibration is not None:
            return self._calibration
        wanted = (self.precision, self.dim)
        if self._beside is None or self._beside[0] != wanted:
            self._beside = (wanted, stored.beside(self.checkpoint, *wanted))
        return self._beside[1]

    @calibration.setter
    def calibration(self, calibration: "Calibration | str | Path | None") -> None:
        from me5.calibration.applied import Calibration
        from me5.calibration.bound import Vectors

        if isinstance(calibration, str | Path):
            calibration = Calibration.read(calibration)
        if calibration is not None:
            calibration.vectors.check(Vectors.of(self.checkpoint, self.precision, self.dim))
        self._calibration = calibration

    @property
    def calibration_is_general(self) -> bool:
        """Whether `calibration` is that of the bundled model itself, which searches tell only where asked to."""
        from me5.calibration import stored

        return self._calibration is None and stored.is_general(self.checkpoint)

    def probability(
        self, scores: npt.ArrayLike, *, task: str | None = None, symmetric: bool = False, prior: float | None = None
    ) -> "Floats":
        """The probability that each pair belongs together, from its cosine: float64 in the shape of `scores`.

        It is that of pairs like those which `calibration` was made of, and never falls as scores rise. `task` is the
        one of the queries, `symmetric` says that both texts are from `encode`. `prior` is the share of relevant pairs
        among those that are looked at, None that of the calibration. Raises `InputError` where there is no calibration,
        `CalibrationError` where it is for another model, task or side, and where it measures against the other passages
        of a question and `scores` are not (questions, passages) with at least 100 of these (docs/calibration.md).
        """
        from me5.calibration import stored
        from me5.calibration.bound import Sides

        calibration = self.calibration
        if calibration is None:
            raise stored.none_there(self.checkpoint)
        calibration.sides.check(Sides.of(self.prompts, task, symmetric=symmetric))
        return calibration.with_prior(prior).probability(scores)

    def check_dim(self, dim: int | None) -> None:
        """Raise `InputError` for vectors that this model cannot be cut to; warn where it was not trained for them."""
        width, trained = self.checkpoint.config.hidden_size, self.checkpoint.matryoshka
        if dim is None or dim == width:
            return
        if not 1 <= dim <= width:
            raise InputError(f"truncate_dim must lie between 1 and the model's {width} dimensions, got {dim}")
        if dim not in trained:
            warnings.warn(
                f"{self.checkpoint.name} was not trained for vectors of {dim} dimensions "
                f"({', '.join(map(str, trained)) or 'none shorter'} than its {width}): measure what they cost, with "
                "`me5 eval speed --dim`",
                Me5Warning,
                stacklevel=caller(),
            )

    def _encode(
        self,
        texts: str | Iterable[str],
        side: Side,
        task: str | None,
        report: Report | None,
        show: bool,
        truncate_dim: int | None,
        precision: Form,
    ) -> Rows:
        texts = texts_of(texts)
        check_form(precision)
        self.check_dim(truncate_dim)
        count = len(texts) if isinstance(texts, Sized) else None
        with track(count, show=show) as advance:
            blocks = [
                quantized(shortened(block, truncate_dim), precision)
                for block in self.stream(texts, side, task=task, report=report, advance=advance)
            ]
        blocks = blocks or [quantized(np.empty((0, min(truncate_dim or self.dim, self.dim)), np.float32), precision)]
        return join(blocks, blocks[0].shape[1])

    def __repr__(self) -> str:
        return (
            f"Embedder({self.checkpoint.name!r}, dim={self.dim}, precision={self.precision!r}, "
            f"prompts={self.prompts.style!r}, max_seq_length={self.max_seq_length})"
        )
