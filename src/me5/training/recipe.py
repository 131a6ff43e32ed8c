"""recipe.toml -> settings: everything that makes a run what it is, checked before anything starts.

Paths are taken from the folder of the recipe. The defaults are the values of E5's authors, where they are published.
"""

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from me5.errors import InputError, counted

# Strict: TOML has numbers, and "100" or true in their place is a slip.
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(gt=0, strict=True)]
Share = Annotated[float, Field(ge=0.0, le=1.0, strict=True)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0, strict=True)]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)]
Rate = Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Precision = Literal["auto", "bf16", "f32"]


# Keys of `loss` that say something of vectors, and keys of `data` that say something of prompts and sides.
_OF_VECTORS = {"directions", "matryoshka", "matryoshka_weights", "negatives_of_others", "rows"}
_OF_PROMPTS = ("instructions", "prompted", "symmetric", "taught")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(_Settings):
    """A network with random weights: XLM-RoBERTa's form (`body`), or BERT's."""

    layers: Positive
    hidden: Positive
    heads: Positive
    intermediate: Positive
    body: Literal["xlm-roberta", "bert"] = "xlm-roberta"

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} cannot be divided among {self.heads} heads")
        return self


class Lora(_Settings):
    """Low-rank adapters on every matrix of the layers, all else frozen (through peft)."""

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Share = 0.0


class Network(_Settings):
    """Where the network starts: `start` is a checkpoint (folder, hub id or me5-small), or "random" with a `shape`.

    `tokenizer` is a folder with a tokenizer.json, for random weights. `prompts` is the style of prompts; left out, the
    checkpoint's own, else instruct. `dropout` left out is the checkpoint's own, or 0.1; `attention_dropout` is that of
    attention weights, the same unless given: at 0 GPUs have their fastest attention. `freeze_words` keeps the word
    table as it is.
    """

    start: str = "random"
    shape: Shape | None = None
    tokenizer: Path | None = None
    prompts: Literal["instruct", "prefix", "none"] | None = None
    max_tokens: Positive = 512
    dropout: Beta | None = None
    attention_dropout: Beta | None = None
    checkpointing: Switch = False
    freeze_words: Switch = False
    lora: Lora | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.start == "random" and (self.shape is None or self.tokenizer is None):
            raise ValueError('start = "random" needs a shape and a tokenizer')
        if self.start != "random" and (self.shape or self.tokenizer):
            raise ValueError("shape and tokenizer belong to a checkpoint; leave them out, or start from 'random'")
        if self.freeze_words and self.start == "random":
            raise ValueError("freeze_words would keep random words; start from a checkpoint")
        return self


class Data(_Settings):
    """Some examples of a dataset, and how they are put to the model.

    `sources` and `languages` choose groups (the languages of both sides must be listed); none given is all. `weight` is
    the share of this entry among all; within it a group of n examples has n ** `alpha` shares. `symmetric`: sides are
    alike, so they change places at random and carry the same instruction. `instructions`: one is drawn for each part of
    a batch, unless the query has its own; `prompted` is the share of parts that get one. Texts are cut at
    `query_tokens` and `document_tokens`; pairs with a side of more than `longest` tokens are left out. Where a share
    of the steps learns a teacher's vectors, `taught` says whether this is for those (true) or the others (false); left
    out, for all.
    """

    dataset: Path
    sources: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    weight: Weight = 1.0
    alpha: Share = 0.5
    symmetric: Switch = False
    instructions: tuple[str, ...] = ()
    prompted: Share = 1.0
    query_tokens: Positive = 128
    document_tokens: Positive = 128
    longest: Positive | None = None
    taught: Switch | None = None

    def serves(self, *, taught: bool) -> bool:
        """Whether steps of a kind draw from this."""
        return self.taught is None or self.taught == taught


class BatchSettings(_Settings):
    """`size` pairs a step in `parts` groups (1: one source and pair of languages), with `negatives` for each query.

    At most `tokens` go through the network at a time: what is beyond is done piece by piece, with the same gradients.
    """

    size: Positive = 32_768
    parts: Positive = 1
    negatives: Count = 0
    tokens: Positive = 65_536

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.size % self.parts:
            raise ValueError(f"size {self.size} cannot be divided into {self.parts} parts")
        return self


