"""What a store remembers of the model that its vectors came from, so that no other is ever compared with them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from me5 import catalog, fingerprint
from me5.checkpoint import BUNDLED_FILE, Checkpoint
from me5.errors import InputError, StoreError
from me5.fingerprint import comparable
from me5.preprocessor import Preprocessor
from me5.prompts import Side

# 1 called files by their absolute paths, 1 and 2 had no column of words; the next run of `me5 index` mends both.
FORMAT, _FORMATS = 3, (1, 2, 3)
_TYPES: Mapping[str, type] = {"prompts": dict, "dim": int, "passage_tokens": int, "format": int}
_SIDES: tuple[Side, ...] = ("query", "document")


@dataclass(frozen=True)
class StoreSettings:
    """How a store was made.

    `model` is a name that `Embedder.load` takes, `fingerprint` the hash of its files, `prompts` the texts in front of
    queries and documents. `passage_tokens` is the longest passage.
    """

    model: str
    fingerprint: str
    prompts: Mapping[str, str]
    precision: str
    dim: int
    passage_tokens: int
    format: int = FORMAT

    @classmethod
    def of(cls, model: Preprocessor, precision: str, *, passage_tokens: int) -> "StoreSettings":
        """The settings of a new store for the vectors of a model; `precision` is what its engine computes in."""
        return cls(
            model=_loadable(model.checkpoint),
            fingerprint=fingerprint.of_checkpoint(model.checkpoint),
            prompts={side: model.prompts.prefix(side) for side in _SIDES},
            precision=precision,
            dim=model.dim,
            passage_tokens=passage_tokens,
        )

    def to_json(self) -> str:
        """As the store keeps it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "StoreSettings":
        """Raises `InputError` for a store of a newer me5, `StoreError` for settings that are damaged."""
        try:
            content: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"the settings of this store are damaged ({error})") from error
        if isinstance(content, dict) and content.get("format") not in _FORMATS:
            raise InputError(f"a store of format {content.get('format')}, this me5 reads {FORMAT}; update me5")
        if isinstance(content, dict):
            content.pop("quantization", None)  # of stores from before there was one kind of index
        kinds = {field.name: _TYPES.get(field.name, str) for field in fields(cls)}
        wrong = [
            name for name, kind in kinds.items() if not isinstance(content, dict) or type(content.get(name)) is not kind
        ]
        if wrong or set(content) != set(kinds):
            odd = ", ".join(wrong or sorted(set(content) - set(kinds)))
            raise StoreError(f"the settings of this store are damaged ({odd})")
        settings = cls(**content)
        if not (settings.dim > 0 and settings.passage_tokens > 0):
            raise StoreError("the settings of this store are damaged (dim or passage_tokens)")
        return settings

    @property
    def trusted(self) -> bool:
        """Whether the model may be loaded because the store says so: not if it would come from somewhere on the hub."""
        if self.model.lower() == catalog.BUNDLED or catalog.find(self.model) is not None:
            return True
        folder = Path(self.model).expanduser()
        return folder.exists() or folder.is_absolute()

    def check(self, model: Preprocessor, precision: str) -> None:
        """Raise `InputError` unless vectors of this model at this precision can be compared with those in the store."""
        self.check_same(StoreSettings.of(model, precision, passage_tokens=self.passage_tokens))

    def check_same(self, came: "StoreSettings") -> None:
        """Raise `InputError` unless the model of these settings makes vectors that compare with those in the store."""
        if came.fingerprint != self.fingerprint or came.dim != self.dim:
            raise InputError(
                f"this store was made with {self.model} (weights {self.fingerprint[:12]}), got {came.model} (weights "
                f"{came.fingerprint[:12]}); vectors of two models cannot be compared. Leave the model out, or migrate "
                "the store to it (`me5 index migrate`)"
            )
        if came.prompts != self.prompts:
            raise InputError(
                f"this store was made with the prompts {dict(self.prompts)}, got {dict(came.prompts)}; use the same, "
                "or migrate the store (`me5 index migrate`)"
            )
        if not comparable(came.precision, self.precision):
            raise InputError(
                f"this store was made at precision {self.precision}, got {came.precision}; use the same, or migrate "
                "the store (`me5 index migrate`)"
            )


def _loadable(checkpoint: Checkpoint) -> str:
    """The bundled name or hub id; a folder by its full path."""
    local = checkpoint.path != BUNDLED_FILE and checkpoint.name in (checkpoint.path.name, checkpoint.path.stem)
    return str(checkpoint.path.resolve()) if local else checkpoint.name
