"""Two processes end with the gradients of one, plain or in chunks; and one process alone needs none of it."""

import contextlib
import os
import socket
import subprocess
import sys

import processes
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from me5.training import distributed

CASES = [pytest.param(*case, id=f"cached={case[0]} jointly={case[1]}") for case in processes.CASES]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What two processes wrote, started as torchrun starts them."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    with contextlib.ExitStack() as ending:
        running = []
        for rank in (0, 1):
            process = subprocess.Popen(
                [sys.executable, processes.__file__, str(folder)],
                env=os.environ | address | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            running.append(ending.enter_context(process))
            ending.callback(process.kill)
        for process in running:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    return [load_file(folder / f"{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize(("cached", "jointly"), CASES)
def test_gradients_equal_those_of_one_process(two, cached: bool, jointly: bool) -> None:
    alone = processes.gradients([0, 1], cached=False, jointly=False)
    assert alone["table.weight"].abs().amax(dim=1).min() > 1e-3  # every text takes part
    for rank in (0, 1):
        for name, right in alone.items():
            torch.testing.assert_close(two[rank][f"{cached} {jointly} {name}"], right, atol=1e-6, rtol=1e-6)


def test_processes_exchange_what_differs_in_length(two) -> None:
    for found in two:
        assert found["gathered"].tolist() == [[1, 1]]
        assert found["broadcast"].tolist() == [0, 0]
        assert found["one-sided"].tolist() == [1, 2]
        assert found["double"].tolist() == [2]
    assert [found["share"].tolist() for found in two] == [[0, 1], [2, 3, 4]]


def test_one_process_alone_changes_nothing() -> None:
    tensor = torch.ones(2, requires_grad=True)
    parameter = nn.Parameter(torch.zeros(2))
    assert (distributed.rank(), distributed.world(), list(distributed.share(3))) == (0, 1, [0, 1, 2])
    assert distributed.gather_with_gradient(tensor) is tensor
    assert distributed.gather_objects({"a": 1}) == [{"a": 1}]
    distributed.reduce_gradients([parameter])
    distributed.broadcast([parameter])
    distributed.barrier()
    distributed.stop()
    assert parameter.grad is None