class LossSettings(_Settings):
    """What is learned, and the KL divergence to a teacher's scores beside it.

    `kind` "contrastive" trains vectors by InfoNCE. "listwise" and "binary" train a cross-encoder, which reads a query
    with its positive and with each of its hard negatives: by the softmax over that list, or by a yes or no for each
    pair. `contrastive` weighs whichever it is, `temperature` divides the logits; a cross-encoder's is 1 unless given.

    E5's second stage is distillation 1 + contrastive 0.2. `directions` "query" is query to document, "document" is
    document to query, "both" their mean. `matryoshka` lists the dimensions whose mean loss is taken, weighted by
    `matryoshka_weights` where given, the whole vector too only if listed. `student_temperature` is distillation's, left
    out the same as `temperature`. `negatives_of_others`: hard negatives count against every query of the batch,
    not their own alone. `rows` queries make a block of logits: more need more memory and change nothing else.
    """

    kind: Literal["contrastive", "listwise", "binary"] = "contrastive"
    temperature: Rate = 0.01
    directions: Literal["query", "document", "both"] = "query"
    matryoshka: tuple[Positive, ...] = ()
    matryoshka_weights: tuple[Rate, ...] = ()
    contrastive: Weight = 1.0
    distillation: Weight = 0.0
    student_temperature: Rate | None = None
    teacher_temperature: Rate = 1.0
    negatives_of_others: Switch = True
    rows: Positive = 1024

    @model_validator(mode="before")
    @classmethod
    def _of_logits(cls, written: Any) -> Any:
        """A cross-encoder's logits have no fixed length, unlike cosines: their temperature is 1."""
        ranks = isinstance(written, dict) and written.get("kind") in ("listwise", "binary")
        return {"temperature": 1.0, **written} if ranks else written

    @model_validator(mode="after")
    def _no_vectors(self) -> Self:
        odd = sorted(self.model_fields_set & _OF_VECTORS) if self.ranks else []
        if odd:
            raise ValueError(f'{", ".join(odd)}: for vectors, and kind = "{self.kind}" trains a cross-encoder, which '
                             "has none; leave out")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.contrastive == 0 and self.distillation == 0:
            raise ValueError("contrastive and distillation are both 0: there is nothing to learn")
        if self.matryoshka_weights and len(self.matryoshka_weights) != len(self.matryoshka):
            weights = counted(len(self.matryoshka_weights), "weight")
            raise ValueError(f"matryoshka_weights has {weights}, matryoshka {len(self.matryoshka)}")
        return self

    @property
    def ranks(self) -> bool:
        """Whether this trains a cross-encoder."""
        return self.kind != "contrastive"

    def weighted_dims(self, dim: int) -> list[tuple[int, float]]:
        """(dimension, its share of the loss) for vectors of `dim` dimensions, the smallest first."""
        dims = self.matryoshka or (dim,)
        weights = self.matryoshka_weights or (1.0,) * len(dims)
        return sorted((one, weight / sum(weights)) for one, weight in zip(dims, weights, strict=True))


class TeacherSettings(_Settings):
    """Learn the vectors of another model: each text is drawn to what `model` says of its query side, among `bank` more.

    The teacher reads the query side (say, English); the student reads that side in `query_share` of the cases, else the
    document side. `pull` weighs the cosine distance to the vector beside the contrast with all others. `share` of the
    steps, drawn by the seed, do this; the others contrast pairs.
    """

    model: str
    share: Share = 1.0
    query_share: Share = 0.25
    bank: Count = 0
    pull: Weight = 1.0


class OptimizerSettings(_Settings):
    """AdamW with warm-up and linear decay to zero.

    `warmup` counts steps, and is at most half of them. `words_rate` is the word table's own rate, left out the same.
    """

    rate: Rate
    words_rate: Weight | None = None
    weight_decay: Weight = 0.01
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    warmup: Count = 1000
    clip: Rate = 1.0


class EvaluationSettings(_Settings):
    """Sets that `me5 eval` reads, judged every `every` steps and at the end.

    A cross-encoder orders the best `depth` documents that the model `first` finds.
    """

    paths: tuple[Path, ...] = Field(min_length=1)
    every: Positive
    first: str = "me5-small"
    depth: Positive = 50


