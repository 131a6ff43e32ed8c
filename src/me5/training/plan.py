"""What a recipe will need, before anything starts: memory by part, tokens, hours, and how many texts are truncated.

Sizes are counted, activations and speed are measured on one small mini-batch of the run's own lengths and scaled by
tokens, so they are estimates: a step's longest sequences, and a machine that others use, can move them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from me5.data.dataset import Dataset
from me5.data.relations import POSITIVE, number_relations
from me5.errors import InputError
from me5.training import distributed
from me5.training.loop import open_batches, open_entries
from me5.training.measuring import free_memory, measure_encoder, measure_loss, measure_optimizer
from me5.training.precision import resolve
from me5.training.recipe import Data, Recipe
from me5.training.start import Start, start
from me5.training.tokens import is_built, store_folder

Lengths = npt.NDArray[np.int64]

_SAMPLED_TEXTS = 2000  # of each side of a dataset, before its token ids are stored
_LOOKED_AT_STEPS = 3
_FLOAT = 4


@dataclass(frozen=True)
class Workload:
    """What a step costs this process: lengths of some steps' sequences (n,) with all special tokens and prompts.

    `queries` and `documents` count the vectors of all processes, `texts` and `cut` the texts of all entries of data.
    `making`: seconds to put a batch together, 0 where it is not known. `sampled`: estimated from the first
    texts of each dataset, whose token ids are not stored yet.
    """

    lengths: Lengths
    tokens: float
    queries: int
    documents: int
    steps: int
    texts: int
    cut: int
    making: float
    sampled: bool


@dataclass(frozen=True)
class TrainingPlan:
    """What a run needs: bytes by part, bytes that the device has free, seconds of a step by part."""

    parameters: int
    trained: int
    device: str
    memory: dict[str, int]
    available: int | None
    seconds: dict[str, float]
    workload: Workload

    @property
    def fits(self) -> bool:
        """Whether the parts together are no more than what is free, as far as that is known."""
        return self.available is None or sum(self.memory.values()) <= self.available

    @property
    def hours(self) -> float:
        """Of the whole run, without evaluations."""
        return sum(self.seconds.values()) * self.workload.steps / 3600


def make_plan(recipe: Recipe, cache: Path, *, tell: Callable[[str], None] = lambda _: None) -> TrainingPlan:
    """Load the network and measure; nothing is written, no token ids are stored and no teacher is loaded.

    `tell` is called with each part of the work before it begins, in words.
    """
    device = distributed.start()
    tell("loading the network")
    begun = start(recipe.model, recipe.seed, ranks=recipe.loss.ranks)
    encoder = begun.encoder.to(device)
    tell("reading texts of each dataset")
    workload = _stored(recipe, begun, cache) if _all_built(recipe, begun, cache) else _sampled(recipe, begun)
    everything = sum(parameter.numel() for parameter in encoder.parameters())
    trained = sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad)
    matrices = sum(parameter.numel() for parameter in encoder.layers.parameters() if parameter.ndim == 2)
    width = encoder.config.hidden_size
    tell(f"measuring how fast {device} reads and learns")
    token = measure_encoder(recipe, encoder, workload.lengths, device)
    tell("measuring the loss and an update")
    loss_memory, loss_seconds, kept = 0, 0.0, 1  # of a number for each pair
    if not recipe.loss.ranks:
        loss_memory, loss_seconds = measure_loss(recipe.loss, workload.queries, workload.documents, width, device)
        kept = width
    pieces = max(ceil(workload.tokens / recipe.batch.tokens), 1)
    memory = {
        "weights": _FLOAT * everything + (2 * matrices if resolve(recipe.precision, device) == "bf16" else 0),
        "gradients": _FLOAT * trained,
        "moments": 2 * _FLOAT * trained,
        "activations": round(token.kept * min(workload.tokens, recipe.batch.tokens)),
        "vectors": 2 * _FLOAT * kept * (workload.queries + workload.documents),
        "loss": loss_memory,
    }
    seconds = {
        "batch": workload.making,
        "forward": workload.tokens * token.forward * (2 - 1 / pieces),  # once more for all pieces but the last
        "backward": workload.tokens * token.backward,
        "loss": loss_seconds / distributed.world(),
        "optimizer": measure_optimizer(recipe.optimizer, trained, device),
    }
    return TrainingPlan(everything, trained, str(device), memory, free_memory(device), seconds, workload)


def _all_built(recipe: Recipe, begun: Start, cache: Path) -> bool:
    """Whether all token ids are stored. A teacher's vectors come with them, and no teacher is loaded here."""
    folders = (
        store_folder(Dataset.open(data.dataset), begun.tokenizer_file, begun.tokenizer, cache) for data in recipe.data
    )
    return recipe.teacher is None and all(map(is_built, folders))


