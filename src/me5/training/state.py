"""Everything that a run needs to resume bit-exactly, in one file of tensors: weights, moments, step. No pickle.

Random numbers are no part of it: those of a step follow from the seed and the step.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from me5.errors import InputError
from me5.files.atomic import replacing

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save_state(path: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write the state after so many steps; it appears whole or not at all."""
    tensors = {"step": torch.tensor(step)}
    for name, parameter in _trained(encoder).items():
        tensors[f"encoder.{name}"] = parameter
        tensors |= {f"{key}.{name}": optimizer.state[parameter][key] for key in _MOMENTS if optimizer.state[parameter]}
    with replacing(path) as file:
        file.write(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))


def load_state(path: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put a saved state into the network and its optimizer; returns the number of steps done.

    Raises `InputError` where it is the state of another network.
    """
    tensors = load_file(path)
    trained = _trained(encoder)
    expected = {f"encoder.{name}": tuple(parameter.shape) for name, parameter in trained.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith("encoder.")}
    if expected != found:
        odd = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))[0]
        raise InputError(
            f"{path} is the state of another network: {odd} has the shape {found.get(odd, 'nothing')} there, "
            f"{expected.get(odd, 'nothing')} here"
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[f"encoder.{name}"])
            if f"step.{name}" in tensors:
                moments = {key: tensors[f"{key}.{name}"].to(parameter.device) for key in _MOMENTS}
                optimizer.state[parameter] = moments
    return int(tensors["step"])


def _trained(encoder: nn.Module) -> dict[str, nn.Parameter]:
    """What changes in training, by name."""
    return {name: value for name, value in encoder.named_parameters() if value.requires_grad}
