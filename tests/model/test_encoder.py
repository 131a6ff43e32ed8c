"""The encoder equals transformers' own, in its states, its gradients, its dropout and its first weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import SENTENCES, passages
from networks import random_sequences, small
from vectors import by_transformers, cosines

from me5.checkpoint import ModelConfig, read_folder
from me5.model.encoder import Encoder
from me5.model.folder import load, slots
from me5.model.pooling import pool
from me5.model.sequences import Sequences, concatenate
from me5.preprocessor import Preprocessor
from me5.prompts import NONE
from me5.weights import tensor_table

TEXTS = [*SENTENCES[:9], *passages(2), ""]


def pack(folder: Path, texts=TEXTS) -> Sequences:
    checkpoint = read_folder(folder)
    prepared = Preprocessor(checkpoint, prompts=NONE).tokenizer.prepare(texts, "", "end")
    return concatenate(prepared.sequences, checkpoint.config.first_position)


def theirs(folder: Path):
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def padded(folder: Path, texts=TEXTS) -> dict[str, torch.Tensor]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer(list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt")


def test_states_equal_those_of_transformers(tiny: Path) -> None:
    batch = padded(tiny)
    with torch.inference_mode():
        expected = theirs(tiny).eval()(**batch).last_hidden_state[batch["attention_mask"].bool()]
        found = load(read_folder(tiny)).eval()(pack(tiny))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_gradients_equal_those_of_transformers(tiny: Path, checkpointing: bool) -> None:
    """Of every tensor, through pooling and norm, of a loss that looks at every component."""
    batch, model = padded(tiny), theirs(tiny).eval()
    mask = batch["attention_mask"][:, :, None]
    states = model(**batch).last_hidden_state
    vectors = torch.nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=1)
    weights = torch.linspace(-1, 1, vectors.numel()).view_as(vectors)
    (vectors * weights).sum().backward()

    encoder = load(read_folder(tiny)).eval()
    encoder.checkpointing = checkpointing
    if checkpointing:  # it is for training; without dropout nothing else changes
        encoder.train()
        silence(encoder)
    (encoder.embed(pack(tiny)) * weights).sum().backward()
    ours = gradients(encoder)
    for name, (published, _) in tensor_table(encoder.config).items():
        expected = model.get_parameter(published).grad
        if (
            name == "words"
        ):  # transformers keeps the row of the padding id as it is, also where that is `<s>` (mE5-small)
            ours[name][model.config.pad_token_id] = 0
        # A bias of keys shifts all logits of a query alike, so its gradient is rounding only: hence the absolute part.
        torch.testing.assert_close(ours[name], expected, atol=1e-5 * float(expected.abs().max()) + 1e-7, rtol=1e-4)


def silence(encoder: Encoder) -> None:
    for layer in encoder.layers:
        layer.dropout = layer.attention_dropout = 0.0
    object.__setattr__(encoder, "config", quiet(encoder.config))


def quiet(config: ModelConfig) -> ModelConfig:
    from dataclasses import replace

    return replace(config, hidden_dropout=0.0, attention_dropout=0.0)


def gradients(encoder: Encoder) -> dict[str, torch.Tensor]:
    """By the names of the table: the gradients put in the place of the weights."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.data = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
    return slots(encoder)


def test_dropout_acts_in_training_only_and_where_it_should() -> None:
    """Both rates, one at a time: each changes the result, none does in evaluation, and rate 0 is none."""
    torch.manual_seed(0)
    packed = random_sequences()
    for rates in ({"hidden_dropout": 0.5, "attention_dropout": 0.0}, {"hidden_dropout": 0.0, "attention_dropout": 0.5}):
        encoder = Encoder(small(**rates))
        exact = encoder.eval()(packed)
        torch.testing.assert_close(encoder.eval()(packed), exact, atol=0, rtol=0)
        assert (encoder.train()(packed) - exact).abs().max() > 1e-3
    encoder = Encoder(small(hidden_dropout=0.0, attention_dropout=0.0))
    torch.testing.assert_close(encoder.train()(packed), encoder.eval()(packed), atol=1e-6, rtol=0)


def test_checkpointing_draws_the_same_dropout_again() -> None:
    torch.manual_seed(0)
    encoder, packed, found = Encoder(small()).train(), random_sequences(), []
    for checkpointing in (False, True):
        encoder.checkpointing = checkpointing
        encoder.zero_grad()
        torch.manual_seed(1)
        encoder.embed(packed).sum().backward()
        found.append([parameter.grad.clone() for parameter in encoder.parameters()])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again, atol=1e-7, rtol=1e-5)


def test_checkpointing_keeps_fewer_activations() -> None:
    kept = []
    for checkpointing in (False, True):
        encoder, sizes = Encoder(small(layers=6)).train(), []
        encoder.checkpointing = checkpointing

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            encoder(random_sequences())
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3


def test_first_weights_are_drawn_as_transformers_draws_them() -> None:
    torch.manual_seed(0)
    encoder = Encoder(small(hidden_size=256, intermediate_size=512, vocab_size=500))
    for name, parameter in encoder.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            assert abs(float(parameter.detach().std()) - 0.02) < 0.002, name
            assert abs(float(parameter.detach().mean())) < 0.002, name


def test_autocast_computes_matrices_in_bfloat16_and_the_rest_in_float32(minilm: Path) -> None:
    """As training does. Measured: 0.99994."""
    packed = pack(minilm, SENTENCES)
    encoder = load(read_folder(minilm))
    with torch.autocast("cpu", torch.bfloat16):
        vectors = encoder.eval().embed(packed)
    assert vectors.dtype == torch.float32
    assert cosines(vectors.detach().numpy(), by_transformers(minilm, SENTENCES)).min() > 0.9995
    vectors.sum().backward()
    assert {parameter.grad.dtype for parameter in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooling_is_the_plain_formula(pooling: str) -> None:
    hidden = torch.randn(12, 8, requires_grad=True)
    bounds = torch.tensor([0, 5, 6, 11], dtype=torch.int32)  # the last token belongs to none
    found = pool(hidden, bounds, pooling)
    parts = [hidden[start:end] for start, end in ((0, 5), (5, 6), (6, 11))]
    plain = torch.stack([part.mean(dim=0) if pooling == "mean" else part[0] for part in parts])
    torch.testing.assert_close(found, plain / plain.norm(dim=1, keepdim=True))
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), hidden, retain_graph=True)
    (expected,) = torch.autograd.grad((plain / plain.norm(dim=1, keepdim=True))[:, 0].sum(), hidden)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
def test_pooling_marks_what_is_no_number(value: float) -> None:
    hidden = torch.ones(6, 8)
    hidden[4:, 3] = value
    vectors = pool(hidden, torch.tensor([0, 3, 6], dtype=torch.int32), "mean")
    assert vectors[0].isfinite().all()
    assert vectors[1].isnan().all()


def test_company_does_not_change_a_text_by_more_than_rounding(minilm: Path) -> None:
    encoder = load(read_folder(minilm)).eval()
    with torch.inference_mode():
        together = encoder.embed(pack(minilm, TEXTS)).numpy()
        alone = np.concatenate([encoder.embed(pack(minilm, [text])).numpy() for text in TEXTS])
    assert cosines(together, alone).min() > 1 - 1e-6
