"""Hidden states of sequences end to end -> one unit vector each, in float32, on whatever device they are."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.checkpoint import Pooling


def pool(hidden: Tensor, bounds: Tensor, pooling: Pooling) -> Tensor:
    """Unit vectors (sequences, dim) float32 from `hidden` (tokens, dim) and `bounds` (sequences + 1,).

    Each sum runs over one sequence in a fixed order, so that company does not change it. No sequence may be empty. A
    sequence whose norm is not a finite number gives NaN.
    """
    hidden = hidden.float()
    if pooling == "cls":
        vectors = hidden[bounds[:-1]]
    else:
        # `unsafe` leaves out a check of the bounds that would make the host wait for the device.
        sums = torch.segment_reduce(hidden, "sum", offsets=bounds.to(torch.int64), axis=0, unsafe=True)
        vectors = sums / (bounds[1:] - bounds[:-1]).unsqueeze(1)
    norms = vectors.norm(dim=1, keepdim=True)
    return F.normalize(vectors, dim=1).where(norms.isfinite(), torch.nan)
