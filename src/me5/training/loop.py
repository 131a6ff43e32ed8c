"""The loop: batch, vectors, loss, gradients, update; log, save, evaluate; resume."""

import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil, isfinite
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.data.dataset import Dataset
from me5.data.vectors import Vectors
from me5.errors import Me5Warning, TrainingError
from me5.model.encoder import Encoder
from me5.model.folder import save
from me5.model.sequences import Sequences
from me5.progress import Advance
from me5.training import distributed
from me5.training.batches import Batches, Entry, chosen
from me5.training.evaluate import Judge, open_judge
from me5.training.feeding import Chunked, Feed
from me5.training.gradcache import cached_step
from me5.training.loss import contrastive_loss
from me5.training.optimizer import open_optimizer, set_rates
from me5.training.precision import autocast
from me5.training.ranking import ranking_loss
from me5.training.recipe import Recipe
from me5.training.run import Run
from me5.training.start import Start, merged, start
from me5.training.state import load_state, save_state
from me5.training.targets import Targets
from me5.training.teacher import open_vectors
from me5.training.tokens import Ids, TokenStore, open_store

Figures = dict[str, float]


@dataclass(frozen=True)
class Step:
    """The figures of a step. `step` counts from 1; `tokens` are those of all processes, `seconds` those of this one."""

    step: int
    loss: float
    contrastive: float
    distillation: float
    accuracy: float
    positive_score: float
    rate: float
    norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Judgement:
    """The evaluation after a step: main scores by type and set."""

    step: int
    evaluation: dict[str, float]


