"""A step in chunks gives the gradients of a plain step, dropout included, and runs as little as it can."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from networks import small
from torch import Tensor, nn

from me5.model.encoder import Encoder
from me5.model.sequences import concatenate
from me5.training.gradcache import cached_step, split
from me5.training.loss import contrastive_loss
from me5.training.recipe import LossSettings
from me5.training.targets import Targets

LENGTHS = [5, 9, 3, 9, 20, 7, 7, 4, 12, 3]  # four queries, then six documents
TEXTS = [np.random.default_rng(at).integers(0, 90, length) for at, length in enumerate(LENGTHS)]
TARGETS = Targets(torch.arange(4), torch.arange(6) + 100, torch.arange(4)[:, None].repeat(1, 2))


def step(budget: int, *, cached: bool, autocast: bool = False, dropout: float = 0.1):
    """One step of a new encoder: the loss, all gradients, and how often it ran."""
    torch.manual_seed(0)
    encoder = Encoder(small(hidden_dropout=dropout, attention_dropout=dropout))
    parts, runs = split(LENGTHS, budget), 0

    def encode(chunk: list[int]) -> Tensor:
        nonlocal runs
        runs += 1
        return encoder.embed(concatenate([TEXTS[number] for number in chunk], 2))

    def loss_of(vectors: Tensor) -> tuple[Tensor, dict[str, float]]:
        torch.rand(3)  # a loss may draw, too
        ordered = vectors[parts.back]
        return contrastive_loss(ordered[:4], ordered[4:], TARGETS, LossSettings(temperature=0.1))

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, figures = cached_step(encode, parts.chunks, loss_of, cached=cached)
    assert figures["loss"] == pytest.approx(loss.item())
    assert not loss.requires_grad
    return loss, [parameter.grad for parameter in encoder.parameters()], runs, torch.rand(1)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_gradients_equal_those_of_a_plain_step(autocast: bool) -> None:
    """With dropout: each chunk meets the same random numbers twice. And what is drawn afterwards is the same."""
    plain_loss, plain, plain_runs, plain_next = step(24, cached=False, autocast=autocast)
    loss, cached, runs, following = step(24, cached=True, autocast=autocast)
    chunks = len(split(LENGTHS, 24).chunks)
    assert chunks == 4
    assert (plain_runs, runs) == (chunks, 2 * chunks - 1)
    torch.testing.assert_close(loss, plain_loss, atol=1e-5 if autocast else 1e-6, rtol=0)
    for one, other in zip(cached, plain, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert torch.equal(following, plain_next)


def test_one_chunk_is_run_once() -> None:
    assert step(1000, cached=True)[2] == 1


def test_chunks_change_nothing_without_dropout() -> None:
    whole, chunks = step(1000, cached=True, dropout=0.0), step(12, cached=True, dropout=0.0)
    for one, other in zip(whole[1], chunks[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_gradients_are_added_to_those_that_are_there() -> None:
    linear = nn.Linear(3, 2)
    linear.weight.grad = torch.ones(2, 3)
    cached_step(linear, [torch.zeros(1, 3), torch.zeros(2, 3)], lambda vectors: (vectors.sum(), None))
    assert torch.equal(linear.weight.grad, torch.ones(2, 3))
    assert linear.bias.grad.tolist() == [3, 3]


@given(st.lists(st.integers(1, 40)), st.integers(1, 60))
def test_split(lengths: list[int], budget: int) -> None:
    parts = split(lengths, budget)
    order = [number for chunk in parts.chunks for number in chunk]
    assert sorted(order) == list(range(len(lengths)))
    assert [order[at] for at in parts.back] == list(range(len(lengths)))
    assert [lengths[number] for number in order] == sorted(lengths, reverse=True)
    for chunk in parts.chunks:
        assert len(chunk) == 1 or sum(lengths[number] for number in chunk) <= budget
    for chunk, following in zip(parts.chunks, parts.chunks[1:], strict=False):
        assert sum(lengths[number] for number in [*chunk, following[0]]) > budget
