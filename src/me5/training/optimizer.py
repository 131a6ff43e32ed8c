"""AdamW with the rates of every step: warm-up, then a line down to zero; no decay on biases, norms and word tables."""

from typing import Any

import torch
from torch import nn

from me5.training.recipe import OptimizerSettings


def open_optimizer(encoder: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """One group each of matrices, of what is not decayed, and of the word table; each knows its peak rate."""
    words: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            kind = words if name == "words.weight" else matrices if _decays(name, parameter) else rest
            kind.append(parameter)
    words_rate = settings.rate if settings.words_rate is None else settings.words_rate
    groups: list[dict[str, Any]] = [
        {"params": matrices, "peak": settings.rate, "weight_decay": settings.weight_decay},
        {"params": rest, "peak": settings.rate, "weight_decay": 0.0},
        {"params": words, "peak": words_rate, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=0.0, betas=settings.betas, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, step: int, steps: int) -> float:
    """Give every group its rate at a step, counted from 0; returns that of the first group."""
    warmup = min(settings.warmup, steps // 2)
    scale = (step + 1) / warmup if step < warmup else (steps - step) / max(steps - warmup, 1)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * scale
    rate: float = optimizer.param_groups[0]["lr"]
    return rate


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and name.startswith(("layers", "head"))
