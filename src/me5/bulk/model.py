"""Which model a job runs, in a form that a manifest records and that any worker can load from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from me5.checkpoint import resolve
from me5.embedder import Embedder
from me5.engine import Precision, resolve_precision
from me5.preprocessor import Preprocessor
from me5.prompts import Prompts
from me5.tokenizer import Truncation


@dataclass(frozen=True)
class Model:
    """The arguments of `Embedder.load`. `device` and `threads` are those of one run, the rest decides the vectors."""

    model: str | None = None
    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None
    max_tokens: int | None = None
    truncation: Truncation = "end"
    prompts: str | Prompts | None = None
    truncate_dim: int | None = None
    revision: str | None = None

    def on(self, device: str, threads: int | None = None) -> "Model":
        """The same on another device."""
        return replace(self, device=device, threads=threads)

    def load(self) -> Embedder:
        """The model, ready to embed."""
        return Embedder.load(**vars(self))

    def resolved(self) -> tuple["Model", Preprocessor]:
        """The model with its path, precision and prompts in full, and its preprocessor; loads no engine."""
        checkpoint = resolve(self.model, revision=self.revision)
        preprocessor = Preprocessor(
            checkpoint, prompts=self.prompts, max_tokens=self.max_tokens, truncation=self.truncation
        )
        # Another process may have another working directory.
        local = self.model is not None and Path(self.model).expanduser().exists()
        precision: Any = resolve_precision(self.device, self.precision)
        full = replace(
            self, model=str(checkpoint.path.absolute()) if local else self.model, precision=precision,
            max_tokens=preprocessor.max_tokens, prompts=preprocessor.prompts,
        )  # fmt: skip
        return full, preprocessor

    def to_json(self) -> dict[str, Any]:
        """What decides the vectors, as JSON."""
        return {name: value for name, value in asdict(self).items() if name not in ("device", "threads")}

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any], *, device: str, threads: int | None) -> "Model":
        """A recorded model, for one run."""
        prompts = recorded["prompts"]
        return cls(**{**recorded, "prompts": prompts and Prompts(**prompts), "device": device, "threads": threads})

    @classmethod
    def of(cls, embedder: Embedder) -> "Model":
        """The model of an Embedder, in full; one around an engine of its own can be loaded nowhere else."""
        state = embedder._loaded or {"model": embedder.checkpoint.name}
        precision: Any = embedder.precision
        return cls(
            None if state["model"] is None else str(state["model"]), precision=precision, prompts=embedder.prompts,
            max_tokens=embedder.max_tokens, truncation=embedder.truncation, truncate_dim=embedder.truncate_dim,
            revision=state.get("revision"), device=state.get("device", "cpu"), threads=state.get("threads"),
        )  # fmt: skip


def fingerprint_of(preprocessor: Preprocessor, precision: str, task: str | None, truncate_dim: int | None) -> str:
    """What `Embedder.fingerprint` says, without an engine."""
    whole = Preprocessor.fingerprint(preprocessor, precision, task=task)
    return whole if truncate_dim is None else f"{whole}-{truncate_dim}"
