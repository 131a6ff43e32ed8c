"""Matrix products in float8, kept only where vectors stay near float32: a measurement on the checkpoint itself decides.

Weights have a scale per output channel, activations one per token, both such that the largest value becomes the largest
that float8_e4m3fn holds. GPUs have such products from compute capability 8.9 on; torch computes the same on a CPU,
slowly.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from me5.model.encoder import Encoder, Linear

MATRICES = ("qkv", "attention_output", "feedforward_in", "feedforward_out")
# The cosine to float32 that every probe must keep.
MIN_COSINE = 0.999
_TYPE = torch.float8_e4m3fn
_LARGEST = torch.finfo(_TYPE).max
# torch's kernels take matrices whose sides are multiples of this.
_STEP = 16

Place = tuple[int, str]  # the number of a layer, and one of `MATRICES`


class Float8Linear(nn.Module):
    """A linear layer whose product runs in float8 and gives bfloat16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        weight, scale = quantise(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())  # (1, out)
        self.register_buffer("bias", linear.bias.detach().to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, in) -> (tokens, out)."""
        rounded, scale = quantise(x)
        return torch._scaled_mm(
            rounded, self.weight.t(), scale, self.scale, self.bias, out_dtype=torch.bfloat16, use_fast_accum=True
        )


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as float8, and the scale (rows, 1) float32 that each must be multiplied with to be itself again."""
    x = x.float()
    scale = x.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / _LARGEST
    return (x / scale).clamp(-_LARGEST, _LARGEST).to(_TYPE), scale


def harmless(encoder: Encoder, measure: Callable[[], float], minimum: float = MIN_COSINE) -> list[Place]:
    """Put as much of the work into float8 as `measure` allows; returns which matrices, for `convert`.

    `measure` gives the lowest cosine to float32 of the encoder as it is then. Where all matrices together are too much,
    each is measured alone, and in order of their harm per multiplication as many as still reach `minimum` stay.
    """
    originals = {place: linear for place in _places(encoder) if _fits(linear := _at(encoder, place))}
    rounded = {place: Float8Linear(linear) for place, linear in originals.items()}

    def measured(chosen: Collection[Place]) -> float:
        for place, linear in originals.items():
            _put(encoder, place, rounded[place] if place in chosen else linear)
        return measure()

    order = list(originals)
    if measured(order) >= minimum:
        return order
    order.sort(key=lambda place: (1 - measured([place])) / originals[place].weight.numel())
    low, high = 0, len(order) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if measured(order[:middle]) >= minimum:
            low = middle
        else:
            high = middle - 1
    measured(order[:low])
    return order[:low]


def convert(encoder: Encoder, places: Collection[Place]) -> None:
    """Put the given matrices into float8."""
    for place in places:
        _put(encoder, place, Float8Linear(_at(encoder, place)))


def share(encoder: Encoder, places: Collection[Place]) -> float:
    """The part of the multiplications with weights, 0 to 1, that given matrices are."""
    sizes: dict[Place, int] = {
        place: getattr(encoder.layers[place[0]], place[1]).weight.numel() for place in _places(encoder)
    }
    return sum(sizes[place] for place in places) / sum(sizes.values())


def _places(encoder: Encoder) -> list[Place]:
    return [(number, name) for number in range(len(encoder.layers)) for name in MATRICES]


def _at(encoder: Encoder, place: Place) -> Linear:
    linear = getattr(encoder.layers[place[0]], place[1])
    assert isinstance(linear, Linear)
    return linear


def _put(encoder: Encoder, place: Place, module: nn.Module) -> None:
    setattr(encoder.layers[place[0]], place[1], module)


def _fits(linear: Linear) -> bool:
    return linear.in_features % _STEP == 0 and linear.out_features % _STEP == 0
