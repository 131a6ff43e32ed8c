"""One process of `test_distributed.py`: `python processes.py FOLDER`, with torchrun's variables set.

A tiny network with dropout, a batch of five queries and nine documents in four chunks. Each process encodes the chunks
of its own queries and documents; one process alone encodes all. What comes out is written for the test to compare.
"""

import itertools
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from me5.training import distributed
from me5.training.gradcache import cached_step
from me5.training.loss import contrastive_loss
from me5.training.recipe import LossSettings
from me5.training.targets import Targets

SETTINGS = LossSettings(
    temperature=0.1,
    directions="both",
    matryoshka=(6, 3),
    contrastive=0.2,
    distillation=1.0,
    rows=2,
)
# Of the whole batch: every process knows it.
TARGETS = Targets(
    torch.tensor([1, 2, 3, 2, 5]),
    torch.tensor([11, 12, 13, 13, 14, 15, 16, 17, 18]),
    torch.tensor([[0, 0], [1, 1], [2, 3], [3, 4], [4, 5], [4, 6]]),
    ignore=torch.tensor([[2, 8]]),
    owners=torch.tensor([-1, -1, 0, -1, -1, -1, -1, -1, -1]),
    document_groups=torch.tensor([1, -1, -1, -1, 1, -1, -1, -1, -1]),
    teacher_pairs=torch.tensor([[4, 5], [4, 6], [2, 3], [2, 7]]),
    teacher_scores=torch.tensor([0.5, 2.0, 1.0, -1.0]),
)
# Of each process: its texts, which are numbers, queries before documents; and its chunks of them.
QUERIES = ([0, 1], [2, 3, 4])
DOCUMENTS = ([5, 6, 7], [8, 9, 10, 11, 12, 13])
CHUNKS = (([5, 0, 7], [6, 1]), ([13, 2, 9, 4, 10], [3, 8, 11, 12]))
CASES = tuple(itertools.product([False, True], [False, True]))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table, self.out = nn.Embedding(14, 8), nn.Linear(8, 6)

    def forward(self, chunk: list[int]) -> Tensor:
        """Dropout is other in each chunk, and the same in one process and in two."""
        torch.manual_seed(100 + chunk[0])
        hidden = nn.functional.dropout(torch.tanh(self.table(torch.tensor(chunk))), 0.3)
        return nn.functional.normalize(self.out(hidden), dim=1)


def gradients(parts: list[int], *, cached: bool, jointly: bool) -> dict[str, Tensor]:
    """A step over the given processes' parts of the batch."""
    model = Tiny()
    chunks = [chunk for part in parts for chunk in CHUNKS[part]]
    place = {text: at for at, text in enumerate(itertools.chain(*chunks))}
    queries = [place[text] for part in parts for text in QUERIES[part]]
    documents = [place[text] for part in parts for text in DOCUMENTS[part]]

    def loss_of(vectors: Tensor) -> tuple[Tensor, dict[str, float]]:
        sides = (distributed.gather_with_gradient(vectors[side]) for side in (queries, documents))
        return contrastive_loss(*sides, TARGETS, SETTINGS, jointly=jointly)

    loss, figures = cached_step(model, chunks, loss_of, cached=cached)
    distributed.reduce_gradients(model.parameters())
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return found | {"loss": loss, "figures": torch.tensor(list(figures.values()))}


def all_cases(parts: list[int]) -> dict[str, Tensor]:
    found = {}
    for cached, jointly in CASES:
        for name, tensor in gradients(parts, cached=cached, jointly=jointly).items():
            found[f"{cached} {jointly} {name}"] = tensor
    return found


def main() -> None:
    device = distributed.start()
    rank = distributed.rank()
    assert device.type == "cpu"
    assert distributed.world() == 2
    found = all_cases([rank])
    found["gathered"] = torch.cat(distributed.gather(torch.full((rank, 2), float(rank))))
    objects = distributed.gather_objects({"rank": rank, "text": "ä" * (rank + 1)})
    assert objects == [{"rank": 0, "text": "ä"}, {"rank": 1, "text": "ää"}]
    found["share"] = torch.tensor(list(distributed.share(5)))
    found["broadcast"] = torch.full((2,), float(rank))
    distributed.broadcast([found["broadcast"]])
    # A parameter that only one process used, one that is frozen, one of another type.
    odd = [
        nn.Parameter(torch.zeros(2)),
        nn.Parameter(torch.zeros(2), requires_grad=False),
        nn.Parameter(torch.zeros(1)),
    ]
    odd[2].data = odd[2].data.double()
    odd[2].grad = torch.ones(1, dtype=torch.float64)
    if rank == 1:
        odd[0].grad = torch.tensor([1.0, 2.0])
    distributed.reduce_gradients(odd)
    assert odd[1].grad is None
    found |= {"one-sided": odd[0].grad, "double": odd[2].grad}
    distributed.barrier()
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, Path(sys.argv[1]) / f"{rank}.safetensors")
    distributed.stop()


if __name__ == "__main__":
    main()
