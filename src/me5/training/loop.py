"""The loop: batch, vectors, loss, gradients, update; log, save, evaluate; and on from where it was stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.data.contract import Dataset
from me5.errors import TrainingError
from me5.model.encoder import Encoder
from me5.model.folder import save
from me5.model.sequences import Sequences, concatenate
from me5.training import distributed
from me5.training.batches import Batch, Batches, Entry, chosen
from me5.training.evaluate import evaluate
from me5.training.gradcache import cached_step, split
from me5.training.loss import LossSettings, contrastive_loss
from me5.training.optimizer import open_optimizer, set_rates
from me5.training.recipe import Recipe
from me5.training.run import Run
from me5.training.start import Start, merged, start
from me5.training.state import load_state, save_state
from me5.training.teacher import open_vectors
from me5.training.tokens import open_store

Advance = Callable[[int, int], None]
Figures = dict[str, float]


@dataclass(frozen=True)
class Step:
    """How a step went. `step` counts from 1; `seconds` and `tokens` are those of this process."""

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


class Trainer:
    """A recipe at work: made, then `fit` to the end."""

    def __init__(self, recipe: Recipe, cache: Path, *, advance: Advance) -> None:
        """Reads data and weights; nothing is trained yet. Token ids and teacher's vectors are kept below `cache`."""
        self.recipe, self.device = recipe, distributed.start()
        self.start: Start = start(recipe.model, recipe.seed)
        self.encoder: Encoder = self.start.encoder.to(self.device)
        self.entries = open_entries(recipe, self.start, cache, advance=advance)
        pairs = sum(len(rows) for entry in self.entries for _, rows in entry.members)
        self.pairs = pairs
        self.steps = recipe.steps or ceil((recipe.epochs or 0) * pairs / recipe.batch.size)
        self.batches = Batches(
            recipe, self.entries, steps=self.steps, prompts=self.start.prompts, frame=self.start.tokenizer.frame,
            tokenize=lambda text: next(self.start.tokenizer.bare([text]))[0] if text.strip() else [],
        )  # fmt: skip
        self.optimizer = open_optimizer(self.encoder, recipe.optimizer)
        distributed.broadcast(self.encoder.parameters())

    def fit(self, run: Run, *, observe: Callable[[Step], None]) -> None:
        """Train to the end, from the last saved state where there is one; the result is the run's `model` folder."""
        done = load_state(run.state, self.encoder, self.optimizer) if run.state.exists() else 0
        if distributed.rank() == 0:
            run.rewind(done)
            run.describe(
                {
                    "device": str(self.device), "processes": distributed.world(), "from_step": done, "steps": self.steps,
                    "pairs": self.pairs, "data": {str(e.data.dataset): e.store.facts["fingerprint"] for e in self.entries},
                }
            )  # fmt: skip
        for step in range(done, self.steps):
            figures = self.step(step)
            if distributed.rank() == 0:
                run.log(asdict(figures))
                observe(figures)
            if (step + 1) % self.recipe.save_every == 0 or step + 1 == self.steps:
                self._keep(run, step + 1)
            settings = self.recipe.evaluation
            if settings and ((step + 1) % settings.every == 0 or step + 1 == self.steps):
                self._evaluate(run, step + 1)
        if distributed.rank() == 0:
            self.save(run.model)
        distributed.barrier()

    def step(self, step: int) -> Step:
        """One update. Raises `TrainingError` that names step and data where the loss is no finite number."""
        began = time.perf_counter()
        rate = set_rates(self.optimizer, self.recipe.optimizer, step, self.steps)
        batch = self.batches.make(step)
        self.optimizer.zero_grad(set_to_none=True)
        _, figures = self.gradients(batch)
        distributed.reduce_gradients(self.encoder.parameters())
        norm = float(torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.recipe.optimizer.clip))
        if not (isfinite(figures["loss"]) and isfinite(norm)):
            raise TrainingError(
                f"the loss of step {step + 1} is {figures['loss']}, its gradient {norm}; the batch was of "
                f"{', '.join(batch.groups)}. Nothing of it was learned: lower the rate or look at the data, then run again "
                "from the last saved state"
            )
        self.optimizer.step()
        return Step(
            step=step + 1, rate=rate, norm=norm, tokens=batch.tokens, seconds=time.perf_counter() - began, **figures
        )

    def gradients(self, batch: Batch) -> tuple[Tensor, Figures]:
        """Add the gradients of a batch to the parameters; the loss and its figures."""
        sequences = [*batch.queries, *batch.documents]
        parts = split([len(sequence) for sequence in sequences], self.recipe.batch.tokens)
        first = self.encoder.config.first_position
        chunks = [concatenate([sequences[at] for at in chunk], first).to(self.device) for chunk in parts.chunks]
        queries = len(batch.queries)

        def loss_of(vectors: Tensor) -> tuple[Tensor, Figures]:
            ordered = vectors[parts.back.to(vectors.device)]
            if batch.vectors is None:
                return self._loss(ordered[:queries], ordered[queries:], batch)
            return self._loss(ordered, torch.from_numpy(batch.vectors).to(ordered.device, torch.float32), batch)

        return cached_step(self._encode, chunks, loss_of)

    def _encode(self, chunk: Sequences) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            return self.encoder.embed(chunk)

    def _loss(self, queries: Tensor, documents: Tensor, batch: Batch) -> tuple[Tensor, Figures]:
        settings, targets = loss_settings(self.recipe), batch.targets
        several = distributed.world() > 1
        if several:
            queries, documents = (distributed.gather_with_gradient(side) for side in (queries, documents))
            targets = targets.gathered()
        loss, figures = contrastive_loss(queries, documents, targets, settings, jointly=several)
        if self.recipe.teacher is not None:
            # Cosine and not squared distance, which vectors of unit length turn into collapse where scales differ.
            query, document = targets.positives.to(queries.device).unbind(1)
            distance = 1 - F.cosine_similarity(queries[query], documents[document]).mean()
            loss = loss + self.recipe.teacher.pull * distance
            figures = {**figures, "loss": float(loss.detach()), "distillation": float(distance.detach())}
        return loss, figures

    def save(self, folder: Path) -> None:
        """Write the network as it is as a checkpoint folder, in place of an older one."""
        save(
            merged(self.encoder), folder, tokenizer=self.start.tokenizer_file, prompts=self.start.prompts, overwrite=True
        )

    def _keep(self, run: Run, step: int) -> None:
        if distributed.rank() == 0:
            save_state(run.state, self.encoder, self.optimizer, step)

    def _evaluate(self, run: Run, step: int) -> None:
        assert self.recipe.evaluation is not None
        if distributed.rank() == 0:
            folder = run.folder / "evaluated"
            self.save(folder)
            scores = evaluate(folder, self.recipe.evaluation.paths, run.evaluation / f"{step:08d}")
            run.log({"step": step, "evaluation": scores})
        distributed.barrier()


