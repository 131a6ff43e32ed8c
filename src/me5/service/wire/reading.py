"""The fields that all dialects share: which model, which side, which task, which texts.

A side comes from `side`, from `input_type`, from TEI's `prompt_name`, or from the end of the model's name
(`me5-small:query`). Two that disagree are refused, never ranked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from me5.checkpoint import Checkpoint
from me5.errors import PromptError
from me5.prompts import SIDES, Prompts, Side
from me5.service.errors import EmptyInput, FieldError, UnknownModel, shown
from me5.tokenizer import Truncation

# What other services call a side. The last two are for symmetric use: both sides alike, behind the task of that name.
INPUT_TYPES: Mapping[str, tuple[Side, str | None]] = {
    "query": ("query", None),
    "document": ("document", None),
    "passage": ("document", None),
    "search_query": ("query", None),
    "search_document": ("document", None),
    "classification": ("both", "classification"),
    "clustering": ("both", "clustering"),
}


# A task stands in front of every text, and in a header of the reply. The longest that E5 was evaluated with has 133.
MAX_TASK_CHARS = 1000
TaskWords = Annotated[str, Field(max_length=MAX_TASK_CHARS)]


class Fields(BaseModel):
    """A request body. Fields that no one knows are let through, and named in the reply."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names of fields that had no effect."""
        return tuple(sorted(name if len(name) <= 60 else f"{name[:57]}..." for name in self.model_extra or ()))


class SideFields(Fields):
    """The fields that choose a prompt."""

    model: str | None = Field(
        None, description="The served model's name, with `:query`, `:document` or `:both` for a side."
    )
    side: Side | None = Field(None, description="How the texts are used. None of the fields: as documents.")
    task: TaskWords | None = Field(
        None, description="What queries are for: a name that /v1/tasks lists, or a sentence. Instruct models only."
    )
    input_type: str | None = Field(None, description=f"Other services' word for a side: {', '.join(INPUT_TYPES)}.")


@dataclass(frozen=True)
class Names:
    """The names by which requests may select the model; the first stands in replies."""

    known: tuple[str, ...]
    strict: bool

    @classmethod
    def of(cls, checkpoint: Checkpoint, served: Sequence[str], *, strict: bool) -> "Names":
        """The given names, the model's own, and the part of that behind the slash."""
        own = checkpoint.name
        return cls(tuple(dict.fromkeys([*served, own, own.rpartition("/")[2]])), strict)

    @property
    def served(self) -> str:
        """The name in replies."""
        return self.known[0]

    @property
    def aliases(self) -> tuple[str, ...]:
        """The served name, and the same with each side."""
        return (self.served, *(f"{self.served}:{side}" for side in SIDES))

    def split(self, name: str) -> tuple[str, Side | None]:
        """(a name, the side that it ends in). `latest`, which Ollama's clients put behind every name, is none."""
        if name not in self.known:
            name = name.removesuffix(":latest")
        base, colon, end = name.rpartition(":")
        side = next((side for side in SIDES if colon and side == end), None)
        return (name, None) if side is None or name in self.known else (base, side)

    def check(self, name: str) -> None:
        """Raise `UnknownModel` unless that is a name of the model."""
        if name not in self.known:
            raise UnknownModel(f"there is no model {shown(name)} here; this service has {', '.join(self.aliases)}")

    def warnings(self, name: str | None) -> tuple[str, ...]:
        """What to tell a caller who gave another name; raises `UnknownModel` where that is refused."""
        try:
            if name is not None:
                self.check(name)
        except UnknownModel as error:
            if self.strict:
                raise
            return (f"{error}: {self.served} answered",)
        return ()


