"""float8 products equal rounding and multiplying by hand, and only as many are kept as the measurement allows."""

import numpy as np
import pytest
import torch
from networks import random_sequences, small

from me5.model import float8
from me5.model.encoder import Encoder, Linear
from me5.model.float8 import MATRICES, Float8Linear, convert, harmless, quantise, share


def by_hand(x: torch.Tensor) -> torch.Tensor:
    """Rows scaled to the range of e4m3 (largest 448, 3 bits of mantissa, smallest step 2^-9), rounded, scaled back."""
    scale = np.abs(x.numpy().astype(np.float64)).max(axis=1, keepdims=True) / 448
    scaled = x.numpy() / np.maximum(scale, 1e-300)
    exponent = np.maximum(np.floor(np.log2(np.maximum(np.abs(scaled), 1e-300))), -6)
    step = 2.0 ** (exponent - 3)
    return torch.from_numpy(np.rint(scaled / step) * step * scale).float()


def test_rows_are_rounded_as_the_format_says() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 64) * torch.logspace(-6, 6, 50)[:, None]
    rounded, scale = quantise(x)
    torch.testing.assert_close(rounded.float() * scale, by_hand(x), rtol=2e-6, atol=0)
    assert rounded.float().abs().amax(dim=1).eq(448).all()


def test_a_row_of_zeros_stays_zero() -> None:
    rounded, scale = quantise(torch.zeros(2, 16))
    assert not (rounded.float() * scale).any()


@pytest.mark.parametrize("shape", [(32, 64), (48, 16), (16, 16)])
def test_the_product_is_that_of_the_rounded_matrices(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    linear = Linear(shape[1], shape[0])
    torch.nn.init.normal_(linear.bias)
    x = torch.randn(9, shape[1])
    with torch.inference_mode():
        found = Float8Linear(linear)(x)
        expected = by_hand(x) @ by_hand(linear.weight).T + linear.bias
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
        exact = linear(x)
        assert torch.cosine_similarity(found.float().flatten(), exact.flatten(), dim=0) > 0.998


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(small(layers=3, intermediate_size=64)).eval()


def kinds(encoder: Encoder) -> dict[tuple[int, str], bool]:
    return {
        (number, name): isinstance(getattr(layer, name), Float8Linear)
        for number, layer in enumerate(encoder.layers)
        for name in MATRICES
    }


def test_all_stay_where_all_are_harmless(encoder: Encoder) -> None:
    places = harmless(encoder, lambda: 0.9991)
    assert len(places) == 12
    assert all(kinds(encoder).values())
    assert share(encoder, places) == 1


def test_none_stays_where_each_is_harmful(encoder: Encoder) -> None:
    places = harmless(encoder, lambda: 0.99 if any(kinds(encoder).values()) else 1.0)
    assert places == []
    assert not any(kinds(encoder).values())


@pytest.mark.parametrize("budget", [1, 5, 6, 9, 14, 21, 30, 57])
def test_the_least_harmful_stay_as_many_as_fit(encoder: Encoder, budget: int) -> None:
    """With known harms that add up: the longest beginning of the order by harm per multiplication that fits."""
    harm = {place: number for number, place in enumerate(kinds(encoder), 1)}
    size = {place: getattr(encoder.layers[place[0]], place[1]).weight.numel() for place in harm}

    def measure() -> float:
        return 1 - 1e-5 * sum(harm[place] for place, rounded in kinds(encoder).items() if rounded)

    places = harmless(encoder, measure, minimum=1 - 1.001e-5 * budget)
    expected, left = set(), budget
    for place in sorted(harm, key=lambda place: harm[place] / size[place]):
        if harm[place] > left:
            break
        expected.add(place)
        left -= harm[place]
    assert set(places) == expected == {place for place, rounded in kinds(encoder).items() if rounded}
    assert share(encoder, places) == pytest.approx(sum(map(size.get, expected)) / sum(size.values()))


def test_a_real_measurement_keeps_its_minimum(encoder: Encoder) -> None:
    packed = random_sequences((9, 7, 7, 3))
    with torch.inference_mode():
        truth = encoder.embed(packed)

        def lowest() -> float:
            return float((encoder.embed(packed) * truth).sum(dim=1).min())

        for minimum in (0.99999, 0.9995, 0.9):
            harmless(encoder, lowest, minimum)
            assert lowest() >= minimum
            convert_back(encoder)


def convert_back(encoder: Encoder) -> None:
    torch.manual_seed(0)
    fresh = Encoder(encoder.config)
    for layer, new in zip(encoder.layers, fresh.layers, strict=True):
        for name in MATRICES:
            setattr(layer, name, getattr(new, name))


def test_the_choice_is_carried_to_another_copy(encoder: Encoder) -> None:
    convert(encoder, [(0, "qkv"), (2, "feedforward_out")])
    assert [place for place, rounded in kinds(encoder).items() if rounded] == [(0, "qkv"), (2, "feedforward_out")]


def test_matrices_of_odd_shapes_are_left_alone() -> None:
    encoder = Encoder(small(intermediate_size=40))
    places = harmless(encoder, lambda: 1.0)
    assert {name for _, name in places} == {"qkv", "attention_output"}
    assert 0 < share(encoder, places) < 1
    assert float8.MIN_COSINE == 0.999