def _stored(recipe: Recipe, begun: Start, cache: Path) -> Workload:
    """The workload of the first steps, from the stored token ids."""
    entries = open_entries(recipe, begun, cache, advance=lambda texts, tokens: None)  # noqa: ARG005
    batches, steps = open_batches(recipe, begun, entries)
    began = time.perf_counter()
    looked_at = [batches.make(step) for step in range(min(_LOOKED_AT_STEPS, steps))]
    making = (time.perf_counter() - began) / len(looked_at)
    lengths = [len(sequence) for batch in looked_at for sequence in (*batch.queries, *batch.documents)]
    texts = cut = 0
    for entry in entries:
        rows = np.concatenate([rows for _, rows in entry.members])
        pairs = entry.store.pairs[rows]
        sides = (
            (np.unique(entry.store.queries[pairs[:, 0], 0]), entry.data.query_tokens),
            (np.unique(pairs[:, 1]), entry.data.document_tokens),
        )
        for side, limit in sides:
            texts += len(side)
            cut += _cut(entry.store.lengths(side), limit, begun)
    return Workload(
        np.array(lengths, np.int64), sum(batch.tokens for batch in looked_at) / len(looked_at),
        queries=looked_at[0].targets.queries, documents=looked_at[0].targets.documents,
        steps=steps, texts=texts, cut=cut, making=making, sampled=False,
    )  # fmt: skip


