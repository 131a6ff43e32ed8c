"""What torch.compile fuses is what plain torch computes, compiled once for all layers.

Here its graphs run without generated code, which takes a C++ compiler more than a minute; the code itself is for the
test on a GPU.
"""

from functools import partial

import numpy as np
import pytest
import torch
from networks import random_sequences, small

from me5.checkpoint import read_folder
from me5.engine.torch import TorchEngine
from me5.errors import EngineWarning
from me5.model.encoder import Encoder


@pytest.fixture
def fresh_compiler(monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")  # of torch about itself, while it compiles
def test_layers_share_one_compilation_for_any_number_of_tokens(fresh_compiler) -> None:
    torch.manual_seed(0)
    encoder = Encoder(small(layers=3)).eval()
    batches = [random_sequences(lengths) for lengths in ((9, 4), (20, 11, 3), (2,))]
    with torch.inference_mode():
        expected = [encoder(packed) for packed in batches]
        torch._dynamo.utils.counters.clear()
        encoder.compile_fused()
        for packed, truth in zip(batches, expected, strict=True):
            torch.testing.assert_close(encoder(packed), truth, atol=1e-5, rtol=0)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # before and after attention
    assert not torch._dynamo.utils.counters["graph_break"]
    encoder.compile_fused(undo=True)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batches[0]), expected[0], atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore")  # of torch about itself, while it compiles
def test_gradients_and_dropout_go_through_what_is_compiled(fresh_compiler) -> None:
    torch.manual_seed(0)
    encoder, packed = Encoder(small(hidden_dropout=0.0, attention_dropout=0.0)).train(), random_sequences()
    found = []
    for compiled in (False, True):
        encoder.compile_fused(undo=not compiled)
        encoder.zero_grad()
        encoder.embed(packed).sum().backward()
        found.append([parameter.grad.clone() for parameter in encoder.parameters()])
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(plain, fused, atol=1e-6, rtol=1e-4)


def test_where_nothing_compiles_the_engine_goes_on_without(xlmr, monkeypatch) -> None:
    def refuse(*_, **__):
        def call(*_):
            raise RuntimeError("no working C++ compiler")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.warns(EngineWarning, match="torch.compile failed on cpu.*no working C"):
        engine = TorchEngine(read_folder(xlmr), [torch.device("cpu")], compiled=True)
    assert engine.embed([np.arange(5)]).shape == (1, 64)
