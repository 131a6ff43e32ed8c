"""What users keep to save room: the first dimensions only, int8 or one bit each, judged by the same protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from me5.errors import InputError
from me5.evaluation.encoders.base import Encoder, Float32, Prompt
from me5.progress import Advance
from me5.prompts import Side
from me5.quantization import quantized, restored, shortened

Kind = Literal["float32", "int8", "binary"]
_BITS = {"float32": 32, "int8": 8, "binary": 1}


@dataclass(frozen=True)
class Reduction:
    """The first `dim` dimensions, at unit length again, then each as float32, int8 or its sign.

    int8 is scaled by each vector's own largest component to ±127, which leaves its direction as it is up to rounding;
    the cosine of sign vectors is 1 − 2 × their Hamming distance / dim.
    """

    dim: int
    kind: Kind = "float32"

    @property
    def bytes_per_vector(self) -> int:
        """What a stored vector takes. int8 keeps no scale: cosines do not need it."""
        return -(-self.dim * _BITS[self.kind] // 8)

    def apply(self, vectors: Float32) -> Float32:
        """The unit vectors (n, dim) whose dot products are the cosines of the reduced ones."""
        if vectors.shape[1] < self.dim:
            raise InputError(f"vectors of {vectors.shape[1]} dimensions cannot be cut to {self.dim}")
        return restored(quantized(shortened(vectors, self.dim), self.kind), self.kind, self.dim)


class ReducedEncoder:
    """Any encoder, with its vectors reduced. See `Encoder`."""

    def __init__(self, encoder: Encoder, reduction: Reduction) -> None:
        self.name = f"{encoder.name}, {reduction.dim} × {reduction.kind}"
        self._encoder = encoder
        self._reduction = reduction

    @property
    def fingerprint(self) -> str:
        """See `Encoder.fingerprint`."""
        return f"{self._encoder.fingerprint}-{self._reduction.dim}-{self._reduction.kind}"

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`."""
        return self._encoder.prompt(side, task)

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`."""
        return self._reduction.apply(self._encoder.embed(texts, prompt, advance))
