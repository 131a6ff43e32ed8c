"""Everything that a run needs to go on, in one file of tensors: weights, moments, random numbers, step. No pickle."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from me5.atomic import replacing
from me5.errors import InputError


def save_state(path: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write the state after so many steps; it appears whole or not at all."""
    tensors = {f"encoder.{name}": value for name, value in _trained(encoder).items()}
    for name, parameter in _trained(encoder).items():
        tensors |= {f"{key}.{name}": value for key, value in optimizer.state[parameter].items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    tensors["step"] = torch.tensor(step)
    with replacing(path) as file:
        file.write(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))


def load_state(path: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put a saved state into the network and its optimizer; returns the number of steps done."""
    tensors = load_file(path)
    expected = {f"encoder.{name}" for name in _trained(encoder)}
    found = {name for name in tensors if name.startswith("encoder.")}
    if expected != found:
        raise InputError(f"{path} is the state of another network: {sorted(expected ^ found)[0]} is in one of both only")
    with torch.no_grad():
        for name, parameter in _trained(encoder).items():
            parameter.copy_(tensors[f"encoder.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            if f"step.{name}" in tensors:
                optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].to(parameter.device) for key in keys
                }
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return int(tensors["step"])


def _trained(encoder: nn.Module) -> dict[str, Tensor]:
    """What changes in training, by name."""
    return {name: value for name, value in encoder.named_parameters() if value.requires_grad}
