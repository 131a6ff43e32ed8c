"""Rounded-up batches in fixed memory give what the batches themselves give."""

import numpy as np
import pytest
import torch
from networks import random_sequences, small

from me5.model.encoder import Encoder
from me5.model.graphs import Graphs, pad, round_up, size_of


@pytest.mark.parametrize(
    ("number", "rounded"), [(1, 1), (2, 2), (3, 4), (17, 32), (511, 512), (512, 512), (513, 1024), (1500, 1536)]
)
def test_sizes(number: int, rounded: int) -> None:
    assert round_up(number) == rounded


def test_sizes_waste_less_than_half_and_are_few() -> None:
    sizes = {round_up(number) for number in range(1, 4097)}
    assert all(round_up(number) < 2 * number for number in range(1, 4097))
    assert len(sizes) < 20


def test_padding_adds_tokens_of_nobody() -> None:
    packed = random_sequences((5, 3))
    padded = pad(packed, 16, 4, longest=16)
    assert padded.bounds.tolist() == [0, 5, 8, 8, 8]
    assert padded.bounds.dtype == torch.int32
    assert padded.ids.shape == padded.positions.shape == (16,)
    torch.testing.assert_close(padded.ids[:8], packed.ids)
    assert set(padded.positions[8:].tolist()) == {2}


def test_one_memory_serves_all_batches_of_a_size() -> None:
    torch.manual_seed(0)
    encoder = Encoder(small()).eval()
    graphs = Graphs(encoder, torch.device("cpu"))
    with torch.inference_mode():
        for lengths in ((9, 4), (3,), (7, 7), (12, 1), (2,), (9, 4), (5, 5, 5, 1), (30, 2)):
            packed = random_sequences(lengths)
            torch.testing.assert_close(graphs.hidden(packed), encoder(packed), atol=1e-5, rtol=0)
    assert len(graphs._graphs) == len(
        {size_of(random_sequences(lengths)) for lengths in ((9, 4), (3,), (2,), (5, 5, 5, 1), (30, 2))}
    )
    assert np.prod(next(iter(graphs._graphs))) > 0


def test_the_next_batch_takes_the_place_of_the_last() -> None:
    """What is on its way must be copied before: the engine does, on the same stream."""
    torch.manual_seed(0)
    graphs = Graphs(Encoder(small()).eval(), torch.device("cpu"))
    with torch.inference_mode():
        first = graphs.hidden(random_sequences((9, 4)))
        kept = first.clone()
        graphs.hidden(random_sequences((4, 9)))
        assert (first - kept).abs().max() > 0.01
