"""Every way of attention gives what dense attention under a block-diagonal mask gives, and its gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from me5.model import attention
from me5.model.sequences import Sequences, concatenate

HEADS, WIDTH = 3, 8
LENGTHS = {"one": [5], "runs": [7, 7, 7, 3, 3, 1], "mixed": [2, 9, 1, 9, 4, 4], "alone": [1]}


def sequences_of(lengths: list[int]) -> Sequences:
    return concatenate([np.arange(length) for length in lengths], 0)


def dense(projected: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """The definition: every token sees its own sequence, by a mask over all of them; softmax written out."""
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    query, key, value = projected.view(len(projected), 3, HEADS, WIDTH).permute(1, 2, 0, 3)
    logits = query @ key.transpose(1, 2) / WIDTH**0.5
    logits = logits.masked_fill(owner[:, None] != owner[None, :], -torch.inf)
    return (logits.softmax(dim=-1) @ value).transpose(0, 1).flatten(1)


def with_gradient(attend, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = projected.clone().requires_grad_()
    out = attend(leaf)
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out))
    return out.detach(), leaf.grad


@pytest.fixture
def projected(request: pytest.FixtureRequest) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(sum(request.param), 3 * HEADS * WIDTH)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("way", [attention.runs, attention.jagged], ids=["runs", "jagged"])
@pytest.mark.parametrize(
    ("projected", "lengths"), [(v, v) for v in LENGTHS.values()], ids=LENGTHS, indirect=["projected"]
)
def test_values_and_gradients(monkeypatch, way, projected: torch.Tensor, lengths: list[int]) -> None:
    monkeypatch.setattr(attention, "choose", lambda query, dropout: way)
    packed = sequences_of(lengths)
    found = with_gradient(lambda leaf: attention.attend(leaf, packed, HEADS), projected)
    expected = with_gradient(lambda leaf: dense(leaf, lengths), projected)
    for ours, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, truth, atol=1e-6, rtol=1e-5)


def test_flash_hands_the_kernel_what_it_asks_for(monkeypatch) -> None:
    """The kernel itself needs a GPU; here a plain function with its signature stands in its place."""
    lengths = [4, 4, 2]
    packed = sequences_of(lengths)

    def kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert (max_q, max_k) == (4, 4)
        return attention.runs(query, key, value, packed, 0.0)

    monkeypatch.setattr(attention, "varlen_attn", kernel)
    monkeypatch.setattr(attention, "choose", lambda query, dropout: attention.flash)
    projected = torch.randn(10, 3 * HEADS * WIDTH)
    found = attention.attend(projected, packed, HEADS)
    torch.testing.assert_close(found, dense(projected, lengths), atol=1e-6, rtol=1e-5)


class OnGpu:
    """As much of a tensor on a GPU as the choice looks at."""

    device = torch.device("cuda", 0)

    def __init__(self, dtype: torch.dtype, width: int) -> None:
        self.dtype, self.shape = dtype, torch.Size([10, HEADS, width])


@pytest.mark.parametrize(
    ("dtype", "width", "dropout", "capability", "way"),
    [
        (torch.bfloat16, 64, 0.0, (9, 0), "flash"),
        (torch.float16, 32, 0.0, (8, 0), "flash"),
        (torch.float32, 64, 0.0, (9, 0), "jagged"),
        (torch.bfloat16, 64, 0.1, (9, 0), "jagged"),
        (torch.float16, 64, 0.0, (7, 5), "jagged"),
        (torch.bfloat16, 12, 0.0, (9, 0), "jagged"),
        (torch.bfloat16, 512, 0.0, (9, 0), "jagged"),
    ],
)
def test_the_choice_on_a_gpu(monkeypatch, dtype, width, dropout, capability, way) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert attention.choose(OnGpu(dtype, width), dropout).__name__ == way
    monkeypatch.setattr(attention, "varlen_attn", None)
    assert attention.choose(OnGpu(dtype, width), dropout).__name__ == "jagged"


def test_dropout_of_probabilities_keeps_the_mean() -> None:
    torch.manual_seed(0)
    packed, projected = sequences_of([6, 6]), torch.randn(12, 3 * HEADS * WIDTH)
    exact = attention.attend(projected, packed, HEADS)
    drawn = torch.stack([attention.attend(projected, packed, HEADS, 0.3) for _ in range(2000)])
    assert (drawn[0] - exact).abs().max() > 0.01
    torch.testing.assert_close(drawn.mean(dim=0), exact, atol=0.1, rtol=0)


def test_tokens_of_no_sequence_and_sequences_without_tokens() -> None:
    """What a batch that was rounded up for a CUDA graph holds."""
    packed = sequences_of([3, 2])
    bounds = F.pad(packed.bounds, (0, 2), value=5)
    rounded = Sequences(packed.ids, packed.positions, bounds, 0, 8)
    projected = torch.randn(8, 3 * HEADS * WIDTH)
    found = attention.attend(projected, rounded, HEADS)
    torch.testing.assert_close(found[:5], dense(projected[:5], [3, 2]), atol=1e-6, rtol=1e-5)
    assert not found[5:].any()
