"""The encoder as OpenVINO nodes: embedded tokens and segments in, hidden states out."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as op

from me5.checkpoint import ModelConfig
from me5.engine.arena import Arena
from me5.engine.smoothing import Reach, factors, levels, quantized
from me5.vectors import Float32
from me5.weights import Weights

# OpenVINO repacks the layers for its kernels when they first run, and then hardly reads what it was given. With XLM-R-
# large a process has 785 MB instead of 1,402 once that memory is given back (bf16; f32 1,598 instead of 2,671).
# Layers of fewer bytes than this are not worth a file.
_LARGE_LAYERS = 100_000_000
# A mask value that is finite in bfloat16 and far below any attention logit.
_MASKED = -1e9
# Below this lies no value of GELU.
_GELU_MIN = np.float32(-0.17)
_TINY = np.float32(1e-30)
_LAST = np.array([-1], np.int64)

Node = Any  # openvino's nodes carry no useful type


class Graph:
    """The encoder at `f32` or `bf16`, or some of its layers.

    `attention` is the type that attention computes in. What is compiled shares its arrays: it must live as long.
    """

    _keeps = True  # whether the weights are in what is compiled

    def __init__(self, config: ModelConfig, weights: Weights, precision: str, attention: ov.Type) -> None:
        self._config = config
        self._weights = weights
        self._type = ov.Type.bf16 if precision == "bf16" else ov.Type.f32
        self._attention = attention
        self._arena = Arena(self._room(precision))
        # OpenVINO reads these arrays without a copy of its own, and keeps no reference to them.
        self._constants: list[Any] = []
        self._mapped: list[str] = []
        # What goes in and comes out beside the hidden states.
        self._parameters: list[Node] = []
        self._more: list[Node] = []

    def _room(self, precision: str) -> int:
        """The bytes of all layers, where they are worth a file."""
        each = self._config.hidden_size * (4 * self._config.hidden_size + 2 * self._config.intermediate_size)
        size = self._config.layers * each * {"f32": 4, "bf16": 2, "int8": 1}[precision]
        return size if self._keeps and size > _LARGE_LAYERS else 0

    def release(self) -> None:
        """Give back the memory of the layers that were given to OpenVINO, which has them in its own order by now."""
        self._arena.release()
        for name in self._mapped:
            self._weights.release(name)

    def model(self, layers: range | None = None) -> ov.Model:
        """The graph of all layers, or of some: later ones take the hidden states of the one before them."""
        layers = layers or range(self._config.layers)
        entering = op.parameter([-1, -1, self._config.hidden_size], np.float32, name="entering")
        segments = op.parameter([-1, -1], np.int32, name="segments")
        x = entering if layers.start else self._norm(entering, "embedding_norm")
        mask = self._mask(segments)
        for layer in layers:
            x = self._layer(x, mask, f"layers.{layer}")
        results = [op.result(node) for node in (x, *self._more)]
        return ov.Model(results, [entering, segments, *self._parameters], "encoder")

    def _layer(self, x: Node, mask: Node, name: str) -> Node:
        """One post-norm transformer layer: attention, then feed-forward, each added to its input and normalised.

        `x` stays float32. In bfloat16 too it would be no faster (ratio 0.99 to 1.03 on two models) but lose more:
        minimum cosine to float32 0.9954 instead of 0.99999 on a model whose residual stream has large components.
        """
        heads, width = self._config.heads, self._config.hidden_size // self._config.heads
        split = np.array([0, 0, heads, width], np.int64)
        order = np.array([0, 2, 1, 3], np.int64)
        query, key, value = (
            op.transpose(op.reshape(_cast(product, self._attention), split, True), order)
            for product in self._products(x, name, "query", "key", "value")
        )
        attended = op.transpose(self._attend(query, key, value, mask), order)
        merged = op.reshape(attended, np.array([0, 0, heads * width], np.int64), True)
        (update,) = self._products(merged, name, "attention_output")
        x = self._add(x, update, f"{name}.attention_norm")
        (inner,) = self._products(x, name, "feedforward_in")
        (update,) = self._products(op.gelu(inner, "erf"), name, "feedforward_out")
        return self._add(x, update, f"{name}.feedforward_norm")

    def _attend(self, query: Node, key: Node, value: Node, mask: Node) -> Node:
        """Attention of each head, all (rows, heads, width, channels of a head)."""
        return op.scaled_dot_product_attention(query, key, value, mask)

    def _products(self, x: Node, name: str, *parts: str) -> list[Node]:
        """The products of what enters some parts of a layer with the matrix of each, and its bias added."""
        x = _cast(x, self._type)
        return [self._linear(x, f"{name}.{part}") for part in parts]

    def _add(self, x: Node, update: Node, norm: str) -> Node:
        """Add to the residual stream, and normalise."""
        return self._norm(op.add(x, _cast(update, ov.Type.f32)), norm)

    def _linear(self, x: Node, name: str) -> Node:
        bias = _cast(self._vector(f"{name}.bias"), self._type)
        return op.add(op.matmul(x, self._matrix(f"{name}.weight"), False, True), bias)

    def _norm(self, x: Node, name: str) -> Node:
        """Layer normalisation over the last axis."""
        x = op.mvn(x, np.array([-1], np.int64), True, self._config.layer_norm_eps, "inside_sqrt")
        return op.add(op.multiply(x, self._vector(f"{name}.weight")), self._vector(f"{name}.bias"))

    def _mask(self, segments: Node) -> Node:
        """(rows, 1, width, width): 0 where two cells hold the same sequence, far below zero elsewhere."""
        same = op.equal(
            op.unsqueeze(segments, np.array([1, 3], np.int64)), op.unsqueeze(segments, np.array([1, 2], np.int64))
        )
        seen, masked = (_cast(op.constant(np.float32(value)), self._attention) for value in (0, _MASKED))
        return op.select(same, seen, masked)

    def _vector(self, name: str) -> Node:
        """A bias or norm weight, float32."""
        return _channels(self._weights.float32(name))

    def _matrix(self, name: str) -> Node:
        tensor = self._tensor(name)
        self._constants.append(tensor)
        return op.constant(tensor, shared_memory=True)

    def _tensor(self, name: str) -> ov.Tensor:
        """A matrix in the type of the products."""
        if self._type == ov.Type.bf16:
            # Given as bfloat16, the weights stay 2 bytes each; given as float32 under a bf16 hint OpenVINO keeps both
            # (measured on XLM-R-large: 1.3 GB instead of 1.9 GB of its own memory).
            bits = self._arena.keep(self._weights.bfloat16(name))
            tensor = ov.Tensor(bits, shape=list(bits.shape), type=ov.Type.bf16)
        else:
            array = self._weights.float32(name)
            if self._weights.dtype(name) == "F32":
                self._mapped.append(name)
            else:
                array = self._arena.keep(array)
            tensor = ov.Tensor(array, shared_memory=True)
        self._weights.release(name)
        return tensor


class ReachGraph(Graph):
    """A layer that also tells the smallest and the largest value of each channel that enters the parts `sites`.

    Its weights are inputs too, behind hidden states and segments, so that it is compiled once for many layers.
    """

    _keeps = False

    def __init__(self, config: ModelConfig, weights: Weights, precision: str, attention: ov.Type) -> None:
        super().__init__(config, weights, precision, attention)
        self.sites: list[str] = []
        self._inputs: list[tuple[Callable[[str], Any], str]] = []

    def inputs(self, layer: int) -> list[Any]:
        """The weights of a layer, in the order in which the graph takes them."""
        return [read(re.sub(r"^layers\.\d+", f"layers.{layer}", name)) for read, name in self._inputs]

    def _products(self, x: Node, name: str, *parts: str) -> list[Node]:
        if parts[0] != "attention_output":
            self.sites.append(parts[0])
            whole, cells = _cast(x, ov.Type.f32), np.array([0, 1], np.int64)
            self._more += [op.reduce_min(whole, cells, False), op.reduce_max(whole, cells, False)]
        return super()._products(x, name, *parts)

    def _vector(self, name: str) -> Node:
        return self._input(self._row, name, ov.Type.f32)

    def _matrix(self, name: str) -> Node:
        return self._input(self._tensor, name, self._type)

    def _row(self, name: str) -> Float32:
        return self._weights.float32(name).reshape(1, 1, -1)

    def _input(self, read: Callable[[str], Any], name: str, type_: ov.Type) -> Node:
        self._inputs.append((read, name))
        self._parameters.append(op.parameter(list(read(name).shape), type_))
        return self._parameters[-1]


class Int8Graph(Graph):
    """The graph whose matrix products are of bytes; the CPU plugin fuses all that is around them.

    What the norms give has levels that are fixed, from the probes (`reaches`), when its channels have been made alike
    (`smoothing`). What attention and GELU give has levels per token, for it reaches much farther on other texts: with
    fixed ones there the smallest cosine to float32 on Tatoeba was 0.981 on me5-small, with these 0.999. OpenVINO's own
    scales per token and group of 128 channels are about as good as these (docs/decisions.md), but take half as long
    again for the products. No weight is beyond ±`largest`.
    """

    def __init__(
        self, config: ModelConfig, weights: Weights, attention: ov.Type, reaches: Mapping[str, Reach], largest: int
    ) -> None:
        super().__init__(config, weights, "int8", attention)
        self._reaches = reaches
        self._largest = largest
        self._scale = np.float32((config.hidden_size // config.heads) ** -0.5)

    def _attend(self, query: Node, key: Node, value: Node, mask: Node) -> Node:
        """The query is scaled already. Written out, the plugin turns no key around first: 5 % of the whole at large."""
        logits = op.add(op.matmul(query, key, False, True), mask)
        return op.matmul(op.softmax(logits, -1), value, False, False)

    def _products(self, x: Node, name: str, *parts: str) -> list[Node]:
        x = _cast(x, ov.Type.f32)
        matrix = np.concatenate([self._weights.float32(f"{name}.{part}.weight") for part in parts])
        reach = self._reaches.get(f"{name}.{parts[0]}")
        if reach is None:
            factor, offset = np.ones(matrix.shape[1], np.float32), np.zeros(matrix.shape[1], np.float32)
            size = op.reduce_max(op.add(op.abs(x), op.constant(_TINY)), _LAST, True)
            step = op.multiply(size, op.constant(np.float32(1 / 127)))
            whole = _rounded(op.divide(x, step), -128, 127)
        elif parts[0] == "feedforward_out":
            factor = factors(Reach(reach.low - _GELU_MIN, reach.high - _GELU_MIN), matrix)
            offset = _GELU_MIN / factor
            x = op.subtract(op.multiply(x, _channels(1 / factor)), _channels(offset))
            step = op.multiply(op.reduce_max(x, _LAST, True), op.constant(np.float32(1 / 255)))
            whole = _rounded(op.divide(x, step), 0, 255)
        else:
            factor = factors(reach, matrix)
            offset, fixed = levels(reach, factor)
            step = op.constant(fixed)
            x = op.subtract(op.multiply(x, _channels(1 / (factor * fixed))), _channels(offset / fixed))
            whole = _rounded(x, 0, 255)
        product = self._of_bytes(whole, step, matrix * factor, offset, name, parts)
        if len(parts) == 1:
            return [product]
        # One product for all: three times as few nodes, which a single query of a small model feels.
        return list(op.split(_cast(product, self._attention), op.constant(np.int64(2)), len(parts)).outputs())

    def _of_bytes(
        self, x: Node, step: Node, matrix: Float32, offset: Float32, name: str, parts: tuple[str, ...]
    ) -> Node:
        """The product of `offset + step * x` with the matrices of some parts, and the biases added."""
        whole, scale = quantized(matrix, self._largest)
        whole = self._arena.keep(whole)
        self._constants.append(whole)
        # By einsum, whose sums depend on no thread; of the rounded matrix, whose error then counts for small numbers.
        bias = np.einsum("oi,i->o", whole.astype(np.float32), offset) * scale[:, 0]
        bias += np.concatenate([self._weights.float32(f"{name}.{part}.bias") for part in parts])
        sizes = np.repeat([self._scale if part == "query" else 1 for part in parts], len(bias) // len(parts))
        for part in parts:
            self._weights.release(f"{name}.{part}.weight")
        constant = op.constant(ov.Tensor(whole, shared_memory=True), shared_memory=True)
        weights = op.multiply(op.convert(constant, np.float32), op.constant((scale.T * sizes).T.astype(np.float32)))
        return op.add(op.multiply(op.matmul(x, weights, False, True), step), _channels(bias * sizes))


def _channels(values: npt.NDArray[np.floating[Any]]) -> Node:
    """A number for each channel, shaped to meet (rows, width, channels)."""
    return op.constant(values.astype(np.float32).reshape(1, 1, -1))


def _rounded(x: Node, low: int, high: int) -> Node:
    """Whole numbers from `low` to `high`, 256 of them: what the CPU plugin makes bytes of."""
    edges = [op.constant(np.full((1, 1, 1), edge, np.float32)) for edge in (low, high)]
    return op.fake_quantize(x, *edges, *edges, 256)


def _cast(node: Node, type_: ov.Type) -> Node:
    return node if node.get_element_type() == type_ else op.convert(node, type_)
