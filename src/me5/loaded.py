"""A checkpoint with an engine: how both are opened, copied and pickled, whatever the engine makes of sequences."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from me5.checkpoint import Checkpoint
from me5.engine import MEASURED, Precision, open_engine
from me5.engine.base import Engine
from me5.errors import InputError
from me5.preprocessor import CheckpointReader, open_tokenizer


class Loaded(CheckpointReader):
    """The base of `Embedder` and `Reranker`: a pickle holds the arguments of `load`, copies share the engine."""

    engine: Engine
    load: Callable[..., Self]
    # The arguments of `load` that the object itself does not tell; None where the engine came from elsewhere.
    _loaded: Mapping[str, Any] | None = None

    def _open(
        self,
        model: str | Path | Checkpoint | None,
        engine: Engine | None,
        max_tokens: int | None,
        *,
        device: str,
        precision: Precision,
        threads: int | None,
        revision: str | None,
    ) -> None:
        """Open the tokenizer, and the engine unless there is one."""

        def read() -> None:
            self.tokenizer = open_tokenizer(self.checkpoint, max_tokens)

        if engine is not None:
            read()
            self.engine = engine
            return
        opening = partial(open_engine, self.checkpoint, precision=precision, threads=threads, device=device)
        if precision in MEASURED:  # from real texts
            read()
            self.engine = opening(probes=self.probes().sequences)
        else:
            # A large vocabulary takes as long as compiling the graph of a small model. Begun before the graph was made,
            # it held up every step of that: 0.65 s instead of 0.45 until the bundled model is imported and loaded.
            self.engine = opening(meanwhile=read)
        # Another process may have another working directory.
        local = isinstance(model, Checkpoint) or (model is not None and Path(model).expanduser().exists())
        self._loaded = {
            "model": self.checkpoint.path.absolute() if local else model, "device": device, "precision": precision,
            "threads": threads, "revision": revision,
        }  # fmt: skip

    @property
    def precision(self) -> str:
        """What the engine computes in: `f32`, `bf16`, `f16`, `int8` or `fp8`."""
        return self.engine.precision

    def __getstate__(self) -> dict[str, Any]:
        if self._loaded is None:
            name = type(self).__name__
            raise InputError(
                f"this {name} was made around an engine and cannot be pickled; pickle one that {name}.load made, or "
                "load one in the other process"
            )
        return {**self._loaded, "max_tokens": self.max_tokens, "truncation": self.truncation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(type(self).load(**state).__dict__)

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()