class Trainer:
    """Trains a recipe: `fit` runs to the end."""

    def __init__(self, recipe: Recipe, cache: Path, *, advance: Advance, workers: int | None = None) -> None:
        """Reads data and weights; nothing is trained yet. Token ids and teacher's vectors are stored below `cache`.

        `workers` processes make batches ahead; None is none on a CPU, and one per core for a GPU.
        """
        self.recipe, self.device, self.workers = recipe, distributed.start(), workers
        self.judge: Judge | None = None
        if recipe.evaluation is not None and distributed.rank() == 0:
            self.judge = open_judge(recipe.evaluation, device=str(self.device), ranks=recipe.loss.ranks)
        self.start: Start = start(recipe.model, recipe.seed, ranks=recipe.loss.ranks)
        self.encoder: Encoder = self.start.encoder.to(self.device)
        self.entries = open_entries(recipe, self.start, cache, advance=advance, device=str(self.device))
        batches, self.steps = open_batches(recipe, self.start, self.entries)
        self.feed = Feed(batches, recipe.batch.tokens, self.encoder.config.first_position)
        self._fuse()
        self.optimizer = open_optimizer(self.encoder, recipe.optimizer)
        distributed.broadcast(self.encoder.parameters())

    def fit(
        self,
        run: Run,
        *,
        observe: Callable[[Step | Judgement], None],
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end, resuming from the last saved state if there is one; the result is the run's `model` folder.

        False if `asked_to_stop` ended it before, with the step finished and the state saved; it is enough if it returns
        True in one process. The first process logs and observes. Raises `TrainingError` where a loss is not finite.
        """
        done = self._resume(run)

        def report(entry: Step | Judgement) -> None:
            if distributed.rank() == 0:
                run.log(asdict(entry))
                observe(entry)

        with closing(run):
            # A run that was stopped between saving and this; what the first process sees, all do.
            if self._judged_after(done) and not distributed.gather_objects(run.judged(done).exists())[0]:
                self._evaluate(run, done, report)
            source = self.feed.ahead(range(done, self.steps), self.device, self.workers)
            for step in range(done, self.steps):
                report(self.step(step, source))
                ended = step + 1 == self.steps
                stopping = not ended and bool(distributed.sum_in_place(torch.tensor(int(asked_to_stop()))))
                if ended or stopping or (step + 1) % self.recipe.save_every == 0:
                    self._keep(run, step + 1)
                if stopping:
                    return False
                if self._judged_after(step + 1):
                    self._evaluate(run, step + 1, report)
            if distributed.rank() == 0:
                self.save(run.model)
            distributed.barrier()
        return True

    def step(self, step: int, source: Iterator[Chunked]) -> Step:
        """One update, with the next batch of a source (`Feed.ahead`).

        Raises `TrainingError` that names step and data where the loss is not a finite number.
        """
        began = time.perf_counter()
        # So dropout follows from seed, step and process, wherever a run was stopped.
        seeds = np.random.SeedSequence((self.recipe.seed, step, distributed.rank()))
        torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        rate = set_rates(self.optimizer, self.recipe.optimizer, step, self.steps)
        batch = next(source)
        self.optimizer.zero_grad(set_to_none=True)
        _, figures = self.gradients(batch)
        distributed.reduce_gradients(self.encoder.parameters())
        norm = float(torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.recipe.optimizer.clip))
        if not (isfinite(figures["loss"]) and isfinite(norm)):
            raise TrainingError(
                f"the loss of step {step + 1} is {figures['loss']}, its gradient {norm}; the batch was of "
                f"{', '.join(batch.groups)}. Nothing was learned from it: lower the rate or look at the data, then "
                "resume from the last saved state"
            )
        self.optimizer.step()
        tokens = int(distributed.sum_in_place(torch.tensor([batch.tokens])))
        return Step(step=step + 1, rate=rate, norm=norm, tokens=tokens, seconds=time.perf_counter() - began, **figures)

    def gradients(self, batch: Chunked) -> tuple[Tensor, Figures]:
        """Add the gradients of a batch to the parameters; the loss and its figures."""
        chunks = [chunk.to(self.device) for chunk in batch.chunks]
        back = batch.back.to(self.device, non_blocking=True)
        documents = None
        if batch.vectors is not None:
            documents = batch.vectors.to(self.device, torch.float32, non_blocking=True)

        def loss_of(vectors: Tensor) -> tuple[Tensor, Figures]:
            ordered = vectors[back]
            if self.recipe.loss.ranks:
                logits = distributed.gather_with_gradient(ordered)
                return ranking_loss(logits[:, 0], batch.targets, self.recipe.loss)
            if documents is not None:
                return self._loss(ordered, documents, batch.targets, taught=True)
            return self._loss(ordered[: batch.queries], ordered[batch.queries :], batch.targets, taught=False)

        return cached_step(self._encode, chunks, loss_of)

    def _fuse(self) -> None:
        """On a GPU: fuse kernels, which gave 1.2 times the tokens per second on an H200 (6 layers of 384)."""
        model = self.recipe.model
        if self.device.type != "cuda" or model.lora is not None or model.checkpointing:
            return
        error = self.encoder.fuse(self.device, lambda trial: self._encode(trial).sum().backward())
        self.encoder.zero_grad(set_to_none=True)
        if error is not None:
            warnings.warn(f"torch.compile failed, so training runs slower: {error}", Me5Warning, stacklevel=3)

    def _encode(self, chunk: Sequences) -> Tensor:
        with autocast(self.recipe.precision, self.device):
            states = self.encoder(chunk)
        return self.encoder.end(states, chunk.bounds)

    def _loss(self, queries: Tensor, documents: Tensor, targets: Targets, *, taught: bool) -> tuple[Tensor, Figures]:
        queries, documents = (distributed.gather_with_gradient(side) for side in (queries, documents))
        loss, figures = contrastive_loss(queries, documents, targets, self.recipe.loss, jointly=distributed.world() > 1)
        if taught:
            assert self.recipe.teacher is not None
            # Cosine and not squared distance, which vectors of unit length turn into collapse where scales differ.
            query, document = targets.positives.to(queries.device).unbind(1)
            distance = 1 - F.cosine_similarity(queries[query], documents[document]).mean()
            loss = loss + self.recipe.teacher.pull * distance
            figures = {**figures, "loss": float(loss.detach()), "distillation": float(distance.detach())}
        return loss, figures

    def save(self, folder: Path) -> None:
        """Write the network as it is as a checkpoint folder, in place of an older one."""
        save(
            merged(self.encoder), folder, tokenizer=self.start.tokenizer_file, prompts=self.start.prompts,
            matryoshka=self.recipe.loss.matryoshka, overwrite=True,
        )  # fmt: skip

    def _resume(self, run: Run) -> int:
        """How many steps are done, with the state after them in place."""
        done = load_state(run.state, self.encoder, self.optimizer) if run.state.exists() else 0
        if len(set(distributed.gather_objects(done))) > 1:
            raise TrainingError(f"not every process sees the same {run.state}: {run.folder} must be on a shared disk")
        if distributed.rank() == 0:
            run.describe(
                {
                    "device": str(self.device), "processes": distributed.world(), "from_step": done,
                    "steps": self.steps, "pairs": _pairs(self.entries),
                    "data": {str(entry.data.dataset): entry.store.facts["fingerprint"] for entry in self.entries},
                }
            )  # fmt: skip
            run.rewind(done)
        return done

    def _keep(self, run: Run, step: int) -> None:
        if distributed.rank() == 0:
            save_state(run.state, self.encoder, self.optimizer, step)

    def _judged_after(self, done: int) -> bool:
        settings = self.recipe.evaluation
        return settings is not None and done > 0 and (done % settings.every == 0 or done == self.steps)

    def _evaluate(self, run: Run, step: int, report: Callable[[Step | Judgement], None]) -> None:
        if self.judge is not None:
            self.save(run.evaluated)
            report(Judgement(step, self.judge(run.evaluated, run.judged(step))))
            shutil.rmtree(run.evaluated)
        distributed.barrier()


def open_entries(
    recipe: Recipe, begun: Start, cache: Path, *, advance: Advance, device: str = "cpu"
) -> Sequence[Entry]:
    """The recipe's data: token stores, chosen groups, teacher's vectors. One process makes them, the others wait.

    The teacher works on `device`.
    """
    # Entries of one dataset share its store: what is known of a query there holds in all of them.
    stores: dict[Path, TokenStore] = {}
    members: list[tuple[tuple[int, Ids], ...]] = []
    vectors: dict[Path, Vectors] = {}
    for turn in (0, 1):
        if (distributed.rank() == 0) == (turn == 0):
            datasets = {data.dataset: Dataset.open(data.dataset) for data in recipe.data}
            for folder, dataset in datasets.items():
                stores[folder] = open_store(dataset, begun.tokenizer_file, begun.tokenizer, cache, advance=advance)
            # Before the teacher's work, which may take hours: a wrong language is an error here.
            ranks = recipe.loss.ranks
            members = [chosen(data, stores[data.dataset], ranks=ranks) for data in recipe.data]
            taught = {data.dataset for data in recipe.data if data.serves(taught=True)}
            for folder, dataset in datasets.items():
                if recipe.teacher is not None and folder in taught:
                    vectors[folder] = open_vectors(dataset, recipe.teacher.model, cache, advance=advance, device=device)
        distributed.barrier()
    return [
        Entry(data, stores[data.dataset], own, vectors.get(data.dataset))
        for data, own in zip(recipe.data, members, strict=True)
    ]


def open_batches(recipe: Recipe, begun: Start, entries: Sequence[Entry]) -> tuple[Batches, int]:
    """The batches of a run, and of how many steps."""
    steps = recipe.steps or ceil((recipe.epochs or 0) * _pairs(entries) / recipe.batch.size)
    tokenizer, join = begun.tokenizer, None
    if recipe.loss.ranks:  # how a pair is framed is read by a library that others need not load
        join = partial(tokenizer.pair_frame().sequence, type_step=begun.encoder.config.type_step)
    batches = Batches(
        recipe, entries, steps=steps, prompts=begun.prompts, frame=tokenizer.frame,
        tokenize=lambda text: next(tokenizer.bare([text]))[0] if text.strip() else [], join=join,
    )  # fmt: skip
    return batches, steps


def _pairs(entries: Sequence[Entry]) -> int:
    """How many pairs the entries chose in all."""
    return sum(len(rows) for entry in entries for _, rows in entry.members)
