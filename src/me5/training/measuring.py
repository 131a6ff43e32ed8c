"""What a token, a loss and an update cost on this device: measured small, to be scaled."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from me5.model.encoder import Encoder
from me5.model.sequences import Sequences, concatenate
from me5.training.loss import contrastive_loss
from me5.training.optimizer import open_optimizer
from me5.training.precision import autocast
from me5.training.recipe import LossSettings, OptimizerSettings, Recipe
from me5.training.targets import Targets

Lengths = npt.NDArray[np.int64]

# As much as shows a device's speed, and little enough for any.
_TOKENS = {"cpu": 1024, "cuda": 65_536}
_PAIRS = 1024
_NUMBERS = 1 << 22
_FLOAT = 4


@dataclass(frozen=True)
class Token:
    """What one token costs: bytes kept for the backward pass, seconds forward, seconds backward."""

    kept: float
    forward: float
    backward: float


def measure_encoder(recipe: Recipe, encoder: Encoder, lengths: Lengths, device: torch.device) -> Token:
    """A mini-batch of sequences of some of the given lengths (n,) and of random tokens, there and back."""
    budget = min(recipe.batch.tokens, _TOKENS[device.type])
    shuffled = np.random.default_rng(0).permutation(np.resize(lengths, max(len(lengths), 2)))
    chosen = shuffled[: max(int(np.searchsorted(np.cumsum(shuffled), budget, "right")), 2)]
    whole, half = (_mini_batch(encoder, some, device) for some in (chosen, chosen[::2]))

    def embed(chunk: Sequences) -> Tensor:
        with autocast(recipe.precision, device):
            states = encoder(chunk)
        return encoder.end(states, chunk.bounds)

    def read() -> None:
        with torch.no_grad():
            embed(whole)

    def learn() -> None:
        embed(whole).sum().backward()

    tokens, checkpointing, config = len(whole.ids), encoder.checkpointing, encoder.config
    encoder.checkpointing = False
    # What is kept for any number of tokens, such as 16-bit copies of matrices, is the same in both.
    kept = _kept(encoder, lambda: embed(whole)) - _kept(encoder, lambda: embed(half))
    kept_by_token = max(kept, 0) / (tokens - len(half.ids))
    encoder.checkpointing = checkpointing
    if checkpointing:  # one layer's activations, and what went into each
        kept_by_token = kept_by_token / config.layers + _FLOAT * config.hidden_size * config.layers
    forward, both = _seconds(read, device), _seconds(learn, device)
    encoder.zero_grad(set_to_none=True)
    return Token(kept_by_token, forward / tokens, max(both - forward, 0.0) / tokens)


def measure_loss(
    settings: LossSettings, queries: int, documents: int, width: int, device: torch.device
) -> tuple[int, float]:
    """Bytes and seconds of a loss of so many vectors; the time is that of fewer, scaled by the number of logits."""
    few = min(queries, _PAIRS)
    many = max(round(few * documents / queries), few)
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(few + many, width, generator=generator), dim=1).to(device).requires_grad_()
    keys = torch.arange(few + many)
    targets = Targets(keys[:few], keys[few:], torch.arange(few).unsqueeze(1).expand(-1, 2).contiguous())

    def judge() -> None:
        contrastive_loss(vectors[:few], vectors[few:], targets, settings)[0].backward()

    seconds = _seconds(judge, device) * (queries * documents) / (few * many)
    blocks = 2 if settings.directions == "both" else 1  # one more where columns are summed up too
    block = blocks * _FLOAT * min(settings.rows, queries) * documents
    return block + _FLOAT * width * (queries + documents), seconds


def measure_optimizer(settings: OptimizerSettings, numbers: int, device: torch.device) -> float:
    """Seconds of an update of so many numbers."""
    few = min(numbers, _NUMBERS)
    layer = nn.Linear(1, few, bias=False, device=device)
    optimizer = open_optimizer(layer, settings)
    layer.weight.grad = torch.zeros_like(layer.weight)
    return _seconds(optimizer.step, device) * numbers / few


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device, None where nobody tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else int(kilobytes) << 10


def _mini_batch(encoder: Encoder, lengths: Lengths, device: torch.device) -> Sequences:
    rng = np.random.default_rng(0)
    longest_first = np.sort(lengths)[::-1].tolist()
    sequences = [rng.integers(encoder.config.vocab_size, size=length) for length in longest_first]
    return concatenate(sequences, encoder.config.first_position).to(device)


def _kept(encoder: Encoder, embed: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass, the parameters themselves not counted."""
    own = {parameter.untyped_storage().data_ptr() for parameter in encoder.parameters()}
    kept: dict[int, int] = {}
    held = []  # so that no memory is counted that another tensor had before

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        vectors = embed()
    del vectors
    return sum(kept.values())


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long a call takes once it has run before: the better of two."""
    taken = []
    for _ in range(3):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