def read_side(
    fields: SideFields, names: Names, prompts: Prompts, *, prompt_name: str | None = None, default: Side = "document"
) -> tuple[Side, str, tuple[str, ...]]:
    """(side, literal prompt, warnings) that the fields ask for. Raises `FieldError` or `UnknownModel`."""
    ended, warnings = _model_name(fields.model, names)
    named, named_task = (None, None) if prompt_name is None else _prompt_name(prompt_name, prompts)
    typed, typed_task = (None, None) if fields.input_type is None else _input_type(fields.input_type)
    sides = _given({"model": ended, "side": fields.side, "prompt_name": named, "input_type": typed})
    tasks = _given({"task": fields.task, "prompt_name": named_task})
    side = _agreed(sides, default)
    task = _agreed(tasks, None) or _implied(typed_task, prompts)
    if prompts.style == "instruct" and not sides and task is not None:
        raise FieldError(
            'a `task` needs a side: add `"side": "query"`, or `"both"` where all texts are compared with each other; '
            "documents of this model stay bare",
            "side",
        )
    try:
        prompt = prompts.prefix(side, task)
    except PromptError as error:
        raise FieldError(str(error), "prompt_name" if "prompt_name" in tasks else "task") from error
    return side, prompt, warnings


def _model_name(given: str | None, names: Names) -> tuple[Side | None, tuple[str, ...]]:
    """(the side that a model's name ends in, warnings)."""
    if given is None:
        return None, ()
    name, side = names.split(given)
    return side, names.warnings(name)


def _input_type(word: str) -> tuple[Side, str | None]:
    """(side, task) of another service's word for a side."""
    if word not in INPUT_TYPES:
        raise FieldError(f"`input_type` should be one of {', '.join(INPUT_TYPES)}, got {shown(word)}", "input_type")
    return INPUT_TYPES[word]


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _agreed(given: Mapping[str, Any], default: Any) -> Any:
    """The one value that all fields name."""
    (first, value), *others = [*given.items()] or [("", default)]
    for name, other in others:
        if other != value:
            raise FieldError(
                f"`{first}` asks for {shown(value)} and `{name}` for {shown(other)}; send one of them", name
            )
    return value


def _implied(task: str | None, prompts: Prompts) -> str | None:
    """The task of an input type, for models that have a place for it."""
    return task if prompts.style == "instruct" or task in prompts.named else None


def _prompt_name(name: str, prompts: Prompts) -> tuple[Side, str | None]:
    """(side, task) of a name that the checkpoint lists, of a side, or of a task."""
    side, task = INPUT_TYPES.get(name, ("both" if name == "both" else "query", name if name != "both" else None))
    if name in prompts.named:
        return side, name
    return side, task


# What other services call a policy: NVIDIA and Cohere in words, TEI, Ollama and Voyage by yes and no.
TRUNCATIONS: Mapping[Any, Truncation | None] = {
    "NONE": "error", "END": "end", "START": "start", False: "error", True: None,
    "end": "end", "start": "start", "chunk": "chunk", "error": "error",
}  # fmt: skip


def read_truncation(given: Mapping[str, str | bool | None], default: Truncation) -> Truncation:
    """The policy that the fields ask for, else the service's own.

    "Yes" is that too, or the end where it is to refuse.
    """
    words = {name: TRUNCATIONS[word] for name, word in given.items() if word is not None}
    policy: Truncation | None = _agreed(words, default)
    return policy or ("end" if default == "error" else default)


def read_texts(value: Any, param: str, limit: int) -> list[str]:
    """A text or a list of texts. Raises `FieldError` naming the first item that is none."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise FieldError(f"`{param}` should be a string or a list of strings, got {shown(value)}", param)
    if not value:
        raise EmptyInput(f"`{param}` is an empty list: send at least one text", param)
    if len(value) > limit:
        raise FieldError(
            f"`{param}` has {len(value):,} texts, at most {limit:,} are read at once: send it in parts", param
        )
    for index, text in enumerate(value):
        if not isinstance(text, str):
            raise FieldError(f"`{param}` should hold strings, item {index} is {shown(text)}", param)
        if not text:
            raise FieldError(f"`{param}` holds an empty string, item {index}: leave it out", param)
    return value
