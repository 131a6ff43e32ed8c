"""`manifest.json`: everything that decides what a job writes, recorded once. A resume that differs is refused."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from me5._version import __version__
from me5.bulk.inputs import absolute
from me5.bulk.source import Format, Source, source_of
from me5.bulk.table import NUMBERS, Numbers
from me5.errors import InputError
from me5.prompts import Side

FORMAT = 1
Output = Literal["parquet", "lance"]


@dataclass(frozen=True)
class Settings:
    """What a user asks of a job, beside the model: which texts, how they are meant, what is written."""

    inputs: tuple[str, ...]
    side: Side = "document"
    task: str | None = None
    format: Format | None = None
    fields: tuple[str, ...] = ()
    id_field: str | None = None
    keep: tuple[str, ...] = ()
    keep_text: bool = False
    vectors: Numbers = "f32"
    output: Output = "parquet"
    part_texts: int = 100_000

    def __post_init__(self) -> None:
        for name in ("inputs", "fields", "keep"):  # lists are welcome
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.vectors not in NUMBERS:
            raise InputError(f"unknown vectors {self.vectors!r}; expected one of {', '.join(NUMBERS)}")
        if self.output not in get_args(Output):
            raise InputError(f"unknown output {self.output!r}; expected one of {', '.join(get_args(Output))}")
        if self.part_texts < 1:
            raise InputError(f"part_texts must be at least 1, got {self.part_texts}")

    def absolute(self) -> "Settings":
        """The same from any working directory."""
        return replace(self, inputs=tuple(map(absolute, self.inputs)))

    def source(self, file: str) -> Source:
        """How one input is read. Plain text has no fields, whatever other inputs have."""
        source = source_of(file, format=self.format)
        if source.format == "text":
            return source
        return source_of(
            file, format=self.format, fields=self.fields, id_field=self.id_field, keep=self.keep
        )  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """A job as it was started. `model` is that of `Model.to_json`, `prompt` what stands before every text."""

    settings: Settings
    model: Mapping[str, Any]
    fingerprint: str
    prompt: str
    dim: int
    plan: str
    parts: int
    texts: int
    columns: Mapping[str, str]
    schema: str
    me5: str = __version__

    def to_bytes(self) -> bytes:
        """The content of `manifest.json`."""
        described: dict[str, Any] = {"format": FORMAT, **vars(self), "settings": asdict(self.settings)}
        return json.dumps(described, indent=2, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "Manifest":
        """The manifest in a file. Raises `InputError` for one of another version or that is damaged."""
        try:
            recorded = json.loads(content)
            if recorded.pop("format") != FORMAT:
                raise InputError(f"{name} was written by another version of me5; finish the job with that one")
            given: dict[str, Any] = recorded.pop("settings")
            return cls(Settings(**given), **recorded)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{name} cannot be read ({error}); it is not a manifest of a bulk job, or damaged"
            ) from error

    def arrow_schema(self) -> Any:
        """The columns of the output with their types."""
        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(b64decode(self.schema)))


def encoded_schema(schema: Any) -> str:
    """An Arrow schema as a string."""
    return b64encode(schema.serialize().to_pybytes()).decode()


def differences(before: Settings, now: Settings) -> list[str]:
    """In which settings a job differs, with both values."""
    names = [field.name for field in fields(Settings)]
    return [_differing(name, getattr(before, name), getattr(now, name)) for name in names
            if getattr(before, name) != getattr(now, name)]  # fmt: skip


def model_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In which arguments a model differs, with both values."""
    names = [name for name in before if before.get(name) != now.get(name)]
    return [_differing(name, before.get(name), now.get(name)) for name in names]


def _differing(name: str, before: object, now: object) -> str:
    def shown(value: object) -> str:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return " ".join(map(str, value)) or "none"
        return "none" if value is None else str(value)

    return f"{name} ({shown(before)} then, {shown(now)} now)"