def _sampled(recipe: Recipe, begun: Start) -> Workload:
    """The workload as estimated from the first texts of each dataset, whatever their source and language."""
    rng = np.random.default_rng(recipe.seed)
    weights = np.array([data.weight for data in recipe.data]) / sum(data.weight for data in recipe.data)
    pairs = max(recipe.batch.size // distributed.world(), 1)
    lengths: list[Lengths] = []
    texts = cut = positives = 0
    negatives = 0.0
    for data, weight in zip(recipe.data, weights, strict=True):
        dataset = Dataset.open(data.dataset)
        chosen = _chosen(dataset, data)
        positives += chosen
        share = chosen / dataset.counts["positive"]
        beside = min(recipe.batch.negatives, dataset.counts["negative"] / dataset.counts["queries"])
        negatives += weight * beside
        queries, documents = _first(dataset, begun)
        for side, limit, table in (
            (queries, data.query_tokens, "queries"), (documents, data.document_tokens, "documents"),
        ):  # fmt: skip
            texts += round(share * dataset.counts[table])
            cut += round(share * dataset.counts[table] * _cut(side, limit, begun) / len(side))
        count = max(round(weight * pairs), 1)
        lengths += _drawn(recipe, begun, data, (queries, documents), (count, round(count * (1 + beside))), rng)
    together = np.concatenate(lengths)
    return Workload(
        together, float(together.sum()), queries=recipe.batch.size,
        documents=round(recipe.batch.size * (1 + negatives)) + (recipe.teacher.bank if recipe.teacher else 0),
        steps=recipe.steps or ceil((recipe.epochs or 0) * positives / recipe.batch.size),
        texts=texts, cut=cut, making=0.0, sampled=True,
    )  # fmt: skip


def _chosen(dataset: Dataset, data: Data) -> int:
    """How many pairs an entry chooses by source and language. Raises `InputError` where there are none."""
    count = dataset.counts["positive"]
    if data.sources is not None or data.languages is not None:
        relations = number_relations(dataset)
        chosen = relations.kinds == POSITIVE
        if data.sources is not None:
            chosen &= np.array([name in data.sources for name in relations.source_names], bool)[relations.sources]
        if data.languages is not None:
            wanted = np.array(data.languages, np.str_)
            chosen &= np.isin(dataset.languages("queries"), wanted)[relations.queries]
            chosen &= np.isin(dataset.languages("documents"), wanted)[relations.documents]
        count = int(chosen.sum())
    if not count:
        raise InputError(f"{data.dataset} has no pair that fits sources and languages of its entry")
    return count


def _first(dataset: Dataset, begun: Start) -> tuple[Lengths, Lengths]:
    """The lengths of a dataset's first queries and documents, without special tokens."""
    queries = [query.text for query in islice(dataset.queries(), _SAMPLED_TEXTS)]
    documents = [document.whole for document in islice(dataset.documents(), _SAMPLED_TEXTS)]
    first, second = (
        np.array([len(ids) for ids, _ in begun.tokenizer.bare(texts)], np.int64) for texts in (queries, documents)
    )
    return first, second


def _drawn(
    recipe: Recipe,
    begun: Start,
    data: Data,
    sides: tuple[Lengths, Lengths],
    counts: tuple[int, int],
    rng: np.random.Generator,
) -> list[Lengths]:
    """The lengths of so many queries and documents of an entry as sequences."""
    count, found = counts
    frame = sum(map(len, begun.tokenizer.frame))
    prefix = _prefix_tokens(begun, data)
    both = prefix if data.symmetric else 0

    def sequences(lengths: Lengths, limit: int, before: int, wanted: int) -> Lengths:
        cut: Lengths = np.minimum(rng.choice(lengths, wanted), limit) + before + frame
        return np.minimum(cut, recipe.model.max_tokens)

    if recipe.teacher is not None:
        read = round(count * recipe.teacher.query_share)
        documents = sequences(sides[1], data.document_tokens, prefix, count - read)
        return [sequences(sides[0], data.query_tokens, prefix, read), documents]
    if recipe.loss.ranks:
        special = begun.tokenizer.pair_frame().special
        asked = np.repeat(np.minimum(rng.choice(sides[0], count), data.query_tokens), ceil(found / count))[:found]
        return [asked + np.minimum(rng.choice(sides[1], found), data.document_tokens) + special]
    documents = sequences(sides[1], data.document_tokens, both, found)
    return [sequences(sides[0], data.query_tokens, prefix, count), documents]


def _prefix_tokens(begun: Start, data: Data) -> int:
    """The tokens of a prompt, on average."""
    style = begun.prompts.style
    if style == "instruct":
        prompts = [begun.prompts.prefix("query", sentence) for sentence in data.instructions]
    else:
        prompts = [begun.prompts.prefix("both" if data.symmetric else "query")]
    prompts = [prompt for prompt in prompts if prompt.strip()]
    if not prompts:
        return 0
    mean = float(np.mean([len(ids) for ids, _ in begun.tokenizer.bare(prompts)]))
    return round(mean * (data.prompted if style == "instruct" else 1.0))


def _cut(lengths: Lengths, limit: int, begun: Start) -> int:
    """How many texts are truncated. One that fills all places of the model counts too: a prompt would truncate it."""
    room = begun.tokenizer.max_tokens - sum(map(len, begun.tokenizer.frame))
    return int((lengths > limit).sum() if limit < room else (lengths >= room).sum())
