"""On a real GPU: the kernels. Everything around them is tested on CPU tensors elsewhere."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import SENTENCES, passages
from vectors import cosines, load

from me5 import Embedder
from me5.checkpoint import read_folder
from me5.errors import EngineWarning
from me5.model import attention
from me5.model.folder import load as load_encoder
from me5.model.sequences import concatenate
from me5.prompts import NONE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and torch sees none here"),
    pytest.mark.filterwarnings("default"),  # compilers warn of much that is not ours
]
TEXTS = [*SENTENCES, *passages(12), ""]


def on_gpu(folder, **options) -> Embedder:
    return Embedder.load(folder, device="cuda", prompts=NONE, **options)


@pytest.fixture(scope="module")
def truth(minilm) -> np.ndarray:
    return load(minilm, "reference").encode(TEXTS)


@pytest.mark.parametrize(("precision", "least"), [("f32", 0.99999), ("bf16", 0.9995), ("f16", 0.9995), ("fp8", 0.9985)])
def test_vectors_are_those_of_the_cpu(minilm, truth, precision: str, least: float) -> None:
    assert cosines(on_gpu(minilm, precision=precision).encode(TEXTS), truth).min() >= least


def test_nothing_falls_back_without_need(minilm) -> None:
    """Compilation and graphs work where the engine says that they are in use."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", EngineWarning)
        embedder = on_gpu(minilm, precision="bf16")
        alone = [embedder.encode(text) for text in TEXTS[:6]]
    assert all(lane._graphs is not None and lane._graphs._graphs for lane in embedder.engine._lanes[:1])
    assert cosines(np.concatenate(alone), embedder.encode(TEXTS[:6])).min() > 0.9999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("width", [32, 64])
def test_ways_of_attention_agree(dtype: torch.dtype, width: int) -> None:
    torch.manual_seed(0)
    packed = concatenate([np.arange(length) for length in (130, 64, 64, 7, 1)], 0)
    parts = [torch.randn(266, 4, width) for _ in range(3)]
    expected = attention.runs(*parts, packed, 0.0)
    there = [part.to("cuda", dtype) for part in parts]
    ways = [attention.jagged] if dtype == torch.float32 else [attention.jagged, attention.flash]
    for way in ways:
        found = way(*there, packed.to(torch.device("cuda")), 0.0).float().cpu()
        torch.testing.assert_close(found, expected, atol=2e-2 if dtype != torch.float32 else 1e-4, rtol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_training_step_has_the_gradients_of_the_cpu(minilm, dropout: float) -> None:
    """Through flash attention without dropout, through jagged tensors with it (then only finite: it is drawn)."""
    checkpoint = read_folder(minilm)
    config = replace(checkpoint.config, hidden_dropout=0.0, attention_dropout=dropout)
    sequences = load(minilm, "reference").prepare(TEXTS[:8], "both").sequences
    packed = concatenate(sequences, checkpoint.config.first_position)
    found = []
    for device in ("cpu", "cuda"):
        encoder = load_encoder(replace(checkpoint, config=config), device)
        encoder.train()
        with torch.autocast(device, torch.bfloat16):
            vectors = encoder.embed(packed.to(torch.device(device)))
        (vectors * torch.linspace(-1, 1, vectors.numel(), device=device).view_as(vectors)).sum().backward()
        found.append(torch.cat([parameter.grad.flatten().cpu() for parameter in encoder.layers.parameters()]))
    assert found[1].isfinite().all()
    if not dropout:
        assert torch.cosine_similarity(found[0], found[1], dim=0) > 0.99
