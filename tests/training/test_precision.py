"""Which number format training computes in: what the recipe says, or what the hardware has."""

import pytest
import torch

from me5.training.precision import autocast, resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "f32"),
        ({"architecture": "aarch64", "bf16": True}, "bf16"),
        ({}, "f32"),
    ],
)
def test_auto_is_what_the_cpu_has(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve("auto", CPU) == expected
    with autocast("auto", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if expected == "bf16" else torch.float32)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("f32", torch.float32)])
def test_what_the_recipe_says_is_done(monkeypatch, precision, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert resolve(precision, CPU) == precision
    with autocast(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
