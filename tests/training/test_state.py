"""A state is the network and its optimizer, bit for bit, and that of another network is refused."""

import pytest
import torch
from torch import nn

from me5.errors import InputError
from me5.training.optimizer import open_optimizer, set_rates
from me5.training.recipe import OptimizerSettings
from me5.training.state import load_state, save_state

SETTINGS = OptimizerSettings(rate=0.1, words_rate=0.2, weight_decay=0.5, warmup=2)


class Tiny(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(width)
        self.words, self.layers = nn.Embedding(5, width), nn.ModuleList([nn.Linear(width, 2)])
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def learn(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        set_rates(optimizer, SETTINGS, step, 8)
        optimizer.zero_grad()
        self.layers[0](self.words(torch.tensor([step % 5, 1]))).square().sum().backward()
        optimizer.step()


def test_a_run_goes_on_bit_for_bit(tmp_path) -> None:
    whole, first, second = Tiny(), Tiny(), Tiny()
    optimizers = [open_optimizer(model, SETTINGS) for model in (whole, first, second)]
    for step in range(6):
        whole.learn(optimizers[0], step)
    for step in range(3):
        first.learn(optimizers[1], step)
    save_state(tmp_path / "state", first, optimizers[1], 3)
    with torch.no_grad():
        second.words.weight.zero_()
    assert load_state(tmp_path / "state", second, optimizers[2]) == 3
    for step in range(3, 6):
        second.learn(optimizers[2], step)
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_from_before_the_first_step(tmp_path) -> None:
    model = Tiny()
    save_state(tmp_path / "state", model, open_optimizer(model, SETTINGS), 0)
    assert load_state(tmp_path / "state", model, open_optimizer(model, SETTINGS)) == 0


def test_the_state_of_another_network_is_refused(tmp_path) -> None:
    model, other = Tiny(), Tiny(4)
    save_state(tmp_path / "state", model, open_optimizer(model, SETTINGS), 0)
    with pytest.raises(InputError, match=r"another network: encoder.layers.0.weight has the shape \(2, 3\) there"):
        load_state(tmp_path / "state", other, open_optimizer(other, SETTINGS))
    other = Tiny()
    other.frozen.requires_grad_()
    with pytest.raises(InputError, match=r"encoder.frozen has the shape nothing there, \(2,\) here"):
        load_state(tmp_path / "state", other, open_optimizer(other, SETTINGS))


def test_rates_rise_and_fall_and_words_have_their_own() -> None:
    model = Tiny()
    optimizer = open_optimizer(model, SETTINGS)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0, 0.0]
    rates = []
    for step in range(8):
        rates.append(set_rates(optimizer, SETTINGS, step, 8))
        assert optimizer.param_groups[2]["lr"] == pytest.approx(2 * rates[-1])
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.1 * 5 / 6, 0.1 * 4 / 6, 0.1 * 3 / 6, 0.1 * 2 / 6, 0.1 / 6])
    # A warm-up longer than half of the run is half of it.
    assert set_rates(optimizer, OptimizerSettings(rate=0.1, warmup=1000), 1, 4) == pytest.approx(0.1)