class Recipe(_Settings):
    """One stage of training, of so many `steps`, or of `epochs`: steps for as many examples as so many rounds have.

    `name` names its folder. The state to resume from is saved every `save_every` steps.
    """

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
    seed: Count = 0
    steps: Positive | None = None
    epochs: Rate | None = None
    precision: Precision = "auto"
    save_every: Positive = 500
    model: Network
    data: tuple[Data, ...] = Field(min_length=1)
    batch: BatchSettings = BatchSettings()
    loss: LossSettings = LossSettings()
    teacher: TeacherSettings | None = None
    optimizer: OptimizerSettings
    evaluation: EvaluationSettings | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("expected either steps or epochs")
        return self

    @model_validator(mode="after")
    def _for_a_cross_encoder(self) -> Self:
        if not self.loss.ranks:
            odd = sorted({"first", "depth"} & self.evaluation.model_fields_set) if self.evaluation else []
            if odd:
                raise ValueError(f"evaluation.{', '.join(odd)}: for a cross-encoder, and loss.kind trains vectors")
            return self
        odd = [name for name, given in (
            ("teacher", self.teacher is not None), ("model.prompts", self.model.prompts is not None),
            *((f"data.{key}", any(key in entry.model_fields_set for entry in self.data)) for key in _OF_PROMPTS),
        ) if given]  # fmt: skip
        if odd:
            raise ValueError(
                f'{", ".join(odd)}: for models that embed, and loss.kind = "{self.loss.kind}" trains a cross-encoder; '
                "leave out"
            )
        if not self.batch.negatives:
            raise ValueError(
                f'batch.negatives is 0, and loss.kind = "{self.loss.kind}" learns to tell a positive from its hard '
                "negatives; set at least 1"
            )
        return self

    @model_validator(mode="after")
    def _nothing_left_out(self) -> Self:
        if not any(entry.weight for entry in self.data):
            raise ValueError("every entry of data has the weight 0")
        if self.teacher is not None and self.teacher.share == 1 and (self.batch.negatives or self.loss.distillation):
            raise ValueError(
                "a teacher's vectors take the place of documents: batch.negatives and loss.distillation must be 0"
            )
        if self.model.freeze_words and self.optimizer.words_rate:
            raise ValueError("optimizer.words_rate is the rate of words that model.freeze_words keeps; choose one")
        for taught, steps in self.shares().items():
            if steps and not any(entry.weight for entry in self.data if entry.serves(taught=taught)):
                which = "that learn the teacher's vectors" if taught else "that contrast pairs"
                raise ValueError(f"no entry of data with a weight serves the steps {which}: look at its taught")
        return self

    def shares(self) -> dict[bool, float]:
        """The share of the steps that learn a teacher's vectors (True), and of those that contrast pairs."""
        share = 0.0 if self.teacher is None else self.teacher.share
        return {True: share, False: 1 - share}


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises `InputError` that names every wrong key and value, and suggests the right key."""
    try:
        written = tomllib.loads(path.read_text("utf-8-sig"))  # some editors write a byte order mark
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    try:
        recipe = Recipe.model_validate(written)
    except ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(_complaints(error))) from error
    return _located(recipe, path.parent)


def _located(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its paths taken from its folder."""
    data = tuple(entry.model_copy(update={"dataset": folder / entry.dataset}) for entry in recipe.data)
    changes: dict[str, Any] = {"data": data}
    model: dict[str, Any] = {}
    if recipe.model.tokenizer is not None:
        model["tokenizer"] = folder / recipe.model.tokenizer
    if (folder / recipe.model.start).is_dir():
        model["start"] = str(folder / recipe.model.start)
    changes["model"] = recipe.model.model_copy(update=model)
    if recipe.teacher is not None and (folder / recipe.teacher.model).is_dir():
        changes["teacher"] = recipe.teacher.model_copy(update={"model": str(folder / recipe.teacher.model)})
    if recipe.evaluation is not None:
        judged: dict[str, Any] = {"paths": tuple(folder / entry for entry in recipe.evaluation.paths)}
        if (folder / recipe.evaluation.first).is_dir():
            judged["first"] = str(folder / recipe.evaluation.first)
        changes["evaluation"] = recipe.evaluation.model_copy(update=judged)
    return recipe.model_copy(update=changes)


def _complaints(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            key, known = str(problem["loc"][-1]), _keys(problem["loc"][:-1])
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
            yield f"unknown key {where}; {hint}"
        elif problem["type"] == "missing":
            yield f"{where} is missing"
        elif problem["type"] == "too_short" and problem["input"]:
            continue  # its items were refused, which is told of each
        elif problem["type"] == "tuple_type":
            got, a_table = problem["input"], isinstance(problem["input"], dict)
            yield f"{where}: expected a list" + (f" of tables; write [[{where}]]" if a_table else f", got {got!r:.60}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            # The message of a table's own check names its values.
            got = "" if problem["type"] == "value_error" else f", got {problem['input']!r:.60}"
            yield f"{where}: {message}{got}" if where else message + got


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that a table of the recipe has."""
    table: type[BaseModel] = Recipe
    for name in location:
        if isinstance(name, str):
            table = _TABLES[name]
    return list(table.model_fields)


_TABLES: dict[str, type[BaseModel]] = {
    "model": Network, "shape": Shape, "lora": Lora, "data": Data, "batch": BatchSettings, "loss": LossSettings,
    "teacher": TeacherSettings, "optimizer": OptimizerSettings, "evaluation": EvaluationSettings,
}  # fmt: skip