def open_entries(recipe: Recipe, begun: Start, cache: Path, *, advance: Advance) -> Sequence[Entry]:
    """The recipe's data: token stores, chosen groups, teacher's vectors. One process makes them, the others wait."""
    for turn in (0, 1):
        if (distributed.rank() == 0) == (turn == 0):
            entries = []
            for data in recipe.data:
                dataset = Dataset.open(data.dataset)
                store = open_store(dataset, begun.tokenizer_file, begun.tokenizer, cache, advance=advance)
                vectors = None
                if recipe.teacher is not None:
                    vectors = open_vectors(dataset, recipe.teacher.model, cache, advance=advance)
                entries.append(Entry(data, store, chosen(data, store), vectors))
        distributed.barrier()
    return entries


def loss_settings(recipe: Recipe) -> LossSettings:
    """The recipe's loss as the loss takes it."""
    settings = recipe.loss
    return LossSettings(
        temperature=settings.temperature,
        directions=("query_to_document", "document_to_query") if settings.directions == "both" else ("query_to_document",),
        matryoshka=tuple((dim, 1.0) for dim in settings.matryoshka),
        contrastive_weight=settings.contrastive,
        distillation_weight=settings.distillation,
        teacher_temperature=settings.teacher_temperature,
        negatives_of_others=settings.negatives_of_others,
    )
