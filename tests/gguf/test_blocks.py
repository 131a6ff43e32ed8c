"""Blocks that are decoded here, against the gguf package: equal to the bit."""

import gguf
import numpy as np
import pytest

from me5.errors import CheckpointError
from me5.gguf import blocks


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_blocks_are_what_the_gguf_package_makes_of_them(name: str) -> None:
    kind = gguf.GGMLQuantizationType[name]
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    assert blocks.size_of(name) == (numbers, size)
    assert blocks.name_of(kind.value) == name
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 256, (5, 3, size), dtype=np.uint8)
    raw[..., :2] = rng.normal(size=(5, 3, 1)).astype("<f2").view(np.uint8)  # scales that are finite
    raw[0, 0, :2] = np.frombuffer(np.float16(6e-8).tobytes(), np.uint8)  # and one below the normal numbers
    rows = raw.reshape(5, 3 * size)
    np.testing.assert_array_equal(blocks.dequantize(rows, name), gguf.dequantize(rows, kind))
    np.testing.assert_array_equal(blocks.dequantize(rows[1:4:2], name), gguf.dequantize(rows[1:4:2], kind))
    with pytest.raises(CheckpointError, match=f"not whole blocks of {name}"):
        blocks.dequantize(rows[:, :-1], name)


def test_other_types_are_the_packages() -> None:
    kind = gguf.GGMLQuantizationType.Q6_K
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    assert blocks.size_of("Q6_K") == (numbers, size)
    raw = np.zeros((2, size), np.uint8)
    np.testing.assert_array_equal(blocks.dequantize(raw, "Q6_K"), gguf.dequantize(raw, kind))
    assert blocks.decodes("Q6_K")
    with pytest.raises(ValueError, match="999"):
        blocks.name_of(999)
